"""`var/serving`: versions fetched to this machine, and what the running service says of itself.

    versions/000007/cnn-image/…    fetched from the store, digests checked
    models/cnn-image               a link to one of them; Triton's model repository
    status.json                    written by the running service, read by `promote` and `deploy`
    port                           that it chose last by itself
    lock                           held by the running service

One service uses the folder at a time.
"""

import fcntl
import os
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Literal

import httpx
from pydantic import BaseModel, ValidationError

from export.store.versions import Store
from jobs.errors import MistakeError
from jobs.laptop.triton import models
from model.contract import MODEL_NAME, VERSION_WIDTH


class Failed(BaseModel):
    """A version that the service could not bring up."""

    entry: int
    version: int
    reason: str


class Status(BaseModel):
    """What the running service says of itself."""

    pid: int
    url: str
    host: str = ""
    """The address that it listens on; a service of an earlier release does not say."""
    triton_url: str
    state: Literal["starting", "serving"] = "starting"
    version: int | None = None
    entry: int = 0
    """The ledger's entry that was followed last."""
    failed: Failed | None = None
    variant: str
    grpc_port: int | None = None
    """As `host`, so are the next."""
    store: str = ""

    @property
    def ports(self) -> set[int]:
        """That the transformer listens on."""
        found = {httpx.URL(self.url).port, self.grpc_port}
        return {port for port in found if port is not None}


class ServingFolder:
    """Access to `var/serving`."""

    def __init__(self, root: Path, name: str = MODEL_NAME) -> None:
        self._root = root.absolute()
        self._names = models(name)

    @property
    def models(self) -> Path:
        """Triton's model repository."""
        return self._root / "models"

    def fetch(self, store: Store, version: int) -> Path:
        """Bring a version here, if it is not here yet, and check its digests.

        Raises:
            StoreError: It cannot be fetched, or is not what was published.
        """
        return store.fetch(version, self._root / "versions")

    def fetched(self, version: int) -> Path | None:
        """A version that is here already; its digests were checked when it came."""
        folder = self._root / "versions" / f"{version:0{VERSION_WIDTH}d}"
        return folder if folder.is_dir() else None

    def activate(self, folder: Path) -> None:
        """Point Triton's repository at a fetched version; each link changes at once or not at all."""
        self.models.mkdir(parents=True, exist_ok=True)
        for name in self._names:
            # Triton loads a model again only if its files are newer than what it loaded; after a roll back
            # they would be older.
            os.utime(folder / name / "config.pbtxt")
            link, fresh = self.models / name, self.models / f".{name}"
            fresh.unlink(missing_ok=True)
            fresh.symlink_to(os.path.relpath(folder / name, self.models))
            fresh.replace(link)

    def active(self) -> int | None:
        """The version the links point at."""
        link = self.models / self._names[-1]
        if not link.exists():
            return None
        return int(link.resolve().parent.name)

    def drop_except(self, keep: set[int]) -> None:
        """Remove fetched versions that are of no use any more; the store has them."""
        folder = self._root / "versions"
        for path in folder.iterdir() if folder.is_dir() else ():
            if path.name.isdigit() and int(path.name) not in keep:
                shutil.rmtree(path, ignore_errors=True)

    def status(self) -> Status | None:
        """What the running service says; None if none runs."""
        if not self._held():
            return None
        try:
            return Status.model_validate_json((self._root / "status.json").read_text())
        except (FileNotFoundError, ValidationError):
            return None

    def last_port(self) -> int | None:
        """The port that the service chose by itself when it ran last."""
        try:
            return int((self._root / "port").read_text())
        except (FileNotFoundError, ValueError):
            return None

    def remember_port(self, port: int) -> None:
        """Let the next service choose this one first."""
        self._root.mkdir(parents=True, exist_ok=True)
        (self._root / "port").write_text(f"{port}\n")

    def write_status(self, status: Status) -> None:
        """Tell others; a reader sees the old text or the new one."""
        self._root.mkdir(parents=True, exist_ok=True)
        fresh = self._root / ".status.json"
        fresh.write_text(status.model_dump_json(indent=1))
        fresh.replace(self._root / "status.json")

    @contextmanager
    def claim(self) -> Iterator[None]:
        """Be the one service of this folder.

        Raises:
            MistakeError: Another one is.
        """
        self._root.mkdir(parents=True, exist_ok=True)
        with (self._root / "lock").open("w") as lock:
            try:
                fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError:
                status = self.status()
                whose = f" (process {status.pid}, {status.url})" if status else ""
                raise MistakeError(
                    f"A service{whose} already runs from {self._root}: use it, or stop it with Ctrl-C first."
                ) from None
            (self._root / "status.json").unlink(missing_ok=True)
            try:
                yield
            finally:
                (self._root / "status.json").unlink(missing_ok=True)

    def _held(self) -> bool:
        try:
            with (self._root / "lock").open("r") as lock:
                fcntl.flock(lock, fcntl.LOCK_SH | fcntl.LOCK_NB)
        except BlockingIOError:
            return True
        except FileNotFoundError:
            return False
        return False
