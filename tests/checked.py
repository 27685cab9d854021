"""Data sets as `cnn-image data` finds them, made up: no file stands behind them."""

from collections.abc import Mapping, Sequence
from hashlib import sha256

from model.data.check import SPLITS, Alike, DataCheck
from model.data.pictures import LeftOut, Picture, SplitName


def picture(name: str, label: str, *, group: str | None = None, side: int = 100) -> Picture:
    digest = sha256(name.encode("utf-8", "surrogateescape")).digest()
    return Picture(name, label, None, group, digest, 0, bytes(256), side, side // 2, "jpeg", 1000)


def checked(
    classes: Mapping[str, tuple[int, int, int]],
    *,
    left_out: Sequence[LeftOut] = (),
    alike: Sequence[Alike] = (),
    groups: Mapping[str, str] | None = None,
) -> DataCheck:
    """A data set of so many pictures in training, validation and test of each class."""
    pictures: list[Picture] = []
    splits: list[SplitName] = []
    for label, counts in classes.items():
        for split, count in zip(SPLITS, counts, strict=True):
            for number in range(count):
                name = f"{label}/{split}-{number}.jpg"
                pictures.append(picture(name, label, group=(groups or {}).get(name)))
                splits.append(split)
    units = None if groups is None else [picture.group or picture.name for picture in pictures]
    return DataCheck("photos", pictures, splits, left_out, alike, units, tuple(classes), 64, "stretch")
