"""What a user asks of a data set of own pictures."""

import os
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final

from model.contract import LITE_SIZES, Fit, Network, network_sizes

FOR_PHOTOGRAPHS: Final[Network] = "efficientnet-lite0"
"""What is chosen for pictures that are large enough for it, where the user leaves the choice."""

LARGEST_OF_CNN: Final = 64
"""Side in pixels of the largest square that is chosen for `cnn`: larger ones train for long on a CPU."""


def _default_cache() -> Path:
    home = os.environ.get("XDG_CACHE_HOME")
    return (Path(home) if home else Path.home() / ".cache") / "cnn-image" / "pictures"


@dataclass(frozen=True)
class Wishes:
    """How pictures become a data set; CIFAR-10's own files ask for none of it.

    Attributes:
        size: Side of the squares in pixels, one of `model.contract.SIZES`; None chooses it from the pictures.
        fit: How a picture becomes a square.
        network: What they are to be learned by; None chooses it by the size.
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
    network: Network | None = "cnn"

    def chosen_size(self, natural: int) -> int:
        """The side of the squares, for pictures whose `natural_size` this is."""
        if self.size:
            return self.size
        if self.network is None:
            return natural
        return min(natural, LARGEST_OF_CNN) if self.network == "cnn" else max(natural, LITE_SIZES[0])

    def chosen_network(self, size: int) -> Network:
        """The network that pictures of a size are learned by."""
        return self.network or (FOR_PHOTOGRAPHS if size in network_sizes(FOR_PHOTOGRAPHS) else "cnn")
