"""Bring the official CIFAR-10 to this disk, within a deadline."""

import hashlib
import os
import queue
import threading
import time
from collections.abc import Callable
from pathlib import Path
from typing import Final

from model.data.cifar10 import BATCH_FILES, BATCHES_FOLDER
from model.data.errors import DataError

URL: Final = "https://www.cs.toronto.edu/~kriz/cifar-10-python.tar.gz"
SHA256: Final = "6d958be074577803d12ecdefd02955f39262c83c16fe9348329d7fe0b5c001ce"
"""Both as in the source of `keras.datasets.cifar10.load_data`; a test reads them there."""

ARCHIVE: Final = "cifar-10-python.tar.gz"
_KERAS_NAME: Final = f"{BATCHES_FOLDER}-target"

CONNECT_SECONDS: Final = 10.0
TOTAL_SECONDS: Final = 900.0


def keras_cache() -> Path | None:
    """Where Keras, or an earlier download, left the official data; None when nowhere."""
    for datasets in _keras_datasets():
        # As Keras 3 extracts it, and as Keras 2 did.
        for name in (f"{_KERAS_NAME}/{BATCHES_FOLDER}", BATCHES_FOLDER, _KERAS_NAME):
            folder = datasets / name
            if all((folder / name).is_file() for name in BATCH_FILES):
                return folder
        # Ours appears whole or not at all; Keras writes its own in place, and may have been stopped in it.
        if (datasets / ARCHIVE).is_file():
            return datasets / ARCHIVE
        for archive in (datasets / f"{_KERAS_NAME}_archive", datasets / f"{BATCHES_FOLDER}.tar.gz"):
            if archive.is_file() and _sha256(archive) == SHA256:
                return archive
    return None


def _keras_datasets() -> list[Path]:
    """Where `keras.utils.get_file` keeps data sets; the last one is where it would put a new one.

    It goes to /tmp when its home cannot be written; what lies in such a home can still be read.
    """
    named = os.environ.get("KERAS_HOME")
    user = Path.home()
    home = Path(named).expanduser() if named else user / ".keras"
    there = next(folder for folder in (home, *home.absolute().parents) if folder.exists())
    homes = [home]
    if not os.access(there, os.W_OK) or not (named or os.access(user, os.W_OK)):
        homes.append(Path("/tmp/.keras"))  # noqa: S108 - Keras' choice
    return [folder / "datasets" for folder in homes]


def download(
    url: str = URL,
    sha256: str = SHA256,
    *,
    connect_seconds: float = CONNECT_SECONDS,
    total_seconds: float = TOTAL_SECONDS,
) -> Path:
    """Download the official archive (163 MB) into Keras' cache and check it.

    A connection that breaks off or stalls is opened again, for the bytes that are missing. The work runs in
    a thread of its own, because a name lookup obeys no timeout of the HTTP client's.

    Returns:
        The archive's path; it appears there whole and checked, or not at all.

    Raises:
        DataError: No connection within `connect_seconds`, not all there within `total_seconds`, or another
            file than the published one.
    """
    progress: queue.Queue[Path | Exception | None] = queue.Queue()
    stop = threading.Event()
    target = _keras_datasets()[-1] / ARCHIVE
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
    part = target.with_name(f"{target.name}.{os.getpid()}.part")
    try:
        _fetch(url, part, time.monotonic() + total_seconds, lambda: progress.put(None), stop)
        if (found := _sha256(part)) != sha256:
            raise DataError(
                f"{url} delivered another file than the published one: its sha256 is {found}, not {sha256}."
            )
        part.replace(target)
        progress.put(target)
    except _LateError:
        progress.put(DataError(f"{url} was too slow: not all there after {total_seconds:g} s."))
    except Exception as error:  # handed to the thread that waits
        progress.put(error)
    finally:
        part.unlink(missing_ok=True)


def _fetch(url: str, part: Path, ends: float, connected: Callable[[], None], stop: threading.Event) -> None:
    """Write what an address delivers into `part`, over as many connections as it takes.

    Raises:
        _LateError: It is not all there at `ends`, or nobody waits for it any more.
        httpx.HTTPError: It was refused, or a connection broke off that had brought nothing new.
        OSError: It cannot be written.
    """
    import httpx

    from model.data.remote.http_client import http_client

    have = 0
    while True:
        # Bytes as they are: some servers declare a .tar.gz to be a compressed transfer of a .tar.
        headers = {"Accept-Encoding": "identity"} | ({"Range": f"bytes={have}-"} if have else {})
        before = have
        try:
            with (
                http_client(url, CONNECT_SECONDS) as client,
                client.stream("GET", url, headers=headers, follow_redirects=True) as response,
            ):
                response.raise_for_status()
                if not have:
                    connected()
                part.parent.mkdir(parents=True, exist_ok=True)
                go_on = response.status_code == httpx.codes.PARTIAL_CONTENT
                with part.open("ab" if go_on else "wb") as file:
                    for block in response.iter_raw():
                        if stop.is_set() or time.monotonic() > ends:
                            raise _LateError
                        file.write(block)
                return
        except httpx.TransportError:
            have = part.stat().st_size if part.exists() else 0
            if have <= before:
                raise


class _LateError(Exception):
    """The time is over."""


def _sha256(path: Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()
