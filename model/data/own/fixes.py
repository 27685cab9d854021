"""What a user corrects without touching the files: a CSV of pictures and what becomes of them."""

import csv
import dataclasses
import logging
from collections.abc import Sequence
from pathlib import Path
from typing import Final

from model.data.errors import DataError
from model.data.findings import counted, named
from model.data.own.gather import Gathered
from model.data.own.places.rows import separator_of, text
from model.data.pictures import LeftOut, Picture

log = logging.getLogger(__name__)

DROP: Final = "drop"
"""The fix that leaves a picture out."""

_COLUMNS: Final = ("image", "fix")


def read_fixes(path: Path) -> dict[str, str]:
    """Read a CSV with the columns `image` and `fix`, beside whatever others.

    Returns:
        By name of the picture: a class, or `DROP`; rows without a picture or a fix are not in it.

    Raises:
        DataError: It cannot be read, is none, or fixes a picture in two ways.
    """
    fixes: dict[str, str] = {}
    try:
        with path.open(encoding="utf-8-sig", newline="") as file:
            rows = csv.DictReader(file, delimiter=separator_of(file))
            rows.fieldnames = [name.strip().casefold() for name in rows.fieldnames or ()]
            if absent := [name for name in _COLUMNS if name not in rows.fieldnames]:
                raise DataError(f"{path} has no column {absent[0]!r}; fixes are a CSV with image and fix.")
            for row in rows:
                # A row that is cut short has None for what it lacks.
                name, fix = row["image"] or "", text(row["fix"] or "")
                if name and fix and fixes.setdefault(name, fix) != fix:
                    raise DataError(
                        f"{path} makes {name} a {fixes[name]!r} and a {fix!r}; keep the row that is right."
                    )
    except (OSError, UnicodeError, csv.Error) as error:
        why = getattr(error, "strerror", None) or error
        raise DataError(f"The fixes {path} cannot be read ({why}); save them as CSV in UTF-8.") from error
    return fixes


def fixed(gathered: Gathered, path: Path, known: Sequence[str]) -> Gathered:
    """Apply fixes; nothing of the user's is written.

    Args:
        gathered: The pictures.
        path: The CSV.
        known: Classes that the model knows beside those of the pictures.

    Raises:
        DataError: It cannot be read, or names a class that there is not.
    """
    fixes = read_fixes(path)
    classes = {*gathered.classes, *known}
    for name, fix in fixes.items():
        if fix != DROP and fix not in classes:
            raise DataError(
                f"{path} makes {name} a {fix!r}, which is no class of {gathered.source}; write one of its "
                f"classes, or {DROP!r}."
            )
    here = {picture.name for picture in gathered.pictures}
    unlearned = {left.name: left.reason for left in gathered.left_out}
    if absent := sorted(fixes.keys() - here - unlearned.keys()):
        are = "is" if len(absent) == 1 else "are"
        log.warning(
            "%s fixes %s that %s not there: %s.", path, counted(len(absent), "picture"), are, named(absent)
        )
    for name in sorted(fixes.keys() & unlearned.keys()):
        if fixes[name] != DROP:
            log.warning("%s makes %r a %r, but it is left out: %s.", path, name, fixes[name], unlearned[name])
    stay: list[int] = []
    pictures: list[Picture] = []
    left_out = list(gathered.left_out)
    for position, picture in enumerate(gathered.pictures):
        fix = fixes.get(picture.name, picture.label)
        if fix == DROP:
            left_out.append(LeftOut(picture.name, picture.label, "fixed", f"{path.name} drops it."))
        else:
            stay.append(position)
            pictures.append(picture if fix == picture.label else dataclasses.replace(picture, label=fix))
    return dataclasses.replace(gathered, pictures=pictures, rows=gathered.rows[stay], left_out=left_out)
