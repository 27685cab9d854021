"""The pictures that are scored: as files, in a Parquet and in a tar, the same bytes under the same names."""

import io
import itertools
import json
import os
import shutil
import sys
import tarfile
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Final, NamedTuple

import numpy as np

_SIDE_BY_SIDE: Final = 16


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
    """Write a set, and the small one beside it, unless these very ones are there whole.

    Returns:
        The names, in their order.
    """
    names = [f"{number // 1000:02}/{number:06}.jpg" for number in range(kind.pictures)]
    made, what = folder / "made.json", json.dumps([kind.pictures, kind.few, kind.different])
    if not made.exists() or made.read_text() != what:
        for name in ("few", "pictures"):
            if not made.exists() and (folder / name).exists():
                sys.exit(f"{folder / name} is not of this benchmark, or half made: remove it.")
            shutil.rmtree(folder / name, ignore_errors=True)
        made.unlink(missing_ok=True)
        different = kind.make(min(kind.different, kind.pictures))
        _write(folder / "few", names[: kind.few], different)
        _write(folder / "pictures", names, different)
        made.write_text(what)
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
    """Put a set, and the small one, below an `s3://` prefix, as far as they are not there.

    What else is there would be scored too, so it is removed.
    """
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
    there = {found["path"]: found["size"] for page in obstore.list(store) for found in page}
    wanted = [f"{base}/{name}" for base, some in (("few", names[:few]), ("pictures", names)) for name in some]
    if foreign := there.keys() - set(wanted):
        sys.exit(f"{url} holds other objects ({min(foreign)}); name another prefix.")

    def put(path: str) -> None:
        data = (folder / path).read_bytes()
        if there.get(path) != len(data):
            obstore.put(store, path, data)

    with ThreadPoolExecutor(_SIDE_BY_SIDE) as pool:
        list(pool.map(put, wanted))
