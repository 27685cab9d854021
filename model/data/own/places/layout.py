"""Which class and split a file is of, by the folders that it lies in.

`<class>/<any depth>/file`, or `train|val|validation|test/<class>/…` where the split is given. Folders that
hold all the others, as archives have them, are looked through.
"""

import sys
import unicodedata
from collections.abc import Collection, Iterable
from dataclasses import dataclass, field
from pathlib import PurePosixPath
from typing import Final

from model.data.pictures import SplitName

SPLIT_NAMES: Final[dict[str, SplitName]] = {
    "train": "train",
    "training": "train",
    "val": "validation",
    "valid": "validation",
    "validation": "validation",
    "test": "test",
    "testing": "test",
}
"""What a split's folder, or a manifest's column, may call it; in small letters or capitals."""

_HIDDEN: Final = {"__macosx", "thumbs.db", "ehthumbs.db", "desktop.ini", "@eadir", "$recycle.bin"}
PICTURES: Final = {
    ".jpg", ".jpeg", ".jpe", ".jfif", ".png", ".webp", ".gif", ".bmp", ".tif", ".tiff", ".heic", ".heif",
    ".avif",
}  # fmt: skip
"""Only to tell a folder of pictures from one that holds a read-me; what is a picture its bytes say."""

Parts = tuple[str, ...]
"""A path below the source, folder by folder."""


def is_hidden(part: str) -> bool:
    """Tell a file or folder that an operating system or a tool hides, and nobody means as data."""
    return part.startswith(".") or part.casefold() in _HIDDEN


def parts_of(path: str) -> Parts:
    """Take a path of an archive or a bucket apart; `./b//1.jpg` and `b/1.jpg` are one.

    Raises:
        ValueError: It leads out of what it lies in.
    """
    parts = tuple(part for part in path.split("/") if part not in {"", "."})
    if ".." in parts:
        raise ValueError(f"{path!r} leads out")
    return parts


@dataclass(frozen=True)
class Spot:
    """Where a file stands.

    Attributes:
        label: Its class; None for a file that lies in no class folder.
        given: Its split, where the source gives it.
    """

    label: str | None
    given: SplitName | None = None


@dataclass(frozen=True)
class Layout:
    """How the folders of a source are to be read.

    Attributes:
        top: Folders that hold everything.
        splits: Whether the first folders below are splits.
    """

    top: Parts = ()
    splits: bool = False
    classes: tuple[str, ...] = field(default=(), compare=False)

    @classmethod
    def of(cls, files: Collection[Parts], folders: Iterable[Parts] = ()) -> "Layout":
        """Find it out.

        Args:
            files: Paths of files, hidden ones aside.
            folders: Paths of folders that may be empty.
        """
        paths = [(*path, "") for path in folders] + list(files)  # an empty last part: nothing but the folder
        top: Parts = ()
        while len(below := {path[len(top)] for path in _within(paths, top)}) == 1:
            inner = (*top, *below)
            if _has_pictures(paths, inner) or not _within(paths, inner):
                break
            top = inner
        named = {SPLIT_NAMES[name.casefold()] for name in below if name.casefold() in SPLIT_NAMES}
        found = cls(top, len(named) > 1)
        if found.splits and len({spot.given for path in files if (spot := found.spot(path)).label}) < 2:
            # Only one split has classes, as where the test pictures' labels are kept from everyone.
            split_folders = [name for name in sorted(below) if name.casefold() in SPLIT_NAMES]
            one = next((name for name in split_folders if _within(paths, (*top, name))), split_folders[0])
            found = cls((*top, one))
        labels = {spot.label for path in paths if (spot := found.spot(path)).label}
        return cls(found.top, found.splits, tuple(sorted(label for label in labels if label)))

    def spot(self, path: Parts) -> Spot:
        """Where a file stands."""
        depth = len(self.top)
        if path[:depth] != self.top:
            return Spot(None)
        given = None
        if self.splits:
            given = SPLIT_NAMES.get(path[depth].casefold()) if len(path) > depth else None
            if given is None:
                return Spot(None)
            depth += 1
        if len(path) < depth + 2:
            return Spot(None, given)
        return Spot(sys.intern(unicodedata.normalize("NFC", path[depth])), given)  # one string for a class


def _within(paths: Iterable[Parts], top: Parts) -> list[Parts]:
    """Paths of what lies in folders below `top`."""
    depth = len(top)
    return [path for path in paths if len(path) > depth + 1 and path[:depth] == top]


def _has_pictures(paths: Iterable[Parts], folder: Parts) -> bool:
    depth = len(folder) + 1
    return any(
        len(path) == depth and path[:-1] == folder and PurePosixPath(path[-1]).suffix.casefold() in PICTURES
        for path in paths
    )
