"""What a version promises to whoever sends it pictures: names, shapes and classes.

A version carries its contract in its manifest and in Triton's configuration; the default's is the one of
CIFAR-10's five classes. Nothing heavy is imported here: the transformer and the command line read this file
at start.
"""

import json
import re
import unicodedata
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from typing import Any, Final, Literal, get_args

MODEL_NAME: Final = "cnn-image"
"""The classifier's name in Triton, in KServe and in the v2 routes."""

FILTERS_MODEL_NAME: Final = "cnn-image-filters"
"""The small model beside it that shows what the filter bank makes of an image."""

INPUT_NAME: Final = "image"
"""The graphs' input: UINT8 `[batch, 32, 32, 3]`, RGB, values 0 to 255."""

OUTPUT_NAME: Final = "probs"
"""The classifier's output: FP32 `[batch, 5]`, softmax probabilities in the order of `CLASSES`."""

SCORE_NAME: Final = "ood_score"
"""The classifier's second output, where it has one: FP32 `[batch, 1]`, how unlike anything learned."""

FILTERED_NAME: Final = "filtered"
"""The filter model's output: FP32 `[batch, 32, 32, 12]`, three channels for each of `FILTER_BANK`."""

IMAGE_SIZE: Final = 32
IMAGE_SHAPE: Final = (IMAGE_SIZE, IMAGE_SIZE, 3)

CLASSES: Final = ("airplane", "automobile", "bird", "cat", "dog")
"""What the model tells apart; the position is the class id."""

CIFAR10_LABELS: Final = {0: 0, 1: 1, 2: 2, 3: 3, 5: 4}
"""CIFAR-10's label → ours: its 5, dog, becomes 4; its other five classes are left out."""

FILTER_NAMES: Final = ("smoothing", "edge_detection", "sharpness")
"""The filters inside the graph, in the order of their channels after the untouched image."""

FILTER_BANK: Final = ("image", *FILTER_NAMES)

Fit = Literal["stretch", "crop", "pad"]
"""How a picture becomes a square: squeezed into it, its middle cut out, or bordered in black."""

FITS: Final[tuple[Fit, ...]] = get_args(Fit)
SIZES: Final = (32, 48, 64, 96, 128, 160, 192, 224)
"""Sides of the network's input in pixels."""

Network = Literal["cnn", "efficientnet-lite0", "efficientnet-lite1", "efficientnet-lite2"]
"""`cnn` learns from nothing, at any size; the others know photographs already, and have no filters."""

NETWORKS: Final[tuple[Network, ...]] = get_args(Network)
LITE_SIZES: Final = (96, 128, 160, 192, 224)
"""Of `SIZES`, those of EfficientNet-Lite, which halves the side five times: only multiples of 32 are padded
as in ImageNet's training, and of 32 and 64 pixels its last map would have one place and four."""

MAX_CLASSES: Final = 1000
MAX_CLASS_NAME: Final = 100
"""Characters in a class's name."""

_MODEL_NAME: Final = re.compile(r"[a-z]([-a-z0-9]{0,38}[a-z0-9])?")


class ContractError(ValueError):
    """A contract cannot be kept: the sentence says which part of it, and what is taken in its place."""


@dataclass(frozen=True)
class Contract:
    """What a version takes and what it answers.

    Attributes:
        classes: Their names in the order of the probabilities; the position is the class id. All ids of the
            model up to the version's highest, learned or not.
        size: Side of the square input in pixels, one of `SIZES`.
        fit: How a picture becomes that square.
        network: What kind of network it is, one of `NETWORKS`.
        filters: The filters inside the graph, in the order of their channels after the untouched image; those
            of `network_filters`, or none.
        unlearned: Class ids, ascending, that it knows by name alone; their probability is 0.
        model: The model's name in Triton, in KServe and in the v2 routes.
    """

    classes: tuple[str, ...] = CLASSES
    size: int = IMAGE_SIZE
    fit: Fit = "stretch"
    network: Network = "cnn"
    filters: tuple[str, ...] = FILTER_NAMES
    unlearned: tuple[int, ...] = ()
    model: str = MODEL_NAME

    def __post_init__(self) -> None:
        check_classes(self.classes)
        check_model_name(self.model)
        if self.network not in NETWORKS:
            raise ContractError(f"The network {self.network!r} is not known here; update cnn-image.")
        if self.size not in SIZES:
            raise ContractError(f"The size {self.size} is not offered; choose one of {_listed(SIZES)}.")
        if self.size not in network_sizes(self.network):
            raise ContractError(
                f"The network {self.network} takes no pictures of {self.size} pixels; choose a size of "
                f"{_listed(network_sizes(self.network))}, or the network cnn."
            )
        if self.fit not in FITS:
            raise ContractError(f"The fit {self.fit!r} is not known; choose one of {_listed(FITS)}.")
        if self.filters not in {network_filters(self.network), ()}:
            raise ContractError(f"The filters {list(self.filters)} are not known here; update cnn-image.")
        ids = range(len(self.classes))
        if sorted(set(self.unlearned)) != list(self.unlearned) or not set(self.unlearned) <= set(ids):
            raise ContractError(f"The unlearned classes {list(self.unlearned)} are no ascending class ids.")
        if len(self.learned) < 2:
            raise ContractError("Fewer than two classes are learned; there is nothing to tell apart.")

    @property
    def image_shape(self) -> tuple[int, int, int]:
        """Of one image: `(size, size, 3)`."""
        return self.size, self.size, 3

    @property
    def image_bytes(self) -> int:
        """Of one image's pixels."""
        return self.size * self.size * 3

    @property
    def learned(self) -> tuple[int, ...]:
        """The class ids that have a probability."""
        return tuple(number for number in range(len(self.classes)) if number not in self.unlearned)

    @property
    def filters_model(self) -> str:
        """The name of the small model beside it that shows what the filter bank makes of an image."""
        return filters_model(self.model)

    def to_json(self) -> str:
        """The contract in one line of JSON, as it stands in config.pbtxt's `parameters`."""
        return json.dumps(asdict(self), ensure_ascii=False, sort_keys=True)

    @classmethod
    def from_json(cls, text: str) -> "Contract":
        """Read what `to_json` wrote.

        Raises:
            ContractError: It is none, or a newer cnn-image wrote it.
        """
        try:
            fields = json.loads(text)
            lists: dict[str, Any] = {n: tuple(fields.pop(n)) for n in ("classes", "filters", "unlearned")}
            if not all(isinstance(value, str | int) for value in fields.values()):
                raise TypeError("a field has another type")
            return cls(**fields, **lists)
        except ContractError:
            raise
        except (ValueError, TypeError, AttributeError, KeyError) as error:
            raise ContractError(
                f"This is no contract that this cnn-image knows ({error}); update it."
            ) from None


def filters_model(name: str) -> str:
    """The name of the small model beside a classifier, by the classifier's name."""
    return f"{name}-filters"


def network_sizes(network: Network) -> tuple[int, ...]:
    """The sizes of picture that a network takes, in pixels a side."""
    return SIZES if network == "cnn" else LITE_SIZES


def network_filters(network: Network) -> tuple[str, ...]:
    """The filters that a network has inside; EfficientNet-Lite was trained without any."""
    return FILTER_NAMES if network == "cnn" else ()


def check_classes(names: Sequence[str]) -> None:
    """Require names that can stand in a list, a file and a label.

    Raises:
        ContractError: Too few or too many of them, one twice, or one that is empty, too long, a path, or has
            characters that do not print.
    """
    if not 2 <= len(names) <= MAX_CLASSES:
        raise ContractError(f"There are {len(names)} classes; 2 to {MAX_CLASSES} can be told apart.")
    seen: set[str] = set()
    for name in names:
        check_class(name)
        same = unicodedata.normalize("NFC", name)
        if same in seen:
            raise ContractError(f"The class {name!r} is there twice; give each a name of its own.")
        seen.add(same)


def check_class(name: str) -> None:
    """Require one class's name; see `check_classes`.

    Raises:
        ContractError: It cannot be one.
    """
    if not isinstance(name, str) or not name.strip() or name != name.strip():
        raise ContractError(f"The class name {name!r} is empty or begins or ends with a space; rename it.")
    if len(name) > MAX_CLASS_NAME:
        raise ContractError(
            f"The class name {name[:40]!r}… has {len(name)} characters; at most {MAX_CLASS_NAME} are taken."
        )
    if name in {".", ".."} or "/" in name or "\\" in name:
        raise ContractError(f"The class name {name!r} looks like a path; rename it.")
    if not name.isprintable():
        raise ContractError(f"The class name {name!r} has characters that do not print; rename it.")


def check_model_name(name: str) -> None:
    """Require a DNS label of at most 40 characters (RFC 1123), beginning with a letter as Services do.

    Raises:
        ContractError: It is none.
    """
    if not _MODEL_NAME.fullmatch(name):
        raise ContractError(
            f"The model's name {name!r} is no DNS label of at most 40 characters; take the letters a to z, "
            "digits and hyphens, a letter first."
        )


def _listed(values: Sequence[object]) -> str:
    return ", ".join(map(str, values))


DEFAULT_CONTRACT: Final = Contract()
"""CIFAR-10's five classes at 32 pixels: what every version of manifest layout 1 has."""

VERSION_WIDTH: Final = 6
"""Digits of a version in the store, so that no version's prefix contains another's."""

DEFAULT_HTTP_PORT: Final = 8002
DEFAULT_GRPC_PORT: Final = 8003
"""The transformer's ports on a laptop; in the cluster 8080 and 8081."""
