"""Near duplicates: how many true ones are found, and how many false ones.

    python -m benchmarks.duplicates NAME=ARCHIVE[:FOLDER] …

Each archive is a tar of pictures, of which those below FOLDER are taken. All of them are compared with one
another; of at most 1,000 a copy is saved in each of the ways below, and must be found. Writes `duplicates.md`
beside the other results.
"""

import io
import sys
import tarfile
import time
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Final

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageEnhance, ImageOps
from scipy.sparse import coo_array
from scipy.sparse.csgraph import connected_components

from benchmarks.serving import machine
from model.data.splits.duplicates import near_pairs, phash, thumb
from model.images.decode import decode_image

COPIES: Final = 1000
_RESULTS: Final = Path("benchmarks/results")
_LONGEST: Final = 4000  # of an enlarged picture, which the decoder has to take
_ENDINGS: Final = {".jpg", ".jpeg", ".png"}

Ways = Mapping[str, Callable[[Image.Image], bytes]]


def _saved(image: Image.Image, form: str = "PNG", **options: object) -> bytes:
    out = io.BytesIO()
    image.save(out, form, **options)
    return out.getvalue()


def _scaled(image: Image.Image, by: float) -> Image.Image:
    by = min(by, _LONGEST / max(image.size))
    size = max(1, round(image.width * by)), max(1, round(image.height * by))
    return image.resize(size, Image.Resampling.BICUBIC)


def _light(image: Image.Image, by: float) -> Image.Image:
    return ImageEnhance.Brightness(image).enhance(by)


def _cropped(image: Image.Image, share: float) -> Image.Image:
    across, down = image.width * share / 2, image.height * share / 2
    box = (across, down, image.width - across, image.height - down)
    return image.resize(image.size, Image.Resampling.BICUBIC, box=box)


def _turned(image: Image.Image) -> bytes:
    exif = Image.Exif()
    exif[0x112] = 6
    return _saved(image.transpose(Image.Transpose.ROTATE_90), "JPEG", quality=90, exif=exif)


WAYS: Final[Ways] = {
    "JPEG, quality 50": lambda image: _saved(image, "JPEG", quality=50),
    "JPEG, quality 75": lambda image: _saved(image, "JPEG", quality=75),
    "JPEG, quality 95": lambda image: _saved(image, "JPEG", quality=95),
    "PNG": _saved,
    "WebP, quality 80": lambda image: _saved(image, "WEBP", quality=80),
    "resized to 50 %": lambda image: _saved(_scaled(image, 0.5)),
    "resized to 200 %": lambda image: _saved(_scaled(image, 2)),
    "5 % brighter": lambda image: _saved(_light(image, 1.05)),
    "5 % darker": lambda image: _saved(_light(image, 0.95)),
    "turned, with the EXIF tag": _turned,
    "grey": lambda image: _saved(image.convert("L")),
    "2 % cropped": lambda image: _saved(_cropped(image, 0.02)),
    "5 % cropped": lambda image: _saved(_cropped(image, 0.05)),
    "20 % brighter": lambda image: _saved(_light(image, 1.2)),
}


def _files(source: str) -> Iterator[bytes]:
    archive, _, folder = source.partition(":")
    with tarfile.open(archive) as tar:
        for member in tar:
            if member.isfile() and Path(member.name).suffix.lower() in _ENDINGS and folder in member.name:
                file = tar.extractfile(member)
                if file is not None:
                    yield file.read()


def _opened(data: bytes) -> Image.Image:
    image = ImageOps.exif_transpose(Image.open(io.BytesIO(data)))
    if image.mode == "RGB":
        return image
    white = Image.new("RGBA", image.size, "white")
    white.alpha_composite(image.convert("RGBA"))
    return white.convert("RGB")


def _signature(data: bytes) -> tuple[int, bytes]:
    pixels = decode_image(data)
    return phash(pixels), thumb(pixels)


def _arrays(signatures: list[tuple[int, bytes]]) -> tuple[NDArray[np.uint64], NDArray[np.uint8]]:
    thumbs = np.frombuffer(b"".join(small for _, small in signatures), np.uint8)
    return np.array([value for value, _ in signatures], np.uint64), thumbs.reshape(len(signatures), -1)


def _found(originals: list[tuple[int, bytes]], copies: list[tuple[int, bytes]]) -> float:
    """The share of copies that are found with their original alone beside them."""
    found = 0
    for original, copy in zip(originals, copies, strict=True):
        found += len(near_pairs(*_arrays([original, copy])).first)
    return found / len(copies)


def measure(source: str) -> dict[str, str]:
    """Measure one collection, row → text."""
    files = list(dict.fromkeys(_files(source)))
    started = time.process_time()
    signatures = [_signature(data) for data in files]
    took = (time.process_time() - started) / len(files)
    hashes, thumbs = _arrays(signatures)
    started = time.process_time()
    near = near_pairs(hashes, thumbs)
    searched = time.process_time() - started
    with_any = len(np.unique(np.concatenate([near.first, near.second]))) / len(files)
    graph = coo_array((np.ones(len(near.first)), (near.first, near.second)), shape=(len(files),) * 2)
    largest = np.bincount(connected_components(graph, directed=False)[1]).max()
    rows = {
        "pictures of different bytes": f"{len(files):,}",
        "pairs found among them": f"{len(near.first):,}",
        "pictures in such a pair": f"{with_any:.2%}",
        "the most that hang together": f"{largest}",
        "decoding and signing, CPU µs a picture": f"{took * 1e6:.0f}",
        "finding the pairs, CPU s": f"{searched:.2f}",
    }
    some = range(0, len(files), -(-len(files) // COPIES))
    for way, save in WAYS.items():
        copies = [_signature(save(_opened(files[row]))) for row in some]
        rows[f"found: {way}"] = f"{_found([signatures[row] for row in some], copies):.3f}"
    return rows


def main() -> None:
    if not sys.argv[1:]:
        sys.exit(__doc__)
    described = machine.describe()
    measured = {name: measure(source) for name, _, source in (word.partition("=") for word in sys.argv[1:])}
    lines = ["# Near duplicates", "", "`python -m benchmarks.duplicates`, see its first lines.", ""]
    lines += [f"- {name}: {text}" for name, text in described.items() if name != "load generators"]
    lines += ["", f"| | {' | '.join(measured)} |", f"|---|{'---|' * len(measured)}"]
    for row in next(iter(measured.values())):
        lines.append(f"| {row} | {' | '.join(rows[row] for rows in measured.values())} |")
    text = "\n".join(lines) + "\n"
    (_RESULTS / "duplicates.md").write_text(text)
    print(text)


if __name__ == "__main__":
    main()
