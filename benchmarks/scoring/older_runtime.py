"""The same answers by an older ONNX Runtime: `python -m benchmarks.scoring.older_runtime STORE …`.

Makes an environment of its own with the ONNX Runtime of NVIDIA's Triton, 1.19.2 (by uv, in a temporary
folder), and has it and this environment's answer the same pixels: all pictures of all formats among the
decoder's tests, and the test images of the repository's sample, by the promoted version of each STORE and
the one that it was quantized from. Prints a row each: pictures, how far apart two probabilities are at
most, and how many pictures are of another class.
"""

import subprocess
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Final

import numpy as np
from numpy.typing import NDArray

from export.store.manifest import Manifest
from export.store.versions import Store, open_store
from jobs.scoring.graph import Graph
from model.contract import OUTPUT_NAME
from model.images.decode import decode_image
from model.images.errors import ImageError

VERSION: Final = "1.19.2"

_PICTURES: Final = Path(__file__).parents[2] / "tests" / "model" / "images" / "golden"
_BATCH: Final = 64
_OTHER: Final = f"""
import sys, numpy as np, onnxruntime as ort
assert ort.__version__ == {VERSION!r}, ort.__version__
options = ort.SessionOptions()
options.intra_op_num_threads = 1
options.add_session_config_entry("session.intra_op.allow_spinning", "0")
session = ort.InferenceSession(sys.argv[1], options, providers=["CPUExecutionProvider"])
pixels = np.load(sys.argv[2])
answers = [session.run([{OUTPUT_NAME!r}], {{"image": pixels[at:at + {_BATCH}]}})[0]
           for at in range(0, len(pixels), {_BATCH})]
np.save(sys.argv[3], np.concatenate(answers))
"""


def main() -> None:
    if len(sys.argv) < 2:
        sys.exit(__doc__)
    with tempfile.TemporaryDirectory(prefix="older-runtime-") as name:
        scratch = Path(name)
        python = environment(scratch / "venv")
        print("| version | pictures | farthest apart | of another class |\n|---|--:|--:|--:|")
        for url in sys.argv[1:]:
            store = open_store(str(Path(url).absolute()))
            for number in versions(store):
                print(row(store, number, python, scratch / f"{abs(hash(url))}-{number}"), flush=True)


def environment(folder: Path) -> Path:
    """Makes it; gives its Python."""
    uv = str(Path(sys.executable).with_name("uv"))
    subprocess.run([uv, "venv", "--quiet", "--python", sys.executable, str(folder)], check=True)
    python = folder / "bin" / "python"
    subprocess.run(
        [uv, "pip", "install", "--quiet", "--python", str(python), f"onnxruntime=={VERSION}", "numpy<2"],
        check=True,
    )
    return python


def versions(store: Store) -> Iterator[int]:
    """The promoted version, and the one in float32 that it is the twin of."""
    number = store.ledger.served()
    if number is None:
        sys.exit(f"{store.url} has no promoted version")
    yield number
    if store.manifest(number).precision == "int8":
        yield number - 1


def row(store: Store, number: int, python: Path, scratch: Path) -> str:
    """Both answers to everything."""
    scratch.mkdir()
    manifest = store.manifest(number)
    folder = store.fetch(number, scratch / "version")
    pixels = pictures(manifest)
    np.save(scratch / "pixels.npy", pixels)
    graph = folder / manifest.classifier_file
    subprocess.run([python, "-c", _OTHER, graph, scratch / "pixels.npy", scratch / "answers.npy"], check=True)
    theirs = np.load(scratch / "answers.npy")
    own = Graph(folder, manifest, threads=1)
    ours = np.concatenate([own.answer(pixels[at : at + _BATCH])[0] for at in range(0, len(pixels), _BATCH)])
    other = np.flatnonzero(ours.argmax(axis=1) != theirs.argmax(axis=1))
    ties = [float(ours[at].max() - ours[at][theirs[at].argmax()]) for at in other]
    told = f" (by {max(ties):.1g} at most)" if ties else ""
    return (
        f"| {manifest.contract.model} {number}, {manifest.precision}, {manifest.contract.size} pixels | "
        f"{len(pixels):,} | {np.abs(ours - theirs).max():.1g} | {len(other)}{told} |"
    )


def pictures(manifest: Manifest) -> NDArray[np.uint8]:
    """What is answered, uint8 `[N, S, S, 3]`."""
    from model.data.sources import load_sample

    size, fit = manifest.contract.size, manifest.contract.fit
    found = []
    for path in sorted(path for path in _PICTURES.rglob("*") if path.is_file()):
        try:
            found.append(decode_image(path.read_bytes(), size=size, fit=fit))
        except ImageError:
            continue  # it is there to be refused
    if size == 32:
        found += list(np.asarray(load_sample().test.images[:]))
    return np.stack(found)


if __name__ == "__main__":
    main()
