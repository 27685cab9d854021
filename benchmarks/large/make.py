"""Makes any number of different pictures: `python -m benchmarks.large.make COUNT FILE.parquet ARCHIVE`.

ARCHIVE is a tar of CIFAR-10 as JPEGs in class folders. Each picture is cut together from random crops of two
of one class along a random line and saved as a JPEG of 64x64 pixels, so that no two are the same and few are
nearly so. FILE is a Parquet with the columns `image` (bytes) and `label`.
"""

import io
import os
import sys
import tarfile
from collections.abc import Iterator
from concurrent.futures import ProcessPoolExecutor
from pathlib import Path
from typing import Final

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import simplejpeg
from numpy.typing import NDArray
from PIL import Image

SIDE: Final = 64
_ROWS_IN_A_GROUP: Final = 4096
_QUALITY: Final = 85
_JPEG: Final = ".jpg"

_pool: dict[str, NDArray[np.uint8]] = {}


def _read(archive: Path) -> dict[str, NDArray[np.uint8]]:
    """All pictures of an archive, uint8 `[N, 32, 32, 3]` by class."""
    found: dict[str, list[NDArray[np.uint8]]] = {}
    with tarfile.open(archive) as tar:
        for member in tar:
            if member.isfile() and member.name.endswith(_JPEG):
                file = tar.extractfile(member)
                if file is not None:
                    name = Path(member.name).parent.name
                    found.setdefault(name, []).append(np.array(Image.open(io.BytesIO(file.read()))))
    return {name: np.stack(pictures) for name, pictures in sorted(found.items())}


def _group(start: int, stop: int) -> tuple[list[bytes], list[str]]:
    names = list(_pool)
    down, across = np.mgrid[0:SIDE, 0:SIDE].astype(np.float32) / SIDE - 0.5
    pictures, labels = [], []
    for number in range(start, stop):
        rng = np.random.default_rng(number)
        label = names[number % len(names)]
        one, other = (_crop(rng, _pool[label]) for _ in range(2))
        angle, middle = rng.uniform(0, 2 * np.pi), rng.uniform(-0.2, 0.2)
        mask = (np.cos(angle) * across + np.sin(angle) * down < middle)[..., None]
        pixels = np.ascontiguousarray(np.where(mask, one, other))
        pictures.append(simplejpeg.encode_jpeg(pixels, _QUALITY, colorsubsampling="420"))
        labels.append(label)
    return pictures, labels


def _crop(rng: np.random.Generator, pictures: NDArray[np.uint8]) -> NDArray[np.uint8]:
    picture = pictures[rng.integers(len(pictures))]
    side = picture.shape[0]
    width = rng.uniform(0.6, 1) * side
    left, top = rng.uniform(0, side - width, 2)
    image = Image.fromarray(picture[:, ::-1] if rng.random() < 0.5 else picture)
    box = (left, top, left + width, top + width)
    return np.asarray(image.resize((SIDE, SIDE), Image.Resampling.BICUBIC, box=box))


def make(count: int, path: Path, archive: Path) -> None:
    """Write so many pictures."""
    schema = pa.schema([("image", pa.binary()), ("label", pa.string())])
    with (
        ProcessPoolExecutor(
            len(os.sched_getaffinity(0)), initializer=_pool.update, initargs=(_read(archive),)
        ) as pool,
        pq.ParquetWriter(path, schema, compression="none") as writer,
    ):
        for pictures, labels in pool.map(_group, *zip(*_ranges(count), strict=True)):
            table = pa.table({"image": pictures, "label": labels}, schema)
            writer.write_table(table, row_group_size=_ROWS_IN_A_GROUP)


def _ranges(count: int) -> Iterator[tuple[int, int]]:
    for start in range(0, count, _ROWS_IN_A_GROUP):
        yield start, min(count, start + _ROWS_IN_A_GROUP)


if __name__ == "__main__":
    if len(sys.argv) != 4:
        sys.exit(__doc__)
    make(int(sys.argv[1]), Path(sys.argv[2]), Path(sys.argv[3]))
