"""What a user asks of a data set of own pictures."""

import os
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

from model.contract import Fit


def _default_cache() -> Path:
    home = os.environ.get("XDG_CACHE_HOME")
    return (Path(home) if home else Path.home() / ".cache") / "cnn-image" / "pictures"


@dataclass(frozen=True)
class Wishes:
    """How pictures become a data set; CIFAR-10's own files ask for none of it.

    Attributes:
        size: Side of the squares in pixels, one of `model.contract.SIZES`; None chooses it from the pictures.
        fit: How a picture becomes a square.
        cache: The folder that decoded pictures are kept in.
        classes: Names by id that the model knows already; further ones get the next ids.
        renamed: What a class of the source is called from now on: name in the source → name in the model.
        earlier: The splits of the version before, as `Dataset.splits` had them; None where there is none.
        drop_leaks: Whether pictures that stand in two splits, where the source gives the splits, are left out
            of training.
        fixes: A CSV with the columns `image` and `fix`: a class name, `drop`, or nothing.
    """

    size: int | None = None
    fit: Fit = "stretch"
    cache: Path = field(default_factory=_default_cache)
    classes: tuple[str, ...] = ()
    renamed: Mapping[str, str] = field(default_factory=dict)
    earlier: bytes | None = None
    drop_leaks: bool = False
    fixes: Path | None = None
