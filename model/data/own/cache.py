"""Decoded pictures in a file, and beside it what they are.

    <source>-<size>-<fit>.json         the index: whose it is, and the names of the next two; appears last
                        -<hex>.u8      pixels, row after row: only ever grows, so who reads it may go on
                        -<hex>.arrow   what each picture is; see `model.data.own.table`
                        -<hex>.digests the sha256 of splits that were made of them; see `model.data.images`
                        .journal       what was decoded since; see `model.data.own.growing`
                        .lock          who holds it decodes

One that is replaced is removed; who still reads it keeps it open.
"""

import contextlib
import fcntl
import json
import secrets
from collections.abc import Callable
from pathlib import Path
from typing import Any, Final

import numpy as np

from model.contract import SIZES, Fit
from model.data.own import table
from model.data.own.growing import journal_names
from model.data.own.kept import Kept, Key, is_current, opened
from model.data.pictures import LeftOut, Picture

# Another word than that of releases that knew no size above 64: one of theirs is written again, not trusted.
_NATURAL: Final = "natural_size"
_OURS: Final = (".json", ".u8", ".arrow", ".digests", ".journal", ".part")


def head_of(key: Key) -> dict[str, Any] | None:
    """What the index of a source says; None where there is none, or one that cannot be used any more."""
    try:
        head: dict[str, Any] = json.loads(key.index.read_text(encoding="utf-8"))
        return head if key.owns(head) else None
    except (OSError, ValueError, AttributeError):
        return None


def natural_key(folder: Path, source: str, fit: Fit, chosen: Callable[[int], int]) -> Key | None:
    """What a source is kept by at the size that is chosen for its pictures; None where it is not.

    Args:
        folder: Of all that is kept.
        source: Which place.
        fit: How a picture became a square.
        chosen: The size, by the one that the pictures have by themselves.
    """
    for size in SIZES:
        key = Key(folder, source, size, fit)
        if (head := head_of(key)) and _NATURAL in head and chosen(head[_NATURAL]) == size:
            return key
    return None


def find(key: Key) -> Kept | None:
    """What is kept of a source; None where nothing is, or nothing that can still be used."""
    head = head_of(key)
    if head is None:
        return None
    try:
        pictures: list[Picture] = []
        rows: list[int] = []
        left_out: list[LeftOut] = []
        stamps: dict[str, str] = {}
        for what, stamp, row in table.read(key.folder / str(head["table"])):
            if isinstance(what, Picture):
                pictures.append(what)
                rows.append(row)
            else:
                left_out.append(what)
            if stamp is not None:
                stamps[what.name] = stamp
        file = key.folder / str(head["pixels"])
        return Kept(
            key=key,
            stamp=head["stamp"],
            natural=head.get(_NATURAL, 0),
            pictures=pictures,
            rows=np.array(rows, np.int64),
            stamps=stamps,
            images=opened(file, head["rows"], key.size),
            left_out=left_out,
            classes=tuple(head["classes"]),
            notes=tuple(head["notes"]),
            file=file,
        )
    except (OSError, ValueError, KeyError, TypeError):
        return None


def publish(kept: Kept) -> Kept:
    """Write the index, which makes this what is used from now on; removes what was before.

    Raises:
        OSError: It cannot be written.
    """
    key = kept.key
    name = f"{key.stem}-{secrets.token_hex(6)}.arrow"
    head = key.about() | {
        "stamp": kept.stamp,
        _NATURAL: kept.natural,
        "pixels": kept.file.name,
        "rows": len(kept.images),
        "table": name,
        "classes": kept.classes,
        "notes": kept.notes,
    }
    part = key.index.with_suffix(".json.part")
    try:
        table.write(key.folder / name, kept.entries())
        part.write_text(json.dumps(head) + "\n", encoding="utf-8")
        part.replace(key.index)
    except BaseException:
        for path in (part, key.folder / name):
            path.unlink(missing_ok=True)
        raise
    key.journal.unlink(missing_ok=True)
    _tidy(key)
    return kept


def _tidy(key: Key) -> None:
    """Remove what no index and no journal names, and what another decoder made; not where one decodes."""
    stems: dict[str, list[Path]] = {}
    for path in key.folder.iterdir():
        if path.suffix in _OURS:
            stems.setdefault("-".join(path.name.split(".")[0].split("-")[:3]), []).append(path)
    for stem, paths in stems.items():
        with contextlib.ExitStack() as held:
            if stem != key.stem:
                lock = held.enter_context((key.folder / f"{stem}.lock").open("w"))
                try:
                    fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
                except OSError:
                    continue
            used = _used(key.folder / f"{stem}.json", key.folder / f"{stem}.journal")
            for path in paths:
                if path.name not in used:
                    path.unlink(missing_ok=True)


def _used(index: Path, journal: Path) -> set[str]:
    """Names of the files that are still of use, of one source, size and fit."""
    used: set[str] = set()
    try:
        head = json.loads(index.read_text(encoding="utf-8"))
        if is_current(head):
            used |= {index.name, head["pixels"], head["table"], Path(head["pixels"]).stem + ".digests"}
    except (OSError, ValueError, KeyError, TypeError):
        pass
    if name := journal_names(journal):
        used |= {journal.name, name}
    return used
