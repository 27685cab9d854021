"""The files that a manifest points to: on this machine, or in a bucket."""

import os
import stat
from collections import defaultdict
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from functools import cached_property, partial
from pathlib import Path
from typing import TYPE_CHECKING, Final, NamedTuple

from model.data.errors import DataError
from model.data.own.places.files import File, Read
from model.data.own.places.folder import read_file, stamp_of
from model.data.own.places.layout import parts_of

if TYPE_CHECKING:
    from model.data.own.places.objects import Meanwhile, Object
    from model.data.remote.s3_data import Address

S3: Final = "s3://"

_LONGEST: Final = 300
"""Characters of a path that a sentence shows."""


class Target(NamedTuple):
    """A file that is there.

    Attributes:
        key: Its path, or its `s3://` address.
        length: In bytes.
        stamp: As in `model.data.own.places.files.File`.
    """

    key: str
    length: int
    stamp: str


@dataclass
class Pointer:
    """Finds what a manifest's paths mean.

    Attributes:
        folder: What paths on this machine are relative to; None for a manifest in a bucket.
        base: What paths in the bucket are relative to, `s3://bucket/prefix/`; empty for one on this machine.
    """

    folder: Path | None
    base: str = ""
    _buckets: "dict[str, Address]" = field(default_factory=dict)

    @cached_property
    def _meanwhile(self) -> "Meanwhile":
        from model.data.own.places.objects import Meanwhile

        return Meanwhile()

    def find(self, paths: Sequence[str]) -> list[Target | None]:
        """What each path means; None for one that leads nowhere.

        Raises:
            DataAwayError: A bucket cannot be reached at present.
            DataError: A bucket cannot be listed.
        """
        keys = [self._key(path) for path in paths]
        self._list([key for key in keys if key and key.startswith(S3)])
        return [self._target(key) if key else None for key in keys]

    def read(self, files: Iterable[File], source: str) -> Iterator[tuple[File, Read]]:
        """Bring targets, by the files' keys."""
        there: list[File] = []
        for file in files:
            if file.key.startswith(S3):
                there.append(file)
            else:
                yield file, partial(read_file, file.key)
        if there:
            from model.data.own.places.objects import fetched

            yield from fetched(map(self._object, there), source, self._meanwhile)

    def _object(self, file: File) -> "Object":
        from model.data.own.places.objects import Object

        bucket, _, name = file.key.removeprefix(S3).partition("/")
        return Object(file, self._buckets[bucket], name)

    def _key(self, path: str) -> str | None:
        if path.startswith(S3):
            return path
        if self.folder is not None:
            return str(self.folder / path)
        try:  # beside a manifest in a bucket, and never above it
            return None if path.startswith("/") else self.base + "/".join(parts_of(path))
        except ValueError:
            return None

    def _list(self, keys: Sequence[str]) -> None:
        """List the buckets once, as far as their keys begin the same."""
        by_bucket: dict[str, list[str]] = defaultdict(list)
        for key in keys:
            bucket, _, name = key.removeprefix(S3).partition("/")
            by_bucket[bucket].append(name)
        for bucket, names in by_bucket.items():
            from model.data.remote.s3_data import look

            self._buckets[bucket] = look(f"{S3}{bucket}/{os.path.commonprefix(names)}")  # noqa: RUF071  # of keys

    def _target(self, key: str) -> Target | None:
        if key.startswith(S3):
            from model.data.own.places.objects import stamp_of as stamp_of_object

            bucket, _, name = key.removeprefix(S3).partition("/")
            listed = self._buckets[bucket].objects.get(name)
            return listed and Target(key, listed.size, stamp_of_object(listed))
        try:
            status = os.stat(key)  # noqa: PTH116  # of a path that is text already
        except (OSError, ValueError):
            return None
        return Target(key, status.st_size, stamp_of(status)) if stat.S_ISREG(status.st_mode) else None


def require_all(missing: Sequence[str], source: str) -> None:
    """Refuse a manifest that lists files that are not there.

    Raises:
        DataError: Some are missing.
    """
    if missing:
        listed = ", ".join(map(_shown, missing[:3])) + (
            f" and {len(missing) - 3:,} more" if len(missing) > 3 else ""
        )
        which = "file that is" if len(missing) == 1 else "files that are"
        raise DataError(
            f"{source} lists {len(missing):,} {which} not there: {listed}; correct the paths, which are "
            "relative to the manifest, or bring the files."
        )


def _shown(path: str) -> str:
    """A path on one line: where a quotation mark is not closed, it is all the lines that follow."""
    line = "".join(sign if sign.isprintable() else ascii(sign)[1:-1] for sign in path[:_LONGEST])
    return line if len(path) <= _LONGEST else f"{line}…"
