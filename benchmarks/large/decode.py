"""Decoding beside simplejpeg and nothing else: `python -m benchmarks.large.decode`.

JPEGs of about 100 kB become squares of 64x64: by `decode_all`, as own pictures are decoded, with their
signatures and digests; and by simplejpeg at the same scale and Pillow's resizing. Both in as many threads as
there are cores, in turns; counted is processor time, and wall clock.
"""

import io
import os
import statistics
import time
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from typing import Final

import numpy as np
import simplejpeg
from numpy.typing import NDArray
from PIL import Image

from benchmarks.serving.photographs import small_images, twelve_megapixels
from model.data.own.decoding import Decoded, decode_all, workers
from model.data.own.places.files import File, Listing, Read
from model.images.formats.jpeg import smallest_side
from model.images.header import Header

SIZE: Final = 64
_PICTURES: Final = 96
_ROUNDS: Final = 9


class _Memory:
    """A place whose files lie in memory."""

    def __init__(self, files: dict[str, bytes]) -> None:
        self.source, self.workers, self._files = "memory", workers(), files

    def stamp(self) -> None:
        return None

    def listing(self) -> Listing:
        files = [File(name, "", None, None, len(data), "", name) for name, data in self._files.items()]
        return Listing(files, [], ())

    def read(self, files: Sequence[File]) -> Iterator[tuple[File, Read]]:
        return ((file, partial(self._files.__getitem__, file.key)) for file in files)


def _pictures() -> dict[str, list[bytes]]:
    """JPEGs of about 100 kB: decoded whole, and at a half."""
    (photograph,) = twelve_megapixels(small_images(1))
    with Image.open(io.BytesIO(photograph)) as opened:
        image = opened.convert("RGB")
    made = {"640 x 480": ((640, 480), 98), "1,024 x 768": ((1024, 768), 93)}
    found = {}
    for name, (size, quality) in made.items():
        small = np.asarray(image.resize(size))
        shifted = (np.roll(small, number, axis=1) for number in range(_PICTURES))
        found[name] = [
            simplejpeg.encode_jpeg(np.ascontiguousarray(each), quality, colorsubsampling="420")
            for each in shifted
        ]
    return found


def _ours(files: list[bytes]) -> None:
    place = _Memory({str(number): data for number, data in enumerate(files)})
    for _, result in decode_all(place, place.listing().files, SIZE, "stretch"):
        assert isinstance(result, Decoded)


def _plain(files: list[bytes]) -> None:
    with ThreadPoolExecutor(workers()) as pool:
        for pixels in pool.map(_plain_one, files):
            assert pixels.shape == (SIZE, SIZE, 3)


def _plain_one(data: bytes) -> NDArray[np.uint8]:
    height, width, _, _ = simplejpeg.decode_jpeg_header(data)
    side = smallest_side(Header("jpeg", width, height), SIZE) if min(height, width) >= 512 else 0
    pixels = simplejpeg.decode_jpeg(data, min_height=side, min_width=side, min_factor=1)
    return np.asarray(Image.fromarray(pixels).resize((SIZE, SIZE), Image.Resampling.BICUBIC))


def _timed(decode: Callable[[list[bytes]], None], files: list[bytes]) -> tuple[float, float]:
    wall, cpu = time.perf_counter(), time.process_time()
    decode(files)
    return (time.process_time() - cpu) / len(files) * 1e6, (time.perf_counter() - wall) / len(files) * 1e6


def main() -> None:
    """Measure and print a table."""
    print(f"{len(os.sched_getaffinity(0))} cores; medians of {_ROUNDS} rounds\n")
    print(
        "| JPEG | bytes | cnn-image, CPU µs | simplejpeg and resize, CPU µs | speed, by CPU | by the clock |"
    )
    print("|---|--:|--:|--:|--:|--:|")
    for name, files in _pictures().items():
        _timed(_ours, files[:8]), _timed(_plain, files[:8])
        rounds = [(_timed(_ours, files), _timed(_plain, files)) for _ in range(_ROUNDS)]
        ours, plain = (statistics.median(each[which][0] for each in rounds) for which in (0, 1))
        by_cpu, by_clock = (
            statistics.median(plain[kind] / ours[kind] for ours, plain in rounds) for kind in (0, 1)
        )
        size = round(statistics.mean(map(len, files)))
        print(f"| {name} | {size:,} | {ours:,.0f} | {plain:,.0f} | {by_cpu:.2f} | {by_clock:.2f} |")


if __name__ == "__main__":
    main()
