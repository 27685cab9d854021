"""v2's output tensors: what a client may ask for, and what each holds. No I/O, and no protocol's form."""

import struct
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final, Literal, NamedTuple

import numpy as np
from numpy.typing import NDArray

from image_transformer.codecs.tensors import Filtered, Probabilities
from image_transformer.errors import ServiceError
from model.contract import FILTERED_NAME, OUTPUT_NAME, SCORE_NAME

Datatype = Literal["FP32", "INT64", "BYTES"]

OUTPUTS: Final[dict[str, Datatype]] = {
    OUTPUT_NAME: "FP32",
    "class_id": "INT64",
    "class_name": "BYTES",
    "confidence": "FP32",
    SCORE_NAME: "FP32",
}
"""What the classifier may be asked for by name; the first is what comes where nothing is."""

FILTER_OUTPUTS: Final[dict[str, Datatype]] = {FILTERED_NAME: "FP32"}
"""The same of the filters."""


@dataclass(frozen=True, slots=True)
class Asked:
    """An output that a client wants.

    Attributes:
        name: One of `OUTPUTS`, or of `FILTER_OUTPUTS`.
        binary: Whether its bytes are to follow the JSON.
        top: Of the probabilities, how many classes as `value:index:label` in place of all numbers; 0 for the
            numbers.
    """

    name: str = OUTPUT_NAME
    binary: bool = False
    top: int = 0


class Tensor(NamedTuple):
    """An output's values.

    Attributes:
        name: Of the output.
        datatype: As v2 calls it.
        shape: `[N]`, `[N, K]`, or the filters' `[N, size, size, channels]`.
        values: An array of it; of BYTES the texts, row after row.
    """

    name: str
    datatype: Datatype
    shape: tuple[int, ...]
    values: NDArray[Any] | list[str]

    def raw(self) -> bytes:
        """Its bytes as the binary extension and gRPC have them; each text after its length."""
        if isinstance(self.values, list):
            texts = [text.encode() for text in self.values]
            return b"".join(struct.pack("<I", len(text)) + text for text in texts)
        return self.values.tobytes()


def check_output(
    name: object, parameters: Sequence[str] = (), offered: Mapping[str, Datatype] = OUTPUTS
) -> str:
    """Returns an output's name where the model has it.

    Args:
        name: What was asked for.
        parameters: Names of the output's parameters.
        offered: The model's outputs, the one that comes by default first.

    Raises:
        ServiceError: it has not, or shared memory is to take it.
    """
    if not isinstance(name, str) or name not in offered:
        raise ServiceError(
            "invalid_request",
            f"There is no output {str(name)[:80]!r}; ask for {', '.join(map(repr, offered))}, or for none in "
            f"particular, which brings {next(iter(offered))!r}.",
        )
    check_memory(parameters)
    return name


def check_memory(parameters: Iterable[str]) -> None:
    """Refuses a tensor that lies in shared memory, or is to be put there.

    Args:
        parameters: Names of its parameters.

    Raises:
        ServiceError: it is so.
    """
    if "shared_memory_region" in parameters:
        raise ServiceError(
            "invalid_request",
            "Shared memory is not offered, as clients are on other machines; "
            "leave `shared_memory_region` out and send tensors in the request.",
        )


def check_top(name: str, classes: object) -> int:
    """Returns how many classes are asked for by the parameter `classification`.

    Raises:
        ServiceError: it is no such number, or the output has no classes.
    """
    if type(classes) is not int or classes < 0:
        raise ServiceError(
            "invalid_request", "The parameter `classification` has to be a number of classes, from 1 on."
        )
    if name != OUTPUT_NAME:
        raise ServiceError(
            "invalid_request", f"The parameter `classification` goes with the output {OUTPUT_NAME!r} alone."
        )
    return classes


def once(asked: Iterable[Asked]) -> tuple[Asked, ...]:
    """Returns outputs, of which none is asked for twice.

    Raises:
        ServiceError: one is.
    """
    wanted: dict[str, Asked] = {}
    for output in asked:
        if output.name in wanted:
            raise ServiceError(
                "invalid_request", f"The output {output.name!r} is asked for twice; ask for it once."
            )
        wanted[output.name] = output
    return tuple(wanted.values())


def tensor(asked: Asked, result: Probabilities | Filtered) -> Tensor:
    """Makes an output out of what the model has answered.

    Raises:
        ServiceError: the version that answered has no such output.
    """
    if isinstance(result, Filtered):
        return Tensor(asked.name, "FP32", result.channels.shape, result.channels)
    probs = result.probs
    if asked.name == OUTPUT_NAME:
        return _classes(result, asked.top) if asked.top else Tensor(asked.name, "FP32", probs.shape, probs)
    if asked.name == SCORE_NAME:
        return _scores(result)
    best = probs.argmax(axis=1)
    if asked.name == "class_name":
        names = [result.contract.classes[number] for number in best.tolist()]
        return Tensor(asked.name, "BYTES", (len(names),), names)
    if asked.name == "class_id":
        return Tensor(asked.name, "INT64", best.shape, best.astype(np.int64))
    return Tensor(asked.name, "FP32", best.shape, probs[np.arange(len(best)), best])


def _scores(result: Probabilities) -> Tensor:
    if result.scores is None:
        raise ServiceError(
            "invalid_request",
            f"Version {result.version} cannot tell what is unlike its training, so it has no output "
            f"{SCORE_NAME!r}; ask for others, or promote a version that was trained by this release.",
        )
    return Tensor(SCORE_NAME, "FP32", result.scores.shape, result.scores)


def _classes(result: Probabilities, top: int) -> Tensor:
    """Triton's classification extension: the highest first, `value:index:label` each.

    As Triton's own server writes it, with printf's `%f` for the value, and no more classes than there are
    (https://github.com/triton-inference-server/server, docs/protocol/extension_classification.md).
    """
    classes = result.contract.classes
    order = np.argsort(-result.probs, axis=1, kind="stable")[:, :top]
    texts = [
        f"{row[number]:.6f}:{number}:{classes[number]}"
        for row, numbers in zip(result.probs.tolist(), order.tolist(), strict=True)
        for number in numbers
    ]
    return Tensor(OUTPUT_NAME, "BYTES", order.shape, texts)
