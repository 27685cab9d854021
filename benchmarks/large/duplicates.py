"""Near duplicates among many: `python -m benchmarks.large.duplicates COUNT …`.

Signatures of made-up pictures of low frequencies, as photographs have them, of which one in a hundred is
another one with a little noise. Of each COUNT a process of its own: processor time of finding the pairs and
of deciding the splits, the size of `splits.bin`, and the most memory.
"""

import resource
import subprocess
import sys
import time

import numpy as np
from numpy.typing import NDArray

from model.data.pictures import THUMB_SIDE, Picture
from model.data.splits.decide import decide
from model.data.splits.duplicates import near_pairs
from model.data.splits.memory import Splits


def signatures(count: int) -> tuple[NDArray[np.uint64], NDArray[np.uint8]]:
    """Hashes and thumbnails; the last hundredth are near the first."""
    rng = np.random.default_rng(0)
    low = np.arange(8)
    cosines = np.cos(np.pi / THUMB_SIDE * np.outer(low, np.arange(THUMB_SIDE) + 0.5)).astype(np.float32)
    hashes, thumbs = np.empty(count, np.uint64), np.empty((count, THUMB_SIDE**2), np.uint8)
    copies = count // 100
    for start in range(0, count, 10_000):
        some = min(10_000, count - start)
        waves = rng.normal(0, 1, (some, 8, 8)).astype(np.float32) * 60 / (1 + np.add.outer(low, low))
        waves[:, 0, 0] = rng.uniform(-40, 40, some)
        grey = cosines.T @ waves @ cosines + 128
        thumbs[start : start + some] = np.clip(grey, 0, 255).reshape(some, -1)
        bits = waves.reshape(some, 64) > np.median(waves.reshape(some, 64), axis=1, keepdims=True) + 1
        hashes[start : start + some] = np.packbits(bits, axis=1).view(">u8").ravel()
    hashes[count - copies :] = hashes[:copies] ^ np.uint64(1)
    noisy = thumbs[:copies].astype(np.int16) + rng.integers(-2, 3, (copies, THUMB_SIDE**2))
    thumbs[count - copies :] = np.clip(noisy, 0, 255)
    return hashes, thumbs


def _most() -> int:
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss // 1024


def measure(count: int) -> str:
    """A row of the table."""
    hashes, thumbs = signatures(count)
    began = time.process_time()
    pairs = near_pairs(hashes, thumbs)
    found, after_pairs = time.process_time() - began, _most()
    digests = np.random.default_rng(1).integers(0, 256, (count, 32), np.uint8)
    pictures = [
        Picture(f"row {row}", "ab"[row % 2], None, None, digest, value, small, 64, 64, "jpeg", 1)
        for row, (value, small, digest) in enumerate(
            zip(hashes.tolist(), map(bytes, thumbs), map(bytes, digests), strict=True)
        )
    ]
    del hashes, thumbs
    began = time.process_time()
    splits = decide(pictures).splits
    decided = time.process_time() - began
    began = time.process_time()
    packed = splits.to_bytes()
    written = time.process_time() - began
    began = time.process_time()
    Splits.from_bytes(packed)
    read = time.process_time() - began
    return (
        f"| {count:,} | {len(pairs.first):,} | {found:.1f} s, {after_pairs:,} MB "
        f"| {decided:.1f} s, {_most():,} MB | {len(packed) / 1e6:,.0f} MB | {written:.1f} s | {read:.1f} s |"
    )


def main() -> None:
    """Measure and print a table."""
    if len(sys.argv) == 3 and sys.argv[1] == "--one":
        print(measure(int(sys.argv[2])))
        return
    print("| pictures | pairs | finding them | deciding the splits | splits.bin | written | read |")
    print("|--:|--:|--:|--:|--:|--:|--:|")
    for count in sys.argv[1:]:
        subprocess.run([sys.executable, "-m", "benchmarks.large.duplicates", "--one", count], check=True)


if __name__ == "__main__":
    main()
