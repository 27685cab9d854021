"""Bring the official CIFAR-10 to this disk, within a deadline."""

import hashlib
import os
import queue
import threading
import time
from pathlib import Path
from typing import Final

from model.data.cifar10 import BATCH_FILES, BATCHES_FOLDER, DataError

URL: Final = "https://www.cs.toronto.edu/~kriz/cifar-10-python.tar.gz"
SHA256: Final = "6d958be074577803d12ecdefd02955f39262c83c16fe9354329d7fe0b5c001ce"  # as Keras pins it
ARCHIVE: Final = "cifar-10-python.tar.gz"

CONNECT_SECONDS: Final = 10.0
TOTAL_SECONDS: Final = 900.0


def keras_cache() -> Path | None:
    """Where Keras, or an earlier download, left the official data; None when nowhere."""
    datasets = _keras_datasets()
    folders = (BATCHES_FOLDER, f"{BATCHES_FOLDER}-target/{BATCHES_FOLDER}", f"{BATCHES_FOLDER}-target")
    for folder in (datasets / name for name in folders):
        if all((folder / name).is_file() for name in BATCH_FILES):
            return folder
    archive = datasets / ARCHIVE
    return archive if archive.is_file() else None


def _keras_datasets() -> Path:
    home = os.environ.get("KERAS_HOME")
    return (Path(home) if home else Path.home() / ".keras") / "datasets"


def download(
    url: str = URL,
    sha256: str = SHA256,
    *,
    connect_seconds: float = CONNECT_SECONDS,
    total_seconds: float = TOTAL_SECONDS,
) -> Path:
    """Download the official archive (163 MB) into Keras' cache and check it.

    The work runs in a thread of its own, because a name lookup obeys no timeout of the HTTP client's.

    Returns:
        The archive's path; it appears there whole and checked, or not at all.

    Raises:
        DataError: No connection within `connect_seconds`, not all there within `total_seconds`, or another
            file than the published one.
    """
    progress: queue.Queue[Path | Exception | None] = queue.Queue()
    stop = threading.Event()
    target = _keras_datasets() / ARCHIVE
    worker = threading.Thread(
        target=_download,
        args=(url, sha256, target, total_seconds, progress, stop),
        daemon=True,
        name="download",
    )
    worker.start()
    try:
        outcome = progress.get(timeout=connect_seconds)
        if outcome is None:  # connected
            outcome = progress.get(timeout=total_seconds)
    except queue.Empty as error:
        raise DataError(
            f"{url} did not answer in time ({connect_seconds:g} s to connect, {total_seconds:g} s in all)."
        ) from error
    finally:
        stop.set()
    if isinstance(outcome, DataError):
        raise outcome
    if isinstance(outcome, Path):
        return outcome
    raise DataError(f"{url} could not be downloaded: {str(outcome).rstrip('.')}.") from outcome


def _download(
    url: str,
    sha256: str,
    target: Path,
    total_seconds: float,
    progress: "queue.Queue[Path | Exception | None]",
    stop: threading.Event,
) -> None:
    from model.data.http_client import http_client

    part = target.with_name(f"{target.name}.{os.getpid()}.part")
    ends = time.monotonic() + total_seconds
    digest = hashlib.sha256()
    try:
        with (
            http_client(url, CONNECT_SECONDS) as client,
            client.stream("GET", url, follow_redirects=True) as response,
        ):
            response.raise_for_status()
            progress.put(None)
            target.parent.mkdir(parents=True, exist_ok=True)
            with part.open("wb") as file:
                for block in response.iter_bytes():
                    if stop.is_set() or time.monotonic() > ends:
                        raise DataError(f"{url} was too slow: not all there after {total_seconds:g} s.")
                    digest.update(block)
                    file.write(block)
        if digest.hexdigest() != sha256:
            raise DataError(
                f"{url} delivered another file than the published one (sha256 {digest.hexdigest()})."
            )
        part.replace(target)
        progress.put(target)
    except Exception as error:  # handed to the thread that waits
        progress.put(error)
    finally:
        part.unlink(missing_ok=True)
