"""The pictures that are scored: as files, in a Parquet and in a tar, the same bytes under the same names."""

import io
import itertools
import os
import tarfile
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, Final, NamedTuple

import numpy as np


class Kind(NamedTuple):
    """A set of pictures.

    Attributes:
        pictures: Files.
        few: As many has the small set beside it, which tells what a start takes.
        different: Of those, different ones.
        make: Makes so many.
    """

    pictures: int
    few: int
    different: int
    make: Callable[[int], list[bytes]]


def _small(count: int) -> list[bytes]:
    import simplejpeg

    from model.data.sources import load_sample

    sample = load_sample()
    images = np.concatenate([np.asarray(sample.test.images[:]), np.asarray(sample.train.images[:])])
    return [
        simplejpeg.encode_jpeg(
            np.ascontiguousarray(images[number % len(images)]), quality=75 + number // len(images)
        )
        for number in range(count)
    ]


def _enlarged(count: int, width: int, height: int) -> list[bytes]:
    from benchmarks.serving.photographs import enlarged, small_images

    return enlarged(small_images(count), width, height)


KINDS: Final = {
    "900-bytes": Kind(20_000, 512, 20_000, _small),
    "100-kB": Kind(2_000, 512, 100, lambda count: _enlarged(count, 720, 540)),
    "12-megapixels": Kind(200, 48, 8, lambda count: _enlarged(count, 4000, 3000)),
}


def make(kind: Kind, folder: Path) -> list[str]:
    """Write a set, and the small one beside it, unless they are there.

    Returns:
        The names, in their order.
    """
    names = [f"{number // 1000:02}/{number:06}.jpg" for number in range(kind.pictures)]
    if not (folder / "pictures.parquet").exists():
        different = kind.make(min(kind.different, kind.pictures))
        _write(folder / "few", names[: kind.few], different)
        _write(folder / "pictures", names, different)
    return names


def _write(base: Path, names: Sequence[str], different: Sequence[bytes]) -> None:
    import pyarrow as pa
    import pyarrow.parquet as pq

    pictures = list(itertools.islice(itertools.cycle(different), len(names)))
    with tarfile.open(f"{base}.tar", "w") as tar:
        for number, (name, data) in enumerate(zip(names, pictures, strict=True)):
            path = base / name
            path.parent.mkdir(parents=True, exist_ok=True)
            if number < len(different):
                path.write_bytes(data)
            else:
                os.link(base / names[number % len(different)], path)
            member = tarfile.TarInfo(name)
            member.size = len(data)
            tar.addfile(member, io.BytesIO(data))
    pq.write_table(pa.table({"image": pictures, "name": list(names)}), f"{base}.parquet", row_group_size=2000)


def upload(folder: Path, few: int, names: Sequence[str], url: str) -> None:
    """Put a set, and the small one, below an `s3://` prefix, unless it is there."""
    import obstore
    from obstore.store import S3Store

    bucket, _, prefix = url.removeprefix("s3://").partition("/")
    store = S3Store(
        bucket,
        prefix=prefix,
        endpoint=os.environ["AWS_ENDPOINT_URL"],
        client_options={"allow_http": True},
        virtual_hosted_style_request=False,
    )
    last: Any = f"pictures/{names[-1]}"
    if any(found["path"] == last for page in obstore.list(store, last.rpartition("/")[0]) for found in page):
        return
    for base, some in (("few", names[:few]), ("pictures", names)):
        for name in some:
            obstore.put(store, f"{base}/{name}", (folder / base / name).read_bytes())
