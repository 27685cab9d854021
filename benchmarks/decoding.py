"""What decoding costs beside another checkout's: `python -m benchmarks.decoding CHECKOUT`.

Two processes, one of each checkout, take turns on one core with the same pictures; counted is their
processor time, which other work on the machine disturbs little, and what their memory grows by. Each is asked
as its own transformer asks it. Writes `decoding.md` beside the other results.
"""

import io
import json
import os
import statistics
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import Any, Final

import numpy as np
from PIL import Image

from benchmarks.serving import machine
from benchmarks.serving.photographs import small_images, twelve_megapixels
from benchmarks.serving.ratios import ratio
from model.images.decode import read_header

ROUNDS: Final = 24
_TURNS_A_PROCESS: Final = 3
_MILLISECONDS_A_TURN: Final = 40
_RESULTS: Final = Path("benchmarks/results")
_PROFILED: Final = Path("tests/model/images/golden/display-p3.jpg")

_WORKER: Final = """
import json, re, sys, time
from pathlib import Path
from model.images import decode as own
from model.images.errors import ImageError
if hasattr(own, "read_header"):
    def decode(data):
        header = own.read_header(data)
        own.is_cheap(data, header)
        return own.decode_image(data, header)
else:
    def decode(data):
        own.is_cheap(data)
        return own.decode_image(data)
def peak():  # not getrusage's, which a process inherits from the one that started it
    return int(re.search(r"VmHWM:\\s+(\\d+)", Path("/proc/self/status").read_text())[1])
for line in sys.stdin:
    name, times = json.loads(line)
    data = Path(name).read_bytes()
    try:
        before = peak()
        decode(data)
        grown = peak() - before
        started = time.process_time()
        for _ in range(times):
            decode(data)
        told = {"seconds": (time.process_time() - started) / max(1, times), "grown": grown}
    except ImageError as error:
        told = {"refused": str(error)}
    print(json.dumps(told), flush=True)
"""


class Worker:
    """A process that decodes with the code of a checkout."""

    def __init__(self, checkout: Path) -> None:
        self._process = subprocess.Popen(
            [sys.executable, "-c", _WORKER],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            cwd=checkout,
            env={**os.environ, "PYTHONPATH": str(checkout)},
            text=True,
        )

    def ask(self, path: Path, times: int) -> dict[str, Any]:
        """Decodes a file once to measure memory, then so many times to measure processor time."""
        assert self._process.stdin is not None
        assert self._process.stdout is not None
        print(json.dumps([str(path), times]), file=self._process.stdin, flush=True)
        told: dict[str, Any] = json.loads(self._process.stdout.readline())
        return told

    def close(self) -> None:
        """Ends the process."""
        self._process.communicate()


def main() -> None:
    """Measures, prints and writes."""
    if len(sys.argv) != 2 or not (Path(sys.argv[1]) / "model" / "images" / "decode.py").is_file():
        sys.exit("name the checkout that is compared with, for example one made by `git worktree add`")
    checkouts = Path.cwd(), Path(sys.argv[1]).resolve()
    os.sched_setaffinity(0, {max(os.sched_getaffinity(0))})
    lines = [
        "# Decoding, side by side",
        "",
        f"Measured by `python -m benchmarks.decoding CHECKOUT`, CHECKOUT at {_commit(checkouts[1])}.",
        "",
    ]
    with tempfile.TemporaryDirectory() as folder:
        files = _files(Path(folder))
        lines += [*_times(checkouts, files[:-2]), "", *_memory(checkouts, files), ""]
    lines += [f"- {name}: {text}" for name, text in machine.describe().items() if text]
    (_RESULTS / "decoding.md").write_text("\n".join(lines) + "\n")
    print("\n".join(lines))


def _commit(checkout: Path) -> str:
    command = ["git", "rev-parse", "--short", "HEAD"]
    return subprocess.run(command, cwd=checkout, capture_output=True, text=True, check=True).stdout.strip()


def _files(folder: Path) -> list[tuple[str, Path]]:
    """Writes the pictures; the last two are measured for their memory alone."""
    small = small_images(1)[0]
    (photograph,) = twelve_megapixels([small])
    with Image.open(io.BytesIO(photograph)) as opened:
        image = opened.convert("RGB")
    profile = read_header(_PROFILED.read_bytes()).profile
    noise = Image.fromarray(np.random.default_rng(0).integers(0, 256, (300, 400, 3), np.uint8))
    pictures = {
        "JPEG, 32 x 32": small,
        "JPEG, 100 kB": _saved(image.resize((640, 480)), "JPEG", quality=98, subsampling=0),
        "JPEG, 12 megapixels": photograph,
        "JPEG, 12 megapixels, Display P3": _saved(image, "JPEG", quality=88, icc_profile=profile),
        "PNG, 32 x 32": _saved(image.resize((32, 32)), "PNG"),
        "WebP, 32 x 32": _saved(image.resize((32, 32)), "WEBP"),
        "GIF, 32 x 32": _saved(image.resize((32, 32)), "GIF"),
        "JPEG, 48 megapixels, one scan": _saved(noise.resize((8_000, 6_000)), "JPEG", quality=90),
        "JPEG, 200 megapixels, one scan": _saved(noise.resize((16_320, 12_240)), "JPEG", quality=80),
    }
    files = []
    for number, (name, data) in enumerate(pictures.items()):
        path = folder / str(number)
        path.write_bytes(data)
        files.append((f"{name} ({len(data):,} bytes)", path))
    return files


def _saved(image: Image.Image, form: str, **options: Any) -> bytes:
    file = io.BytesIO()
    image.save(file, form, **options)
    return file.getvalue()


def _times(checkouts: tuple[Path, Path], files: list[tuple[str, Path]]) -> list[str]:
    lines = [
        f"Processor time a picture, µs: median of {ROUNDS} rounds in turns; ratios are taken round by round.",
        "",
        "| picture | this | the other | other ÷ this |",
        "|---|--:|--:|--:|",
    ]
    for name, path in files:
        taken: list[list[float]] = [[], []]
        for turn in range(ROUNDS):
            # Where a process's buffers happen to lie moves a small JPEG's time by a fifth: many processes.
            if turn % _TURNS_A_PROCESS == 0:
                workers = [Worker(checkout) for checkout in checkouts]
                once = max(worker.ask(path, 3)["seconds"] for worker in workers)
                times = max(1, int(_MILLISECONDS_A_TURN / 1000 / once))
            for one in (0, 1) if turn % 2 else (1, 0):
                taken[one].append(workers[one].ask(path, times)["seconds"] * 1e6)
            if turn % _TURNS_A_PROCESS == _TURNS_A_PROCESS - 1:
                for worker in workers:
                    worker.close()
        ours, theirs = taken
        middle = [f"{statistics.median(each):,.1f}" for each in taken]
        lines.append(f"| {name} | {middle[0]} | {middle[1]} | {ratio(theirs, ours)} |")
    return lines


def _memory(checkouts: tuple[Path, Path], files: list[tuple[str, Path]]) -> list[str]:
    lines = [
        "What the memory of a process grows by for its first picture, the file itself not counted, in MiB.",
        "",
        "| picture | this | the other |",
        "|---|--:|--:|",
    ]
    for name, path in files:
        if "megapixels" in name:
            told = []
            for checkout in checkouts:
                worker = Worker(checkout)
                worker.ask(_PROFILED.resolve(), 1)  # what is loaded once is there
                answer = worker.ask(path, 0)
                told.append(f"{answer['grown'] / 1024:.0f}" if "grown" in answer else answer["refused"])
                worker.close()
            lines.append(f"| {name} | {' | '.join(told)} |")
    return lines


if __name__ == "__main__":
    main()
