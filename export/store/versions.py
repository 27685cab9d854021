"""Versions in a place for objects: written once, never changed, checked whenever they are read."""

import json
import logging
import os
import tempfile
from collections.abc import Callable, Mapping
from datetime import UTC, datetime
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Final

from export.errors import AbsentError, ExistsError, IntegrityError, OtherModelError, StoreError
from export.store.blobs import Blobs, FolderBlobs
from export.store.classes.class_list import ClassList
from export.store.copies import bring, check
from export.store.keys import MANIFEST_KEY, NUMBERED, attachment_prefix, version_key, version_prefix
from export.store.ledger import Ledger
from export.store.manifest import MANIFEST_NAME, FileDigest, Manifest, digest_of
from model.contract import VERSION_WIDTH

if TYPE_CHECKING:
    from export.store.s3 import Encryption

_log = logging.getLogger(__name__)

Build = Callable[[int, Path], Manifest]
"""Fills an empty folder with the files of the version of that number, and describes them."""

SPLITS: Final = "splits.bin"
"""Evidence: which picture of the data is in which split."""

KNOWN: Final = "known.zip"
"""Evidence: the known images that the version must answer in service."""


class Store:
    """Versions, what is attached to them, the ledger, and the lists of class ids."""

    def __init__(self, blobs: Blobs, model: str | None = None) -> None:
        """Nothing is asked of the place yet.

        Args:
            blobs: The place.
            model: Whose versions are expected there; None takes those of any.
        """
        self.blobs = blobs
        self._model = model
        self.ledger = Ledger(blobs)
        self.classes = ClassList(blobs, self._in_use)
        # A manifest never changes, so one that was read and is still listed is not read again.
        self._manifests: dict[int, Manifest] = {}

    @property
    def url(self) -> str:
        """The store's address."""
        return self.blobs.url

    def uri(self, version: int) -> str:
        """A version's address: what KServe's `storageUri` takes, or a folder's path."""
        return f"{self.url.rstrip('/')}/{version_prefix(version)}"

    def numbers(self) -> list[int]:
        """The numbers of all versions that exist, ascending."""
        keys = self.blobs.list("versions/")
        return [int(match[1]) for key in keys if (match := MANIFEST_KEY.fullmatch(key))]

    def versions(self) -> list[Manifest]:
        """All versions, ascending; one with a broken manifest is left out with a warning in the log."""
        manifests = []
        for number in self.numbers():
            try:
                if number not in self._manifests:
                    self._manifests[number] = self.manifest(number)
                manifests.append(self._manifests[number])
            except AbsentError:  # pruned since the listing
                continue
            except IntegrityError as error:
                _log.warning("%s", error)
        return manifests

    def manifest(self, version: int) -> Manifest:
        """A version's manifest.

        Raises:
            AbsentError: There is no such version.
            IntegrityError: The manifest is not what was published.
            OtherModelError: It is a version of another model.
        """
        key = version_key(version, MANIFEST_NAME)
        try:
            data = self.blobs.get(key)
        except AbsentError:
            raise AbsentError(
                f"There is no version {version} in {self.url}; `cnn-image versions` lists what there is."
            ) from None
        manifest = Manifest.from_json(data, name=key)
        if manifest.version != version:
            raise IntegrityError(f"{key} says it is version {manifest.version}; publish the model again.")
        name = manifest.contract.model
        if self._model is not None and name != self._model:
            raise OtherModelError(
                f"{self.url} holds versions of the model {name}, not of {self._model}: go on with "
                f"`--model {name}`, or name another store."
            )
        return manifest

    def publish(self, build: Build, evidence: Mapping[str, bytes] | None = None) -> Manifest:
        """Take the next number, build the version under it, and make it visible whole or not at all.

        A publish that fails at any point leaves nothing visible; its number is not used again.

        Args:
            build: Called once, with the number and an empty folder.
            evidence: Name → content of what is attached to the version and stands in its manifest, for
                example `SPLITS` and `KNOWN`.

        Raises:
            StoreError: Nothing was published. After a connection lost in the very last write the version may
                be there all the same, complete.
        """
        version = self._claim()
        with tempfile.TemporaryDirectory(prefix="cnn-image-") as scratch:
            folder = Path(scratch)
            manifest = build(version, folder)
            if manifest.version != version:
                raise ValueError(f"version {manifest.version} was built, {version} was asked for")
            if evidence:
                digests = {name: digest_of(data) for name, data in sorted(evidence.items())}
                manifest = Manifest(**dict(manifest) | {"evidence": digests})
                for name, data in sorted(evidence.items()):
                    self.blobs.put_if_absent(f"{attachment_prefix(version)}/{name}", data)
            for path, expected in sorted(manifest.files.items()):
                data = (folder / path).read_bytes()
                check(data, expected, path)
                self.blobs.put_if_absent(version_key(version, path), data)
            self.blobs.put_if_absent(version_key(version, MANIFEST_NAME), manifest.to_json())
        _log.info("published version %d to %s", version, self.url)
        return manifest

    def fetch(self, version: int, folder: Path) -> Path:
        """Bring a version to this machine, checking each file against the manifest.

        Args:
            version: Its number.
            folder: Gets a subfolder for the version; one that is already there and whole is used again.

        Returns:
            The subfolder, a whole Triton repository with its manifest.

        Raises:
            AbsentError: There is no such version.
            IntegrityError: A file is missing or is not what was published; nothing is left behind.
        """
        manifest = self.manifest(version)
        return bring(manifest, folder, partial(self._file, manifest))

    def evidence(self, version: int, name: str) -> bytes:
        """What was attached to a version as it was published.

        Args:
            version: Its number.
            name: One that its manifest lists, for example `SPLITS`.

        Raises:
            AbsentError: There is no such version, or it was published without.
            IntegrityError: It is missing or is not what was published.
        """
        manifest = self.manifest(version)
        if name not in manifest.evidence:
            raise AbsentError(f"Version {version} was published without {name}.")
        return self._evidence(manifest, name)

    def verify(self, version: int) -> Manifest:
        """Read every file of a version in the store, and its evidence, and check it.

        Raises:
            AbsentError: There is no such version.
            IntegrityError: A file is missing, is not what was published, or does not belong to the version.
        """
        manifest = self.manifest(version)
        prefix = f"{version_prefix(version)}/"
        stored = {key.removeprefix(prefix) for key in self.blobs.list(prefix)}
        if strange := sorted(stored - manifest.files.keys() - {MANIFEST_NAME}):
            raise IntegrityError(f"{prefix}{strange[0]} does not belong to version {version}; remove it.")
        for path in manifest.files:
            self._file(manifest, path)
        for name in manifest.evidence:
            self._evidence(manifest, name)
        return manifest

    def delete(self, version: int) -> None:
        """Remove a version and what is attached to it; the manifest goes first, so no half of it is visible.

        Whether the version is still needed is the caller's to decide.
        """
        self._manifests.pop(version, None)
        self.blobs.delete(version_key(version, MANIFEST_NAME))
        for prefix in (f"{version_prefix(version)}/", f"{attachment_prefix(version)}/"):
            for key in self.blobs.list(prefix):
                self.blobs.delete(key)

    def attachments_uri(self, version: int) -> str:
        """The address of what is attached to a version."""
        return f"{self.url.rstrip('/')}/{attachment_prefix(version)}"

    def attach(self, version: int, name: str, data: bytes) -> None:
        """Put a file beside a version, once.

        Raises:
            AbsentError: There is no such version.
            ExistsError: It has such a file already.
        """
        self.manifest(version)
        self.blobs.put_if_absent(f"{attachment_prefix(version)}/{name}", data)

    def detach(self, version: int, name: str) -> None:
        """Remove a file beside a version that a step left which was cut off; done again, it is no error."""
        self.blobs.delete(f"{attachment_prefix(version)}/{name}")

    def attachment(self, version: int, name: str) -> bytes:
        """A file beside a version.

        Raises:
            AbsentError: There is none of that name.
        """
        return self.blobs.get(f"{attachment_prefix(version)}/{name}")

    def attachments(self, version: int) -> list[str]:
        """The names of the files beside a version."""
        prefix = f"{attachment_prefix(version)}/"
        return [key.removeprefix(prefix) for key in self.blobs.list(prefix)]

    def _in_use(self) -> Manifest | None:
        """The version that is served, else the newest that can be read."""
        if (served := self.ledger.served()) is not None:
            return self.manifest(served)
        for number in reversed(self.numbers()):
            try:
                return self.manifest(number)
            except (AbsentError, IntegrityError):
                continue
        return None

    def _claim(self) -> int:
        keys = [*self.blobs.list("claims/"), *self.blobs.list("versions/")]
        number = max((int(match[1]) for key in keys if (match := NUMBERED.fullmatch(key))), default=0) + 1
        claim = json.dumps(
            {"at": datetime.now(UTC).isoformat(timespec="seconds"), "pid": os.getpid()}
        ).encode()
        while True:
            try:
                self.blobs.put_if_absent(f"claims/{number:0{VERSION_WIDTH}d}", claim)
            except ExistsError:
                number += 1
            else:
                return number

    def _file(self, manifest: Manifest, path: str) -> bytes:
        return self._checked(version_key(manifest.version, path), manifest.files[path])

    def _evidence(self, manifest: Manifest, name: str) -> bytes:
        return self._checked(f"{attachment_prefix(manifest.version)}/{name}", manifest.evidence[name])

    def _checked(self, key: str, expected: FileDigest) -> bytes:
        try:
            data = self.blobs.get(key)
        except AbsentError:
            raise IntegrityError(f"{key} is missing in {self.url}; publish the model again.") from None
        check(data, expected, key)
        return data


def open_store(url: str, encryption: "Encryption | None" = None, model: str | None = None) -> Store:
    """Open the store at an address: a folder's path, or `s3://bucket/prefix`.

    Nothing is asked of the place yet; a folder is made when something is written.

    Args:
        url: The address.
        encryption: What each write asks an S3 for.
        model: Whose versions are expected there; None takes those of any.

    Raises:
        StoreError: The address is neither, a folder is to be encrypted, or the environment's settings for S3
            make no sense.
    """
    scheme, separator, rest = url.partition("://")
    bucket, _, prefix = rest.partition("/")
    if scheme == "s3" and bucket:
        from export.store.s3 import S3Blobs  # boto3 takes a while to import, and a folder does without

        return Store(S3Blobs(bucket, prefix, encryption), model)
    if encryption is not None:
        raise StoreError(
            f"CNN_IMAGE_STORE_ENCRYPTION is for an s3:// address, and the store is {url}; unset it there."
        )
    if not separator and url:
        return Store(FolderBlobs(Path(url)), model)
    if scheme == "file" and rest.startswith("/"):
        return Store(FolderBlobs(Path(rest)), model)
    raise StoreError(f"{url!r} is no store; give a folder's path or s3://BUCKET/PREFIX.")
