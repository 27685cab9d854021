"""Pictures that a table lists, CSV or Parquet: `image` and `label`, perhaps `split` and `group`."""

from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from functools import cached_property, partial
from pathlib import Path
from typing import TYPE_CHECKING, Final

from model.data.errors import DataError
from model.data.own.places.files import MOST_BYTES, File, Listing, Read
from model.data.own.places.listing import too_large
from model.data.own.places.pointed import S3, Pointer, Target, require_all
from model.data.own.places.rows import Row, csv_rows
from model.data.pictures import LeftOut

if TYPE_CHECKING:
    from model.data.own.places.parquet import Table

CSV: Final = ".csv"
PARQUET: Final = ".parquet"
MANIFESTS: Final = {CSV, PARQUET}
"""What the name of a manifest ends in."""

_EMBEDDED: Final = "row "
"""What the key of a picture begins with whose bytes stand in the manifest."""


@dataclass
class Manifest:
    """See `model.data.own.places.files.Place`.

    Attributes:
        bring: Brings the manifest onto this disk, and gives the mark of what it brought too; asked only
            where it is to be opened.
        mark: Differs where the manifest does.
        base: Of a manifest in a bucket: what its paths are relative to, `s3://bucket/prefix/`.
    """

    bring: Callable[[], tuple[Path, str]]
    mark: str
    source: str
    workers: int
    base: str = ""

    def stamp(self) -> str:
        """See `Place.stamp`."""
        return self.mark

    @cached_property
    def path(self) -> Path:
        """Where it lies."""
        path, self.mark = self.bring()
        return path

    def listing(self) -> Listing:
        """See `Place.listing`."""
        rows = csv_rows(self.path, self.source) if self._is_csv else self._table.rows()
        if not rows:
            raise DataError(f"{self.source} lists no pictures; give each a row with its image and label.")
        if not any(row.followed for row in rows):
            raise DataError(
                f"{self.source} holds no pictures, only where they lay on another machine "
                f"({rows[0].path}); name the pictures' folder, or write it again with their bytes in it."
            )
        targets = self._targets(rows)
        names = names_of(rows)
        files: list[File] = []
        left_out: list[LeftOut] = []
        for row, name in zip(rows, names, strict=True):
            if not row.followed:
                detail = "The manifest has no bytes of it, only where it lay on another machine."
                left_out.append(LeftOut(name, row.label or None, "path only", detail))
            elif not row.label:
                left_out.append(LeftOut(name, None, "no class", "The manifest gives it no label."))
            else:
                target = targets[row.path] if row.path else Target(f"{_EMBEDDED}{row.number}", 0, self.mark)
                if target.length > MOST_BYTES:
                    left_out.append(too_large(name, row.label, target.length))
                    continue
                stamp = f"{target.stamp}:{target.key}"
                files.append(File(name, row.label, row.given, row.group, target.length, stamp, target.key))
        whole = self.mark if all(row.path is None for row in rows) else None
        return Listing(files, left_out, tuple(sorted({file.label for file in files})), stamp=whole)

    def read(self, files: Sequence[File]) -> Iterator[tuple[File, Read]]:
        """See `Place.read`."""
        yield from self._pointer.read(
            (file for file in files if not file.key.startswith(_EMBEDDED)), self.source
        )
        embedded = {
            int(file.key.removeprefix(_EMBEDDED)): file for file in files if file.key.startswith(_EMBEDDED)
        }
        if embedded:
            for number, data in self._table.read(list(embedded)):
                yield embedded[number], partial(bytes, data)

    @property
    def _is_csv(self) -> bool:
        return self.path.suffix.casefold() == CSV

    @cached_property
    def _table(self) -> "Table":
        from model.data.own.places.parquet import Table  # pyarrow takes a while to import

        return Table(self.path, self.source)

    @cached_property
    def _pointer(self) -> Pointer:
        return Pointer(None if self.base else self.path.absolute().parent, self.base)

    def _targets(self, rows: Sequence[Row]) -> dict[str, Target]:
        """What the rows' paths mean.

        Raises:
            DataError: Some files are not there.
        """
        paths = list(dict.fromkeys(row.path for row in rows if row.path and row.followed))
        if foreign := [path for path in paths if "://" in path and not path.startswith(S3)]:
            raise DataError(
                f"{self.source} has the address {foreign[0]}, which is not fetched; bring the pictures to "
                "this disk or into a bucket, and name them by path or s3://."
            )
        found = dict(zip(paths, self._pointer.find(paths), strict=True))
        require_all([path for path, target in found.items() if target is None], self.source)
        return {path: target for path, target in found.items() if target is not None}


def names_of(rows: Sequence[Row]) -> list[str]:
    """What each picture is called; of the same name only one."""
    often = Counter(row.name for row in rows)
    names = []
    for row in rows:
        if not row.name:
            names.append(f"row {row.number}")
        else:
            names.append(row.name if often[row.name] == 1 else f"{row.name} (row {row.number})")
    return names
