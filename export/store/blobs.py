"""Objects under keys: what the store, the ledger and the lease need of a place, and a folder as such a place.

An object is written only if its key is free, and is then never changed; the lease alone replaces its object,
and only the one it has read. Both hold across threads, processes and machines that share the place.
"""

import contextlib
import errno
import fcntl
import hashlib
import os
import re
import tempfile
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

from export.errors import AbsentError, ChangedError, ExistsError, StoreError

_KEY = re.compile(r"(?!\.)[A-Za-z0-9._-]+(/(?!\.)[A-Za-z0-9._-]+)*")
_SCRATCH = ".scratch"


@dataclass(frozen=True)
class Blob:
    """An object as it was read.

    Attributes:
        data: Its bytes.
        tag: Changes whenever the object does; what `replace` compares.
        age: Seconds since it was written, by the clock of the place, not of the reader's machine.
    """

    data: bytes
    tag: str
    age: float


class Blobs(Protocol):
    """A place for objects. Every method raises `StoreError` or one of its kinds, with a sentence."""

    @property
    def url(self) -> str:
        """The place's address, as a user would write it."""

    def put_if_absent(self, key: str, data: bytes) -> str:
        """Write an object whole or not at all, and return its tag.

        Raises:
            ExistsError: The key is taken, by someone else or by an earlier call.
        """

    def read(self, key: str) -> Blob:
        """Read an object with its tag and age.

        Raises:
            AbsentError: There is none.
        """

    def get(self, key: str) -> bytes:
        """Read an object's bytes.

        Raises:
            AbsentError: There is none.
        """

    def replace(self, key: str, data: bytes, tag: str) -> str:
        """Replace the object that carries `tag`, and return the new one's tag.

        Raises:
            ChangedError: The object has another tag by now, or is gone.
        """

    def list(self, prefix: str) -> list[str]:
        """All keys that start with `prefix`, sorted."""

    def delete(self, key: str) -> None:
        """Remove an object; that there is none is no error."""


def check_key(key: str) -> str:
    """Return the key, if it is one: plain names joined by `/`, so that no key leaves its place.

    Raises:
        StoreError: It is empty, absolute, holds `..`, a hidden name or an unusual character.
    """
    if not _KEY.fullmatch(key):
        raise StoreError(
            f"{key!r} is no name for an object; use letters, digits, '.', '_' and '-', joined by '/'."
        )
    return key


class FolderBlobs:
    """Objects as files below a folder.

    A file is written under a scratch name, flushed to disk, and given its own name by a hard link, which
    the file system makes whole or not at all and refuses if the name is taken.
    """

    def __init__(self, root: Path) -> None:
        self._root = root.absolute()

    @property
    def url(self) -> str:
        """The folder's absolute path."""
        return str(self._root)

    def put_if_absent(self, key: str, data: bytes) -> str:
        """See `Blobs.put_if_absent`."""
        path = self._path(key)
        with self._explained(key), self._scratch_file(data) as scratch:
            path.parent.mkdir(parents=True, exist_ok=True)
            try:
                os.link(scratch, path)
            except FileExistsError:
                raise ExistsError(f"{key} is already in {self.url} and is never overwritten.") from None
            _flush_folder(path.parent)
        return hashlib.sha256(data).hexdigest()

    def read(self, key: str) -> Blob:
        """See `Blobs.read`."""
        path = self._path(key)
        with self._explained(key):
            try:
                data = path.read_bytes()
                written = path.stat().st_mtime
            except (FileNotFoundError, NotADirectoryError, IsADirectoryError):
                raise AbsentError(f"There is no {key} in {self.url}.") from None
        return Blob(data, hashlib.sha256(data).hexdigest(), max(0.0, time.time() - written))

    def get(self, key: str) -> bytes:
        """See `Blobs.get`."""
        return self.read(key).data

    def replace(self, key: str, data: bytes, tag: str) -> str:
        """See `Blobs.replace`."""
        path = self._path(key)
        with self._explained(key), self._locked(), self._scratch_file(data) as scratch:
            try:
                current = self.read(key).tag
            except AbsentError:
                current = ""
            if current != tag:
                raise ChangedError(f"{key} in {self.url} was changed by someone else; read it again.")
            scratch.replace(path)
            _flush_folder(path.parent)
        return hashlib.sha256(data).hexdigest()

    def list(self, prefix: str) -> list[str]:
        """See `Blobs.list`."""
        # Only the folder that the prefix names is walked: the ledger must not cost a walk over all versions.
        below = self._root / prefix.rpartition("/")[0]
        with self._explained(prefix):
            keys = [
                path.relative_to(self._root).as_posix()
                for path in below.rglob("*")
                if _SCRATCH not in path.parts and path.is_file()
            ]
        return sorted(key for key in keys if key.startswith(prefix))

    def delete(self, key: str) -> None:
        """See `Blobs.delete`; folders that become empty go too."""
        path = self._path(key)
        with self._explained(key):
            path.unlink(missing_ok=True)
            for folder in path.parents:
                if folder == self._root:
                    break
                try:
                    folder.rmdir()
                except OSError:  # not empty, or already gone: both are as they should be
                    break

    def _path(self, key: str) -> Path:
        return self._root / check_key(key)

    @contextlib.contextmanager
    def _scratch_file(self, data: bytes) -> Iterator[Path]:
        folder = self._root / _SCRATCH
        folder.mkdir(parents=True, exist_ok=True)
        descriptor, name = tempfile.mkstemp(dir=folder)
        path = Path(name)
        try:
            with os.fdopen(descriptor, "wb") as file:
                # mkstemp makes files for one user; a store is read by others too, as the umask allows.
                os.fchmod(descriptor, 0o666 & ~_umask())
                file.write(data)
                file.flush()
                os.fsync(descriptor)
            yield path
        finally:
            path.unlink(missing_ok=True)

    @contextlib.contextmanager
    def _locked(self) -> Iterator[None]:
        folder = self._root / _SCRATCH
        folder.mkdir(parents=True, exist_ok=True)
        with (folder / "lock").open("w") as file:
            fcntl.flock(file, fcntl.LOCK_EX)
            yield

    @contextlib.contextmanager
    def _explained(self, key: str) -> Iterator[None]:
        """Turn what the operating system says into a sentence that says what to do."""
        try:
            yield
        except OSError as error:
            advice = {
                errno.ENOSPC: "make room on the disk",
                errno.EDQUOT: "make room in the quota",
                errno.EACCES: "give this user the right to it",
                errno.EPERM: "give this user the right to it, on a file system that knows hard links",
                errno.EROFS: "choose a store that can be written",
            }.get(error.errno or 0, "check the disk and the path")
            reason = error.strerror or type(error).__name__
            raise StoreError(f"The store {self.url} failed at {key!r} ({reason}); {advice}.") from error


def _flush_folder(folder: Path) -> None:
    descriptor = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def _umask() -> int:
    # The mask can only be read by setting it, which would race with other threads; Linux shows it here.
    for line in Path("/proc/self/status").read_text().splitlines():
        if line.startswith("Umask:"):
            return int(line.split()[1], 8)
    return 0o022
