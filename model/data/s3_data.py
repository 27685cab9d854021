"""Bring CIFAR-10 from any S3 to this disk: whole, or with a sentence that says why not."""

from collections.abc import Collection
from pathlib import Path
from typing import Any, Final
from urllib.parse import urlsplit

from model.data.cifar10 import BATCH_FILES, BATCHES_FOLDER
from model.data.errors import DataAwayError, DataError
from model.data.s3_client import again, connect, is_temporary, list_sizes, whole_answer
from model.data.s3_errors import FAULTS, Asked, CutShortError
from model.data.s3_explain import explain

_BLOCK_BYTES: Final = 1 << 20


def fetch(address: str, folder: Path) -> Path:
    """Fetch an archive, or the six batches under a prefix, from `s3://bucket/key` into `folder`.

    Endpoint, region and credentials come from the usual AWS_* variables (AWS_ENDPOINT_URL for MinIO).

    Returns:
        The archive, or the folder that holds the batches, whole.

    Raises:
        DataAwayError: The bucket cannot be reached at present, or the session has ended.
        DataError: The bucket cannot be read, or holds neither.
    """
    parts = urlsplit(address)
    bucket, key = parts.netloc, parts.path.lstrip("/")
    if not bucket:
        raise DataError(f"{address} names no bucket; write s3://BUCKET/PATH.")
    asked, wanted = Asked(address, ""), key
    try:
        s3 = connect()
        asked = Asked(address, str(s3.meta.endpoint_url), is_temporary(s3))
        sizes = list_sizes(s3, bucket, key)
        files = _archive_or_batches(sizes, key)
        for wanted in files:
            _download(s3, bucket, wanted, sizes[wanted], folder / Path(wanted).name)
    except FAULTS as error:
        fault = explain(error, asked, wanted)
        away = fault.kind in {"unreachable", "session"}
        raise (DataAwayError if away else DataError)(fault.sentence) from error
    except OSError as error:
        raise DataError(
            f"{address} cannot be kept in {folder} ({error.strerror}); make room there, or set TMPDIR."
        ) from error
    if not files:
        raise DataError(
            f"{address} holds neither an archive nor data_batch_1 to test_batch; name what does, as in "
            "s3://BUCKET/cifar-10-python.tar.gz."
        )
    return folder / Path(files[0]).name if len(files) == 1 else folder


def _archive_or_batches(keys: Collection[str], key: str) -> list[str]:
    if key in keys and not key.endswith("/"):
        return [key]
    prefix = key if not key or key.endswith("/") else f"{key}/"
    for inner in (prefix, f"{prefix}{BATCHES_FOLDER}/"):
        batches = [f"{inner}{name}" for name in BATCH_FILES]
        if all(batch in keys for batch in batches):
            return batches
    return []


@again
def _download(s3: Any, bucket: str, key: str, size: int, target: Path) -> None:
    with whole_answer(), target.open("wb") as file:
        for block in s3.get_object(Bucket=bucket, Key=key)["Body"].iter_chunks(_BLOCK_BYTES):
            file.write(block)
    if target.stat().st_size != size:
        raise CutShortError
