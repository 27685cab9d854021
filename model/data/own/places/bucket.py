"""Pictures below a prefix of a bucket, in class folders."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import PurePosixPath
from typing import Final

from botocore.exceptions import ClientError

from model.data.errors import DataError
from model.data.own.places.files import File, Listing, Read
from model.data.own.places.layout import Layout, Parts, is_hidden, parts_of
from model.data.own.places.listing import Found, list_found
from model.data.own.places.objects import Meanwhile, Object, fetched, stamp_of
from model.data.pictures import LeftOut
from model.data.remote.s3_data import Address, explained

_PROBES: Final = 16


@dataclass
class Bucket:
    """See `model.data.own.places.files.Place`."""

    address: Address
    source: str
    workers: int
    _meanwhile: Meanwhile = field(default_factory=Meanwhile)

    def stamp(self) -> None:
        """See `Place.stamp`."""

    def listing(self) -> Listing:
        """See `Place.listing`."""
        found: dict[Parts, Found] = {}
        folders: list[Parts] = []
        left_out: list[LeftOut] = []
        prefix = self.address.prefix
        for key, listed in self.address.objects.items():
            if not key.startswith(prefix):
                continue  # of another folder whose name begins the same
            try:
                parts = parts_of(key[len(prefix) :])
            except ValueError:
                detail = "Its key leads out of the prefix."
                left_out.append(LeftOut(key[len(prefix) :], None, "not a picture", detail))
                continue
            if not parts or any(map(is_hidden, parts)):
                continue
            if key.endswith("/"):
                folders.append(parts)
            else:
                found[parts] = Found(parts, listed.size, stamp_of(listed), key)
        if not folders and all(len(parts) < 2 for parts in found):
            raise self.address.nothing()
        notes = self._about_collisions(found, folders)
        return list_found(list(found.values()), folders, left_out, self.source, notes)

    def read(self, files: Sequence[File]) -> Iterator[tuple[File, Read]]:
        """See `Place.read`."""
        return fetched((Object(file, self.address, file.key) for file in files), self.source, self._meanwhile)

    def _about_collisions(self, found: dict[Parts, Found], folders: Sequence[Parts]) -> Iterator[str]:
        """MinIO does not list keys below an object's name: no `p/cat/1.jpg` where `p/cat` is an object.

        Raises:
            DataError: There are such keys.
        """
        layout = Layout.of(found, folders)
        depth = len(layout.top) + layout.splits
        names = list({path[-1]: None for path in found if len(path) > depth + 1})[:_PROBES]
        for path, file in found.items():
            name = path[-1]
            if len(path) != depth + 1 or PurePosixPath(name).suffix or name in layout.classes:
                continue
            if not file.length or any(self._is_there(f"{file.key}/{other}") for other in names):
                raise DataError(
                    f"{self.source} has an object {'/'.join(path)!r} that is named like the folder of a "
                    "class, and this S3 does not list what lies below an object's name; remove or rename it."
                )
            yield (
                f"The object {'/'.join(path)!r} lies where class folders are; an S3 like MinIO does not list "
                "what lies below an object's name, so a class of that name would not be seen."
            )

    def _is_there(self, key: str) -> bool:
        def ask() -> bool:
            try:
                self.address.client.head_object(Bucket=self.address.bucket, Key=key)
            except ClientError as error:
                if error.response.get("ResponseMetadata", {}).get("HTTPStatusCode") in {403, 404}:
                    return False
                raise
            return True

        with explained(self.address.asked, key):
            return self.address.patience.ask(key, ask)
