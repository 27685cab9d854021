"""From the paths that a place holds to what is to be decoded."""

from collections.abc import Iterable, Sequence
from typing import NamedTuple

from model.data.errors import DataError
from model.data.own.places.files import MOST_BYTES, File, Listing
from model.data.own.places.layout import Layout, Parts
from model.data.pictures import LeftOut


class Found(NamedTuple):
    """A file that lies below a source; see `model.data.own.places.files.File`."""

    parts: Parts
    length: int
    stamp: str
    key: str


def list_found(
    found: Sequence[Found],
    folders: Iterable[Parts],
    left_out: Iterable[LeftOut],
    source: str,
    notes: Iterable[str] = (),
) -> Listing:
    """Give each file its class and split by the folders it lies in.

    Args:
        found: Files, hidden ones aside; each path once.
        folders: Folders, which may be empty.
        left_out: What is passed over already.
        source: What the user calls the place.
        notes: What is to be said of it.

    Raises:
        DataError: There are no class folders.
    """
    layout = Layout.of([file.parts for file in found], folders)
    if not layout.classes:
        raise DataError(
            f"{source} is not CIFAR-10's python version, and holds no pictures in folders by class; name a "
            "place that has a folder for each class with its pictures in it, or a CSV or Parquet that says "
            "which picture is of which."
        )
    files, passed = [], list(left_out)
    for file in sorted(found):
        name, spot = "/".join(file.parts), layout.spot(file.parts)
        if spot.label is None:
            passed.append(LeftOut(name, None, "no class", "It lies in no class folder."))
        elif file.length > MOST_BYTES:
            passed.append(too_large(name, spot.label, file.length))
        else:
            files.append(File(name, spot.label, spot.given, None, file.length, file.stamp, file.key))
    return Listing(files, passed, layout.classes, tuple(notes))


def too_large(name: str, label: str, length: int) -> LeftOut:
    """A file that is longer than any picture that is taken."""
    return LeftOut(
        name, label, "too large", f"It has {length:,} bytes; a picture has at most {MOST_BYTES:,}."
    )
