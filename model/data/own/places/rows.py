"""The rows of a manifest, whatever file they stand in: a CSV here, a Parquet in `parquet.py`."""

import csv
import unicodedata
from collections.abc import Sequence
from pathlib import Path
from typing import Final, NamedTuple, TextIO

from model.data.errors import DataError
from model.data.own.places.layout import SPLIT_NAMES
from model.data.pictures import SplitName

IMAGE: Final = "image"
WANTED: Final = (IMAGE, "label")
OFFERED: Final = ("split", "group")

_SEPARATORS: Final = ",;\t"


class Row(NamedTuple):
    """One picture that a manifest lists.

    Attributes:
        number: Where it stands, for people: a line of a CSV, a row of a Parquet from 1.
        path: Of its file; None where the bytes stand in the manifest.
        name: What the manifest calls it; perhaps nothing.
        label: Its class; empty where there is none.
        given: The split that the manifest puts it in.
        group: What it belongs to.
        followed: Whether its path may be followed; not where it can only be of another machine.
    """

    number: int
    path: str | None
    name: str
    label: str
    given: SplitName | None
    group: str | None
    followed: bool = True


def csv_rows(path: Path, source: str, wanted: Sequence[str] = WANTED) -> list[Row]:
    """Read a CSV with a line of column names; commas, semicolons and tabs separate.

    Args:
        path: Where it lies.
        source: What the user calls it.
        wanted: Columns that it must have.

    Raises:
        DataError: It cannot be read, has not the columns, or an unknown split.
    """
    try:
        with path.open(encoding="utf-8-sig", newline="") as file:
            lines = csv.reader(file, delimiter=separator_of(file), skipinitialspace=True)
            names = [name.strip().casefold() for name in next(lines, [])]
            check_columns(names, source, wanted)
            places = {name: names.index(name) for name in (*WANTED, *OFFERED) if name in names}
            rows = []
            for fields in lines:
                if not any(fields):
                    continue
                image, label, split, group = (
                    fields[places[name]].strip() if places.get(name, len(fields)) < len(fields) else ""
                    for name in (*WANTED, *OFFERED)
                )
                where = f"line {lines.line_num}"
                if not image:
                    raise DataError(
                        f"{source} names no image in {where}; write its path, or remove the line."
                    )
                rows.append(
                    Row(
                        lines.line_num,
                        image,
                        image,
                        text(label),
                        split_of(split, source, where),
                        group or None,
                    )
                )
            return rows
    except OSError as error:
        raise DataError(f"{source} cannot be read ({error.strerror}).") from error
    except (UnicodeError, csv.Error) as error:
        raise DataError(f"{source} is no CSV in UTF-8 ({error}); save it as one.") from error


def separator_of(file: TextIO) -> str:
    """What separates a CSV's columns: comma, semicolon or tab, by the line of their names.

    Args:
        file: At its beginning, where it is left.
    """
    first = file.readline()
    file.seek(0)
    return max(_SEPARATORS, key=first.count)


def check_columns(names: Sequence[str], source: str, wanted: Sequence[str] = WANTED) -> None:
    """Require the columns that a manifest must have.

    Raises:
        DataError: One is absent, or there twice.
    """
    if twice := [name for name in (*wanted, *OFFERED) if names.count(name) > 1]:
        raise DataError(
            f"{source} has {names.count(twice[0])} columns {twice[0]!r}; keep the one that counts, and "
            "call the others something else."
        )
    if absent := [name for name in wanted if name not in names]:
        raise DataError(
            f"{source} has no column {absent[0]!r}, but {', '.join(map(repr, names[:8])) or 'none at all'}; "
            f"a manifest has {' and '.join(wanted)}, and may have split and group."
        )


def split_of(value: str, source: str, where: str) -> SplitName | None:
    """The split that a cell names; None of an empty one.

    Raises:
        DataError: It names none.
    """
    if not value:
        return None
    if (split := SPLIT_NAMES.get(value.casefold())) is None:
        raise DataError(
            f"{source} has the split {value!r} in {where}; write train, validation or test, or leave it "
            "empty."
        )
    return split


def text(value: str) -> str:
    """A name as it is compared: of a letter with an accent there are two spellings."""
    return unicodedata.normalize("NFC", value.strip())
