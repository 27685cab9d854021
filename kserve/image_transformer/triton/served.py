"""One version as Triton serves it: its contract, its lineage, and how it is asked."""

import math
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from functools import cached_property
from typing import Any

import orjson

from image_transformer.codecs.tensors import Decoding, Probabilities
from image_transformer.errors import ServiceError
from image_transformer.observe.statistics import Statistics
from model.contract import (
    DEFAULT_CONTRACT,
    IMAGE_SIZE,
    INPUT_NAME,
    OUTPUT_NAME,
    SCORE_NAME,
    Contract,
    ContractError,
)


@dataclass(frozen=True)
class Unlike:
    """Which scores are those of pictures that are unlike anything learned.

    Attributes:
        mark_at: Above this an image is marked.
        refuse_at: Above this it is refused where that is wished.
    """

    mark_at: float
    refuse_at: float

    def check(self, answer: Probabilities) -> None:
        """Refuses the one image of a request.

        Raises:
            ServiceError: It is unlike anything learned.
        """
        if answer.scores is not None and (score := float(answer.scores[0])) > self.refuse_at:
            raise ServiceError(
                "unlike_training",
                f"The picture is unlike anything that version {answer.version} has learned (score "
                f"{score:.2f}, over {self.refuse_at:.2f}); send one of its classes, which /info lists.",
            )


@dataclass(frozen=True, eq=False)
class Served:
    """A version that some Triton has ready; the same object for all pods that serve the same.

    Attributes:
        model: The model's name in Triton.
        version: Its number, as v2 writes it.
        contract: What it takes and what it answers.
        parameters: The lineage in its configuration.
        output: The output that is asked for.
        dims: Of one image's output, where the contract does not say it: of the filters.
        unlike: What its scores mean; None where it has no score.
        counted: What it has done here, also before it was gone and came back.
    """

    model: str
    version: str
    contract: Contract
    parameters: Mapping[str, str]
    output: str = OUTPUT_NAME
    dims: tuple[int, ...] = ()
    unlike: Unlike | None = None
    counted: Statistics = field(default_factory=Statistics, repr=False)
    _heads: dict[int, bytes] = field(default_factory=dict, repr=False)

    @property
    def decoding(self) -> Decoding:
        """How it takes pictures."""
        return self.contract.size, self.contract.fit

    @cached_property
    def shape(self) -> tuple[int, ...]:
        """Of one image's output."""
        return self.dims or (len(self.contract.classes),)

    @cached_property
    def brief(self) -> bool:
        """Whether its network takes less time for an image than a call takes beside it (docs/speed.md)."""
        return self.contract.network == "cnn" and self.contract.size <= IMAGE_SIZE

    @cached_property
    def mark_at(self) -> float:
        """Above this score an image is marked."""
        return math.inf if self.unlike is None else self.unlike.mark_at

    @property
    def lineage(self) -> dict[str, str]:
        """Its parameters without those that say how ONNX Runtime runs it."""
        return {
            name: text
            for name, text in self.parameters.items()
            if not name.endswith("_thread_count") and not name.startswith("session.")
        }

    def head(self, count: int) -> bytes:
        """Everything of an inference request in front of the pixels of so many images.

        It names the version, so that a Triton that serves another one refuses. The output is asked by its
        name: others may stand behind it.
        """
        head = self._heads.get(count)
        if head is None:
            head = self._heads[count] = self._made(count)
        return head

    def _made(self, count: int) -> bytes:
        length = count * self.contract.image_bytes
        tensor = {
            "name": INPUT_NAME,
            "datatype": "UINT8",
            "shape": [count, *self.contract.image_shape],
            "parameters": {"binary_data_size": length},
        }
        names = [self.output] if self.unlike is None else [self.output, SCORE_NAME]
        outputs = [{"name": name, "parameters": {"binary_data": True}} for name in names]
        content = orjson.dumps({"inputs": [tensor], "outputs": outputs})
        return (
            f"POST /v2/models/{self.model}/versions/{self.version}/infer HTTP/1.1\r\nHost: triton\r\n"
            "Content-Type: application/octet-stream\r\n"
            f"Inference-Header-Content-Length: {len(content)}\r\n"
            f"Content-Length: {len(content) + length}\r\n\r\n"
        ).encode() + content


def read_served(
    model: str, version: str, config: Mapping[str, Any], output: str, counted: Statistics
) -> Served:
    """Reads a version's contract and lineage out of its configuration.

    Args:
        model: The model's name in Triton.
        version: The version that the configuration is of.
        config: What Triton answers to `/v2/models/MODEL/versions/VERSION/config`.
        output: The output that is to be asked for.
        counted: Where that version's numbers go.

    Raises:
        ContractError: A newer cnn-image wrote the contract, or there is no such output.
    """
    dims = _dims(config, output)
    texts = {name: str(value["string_value"]) for name, value in config.get("parameters", {}).items()}
    unlike = _unlike(config, texts) if output == OUTPUT_NAME else None
    contract = texts.pop("contract", None)
    if contract is not None:
        return Served(model, version, Contract.from_json(contract), texts, output, dims, unlike, counted)
    # Layout 1 of the manifest says no more than the classes; all else is the default's.
    classes = texts.get("classes")
    names = tuple(classes.split(",")) if classes else DEFAULT_CONTRACT.classes
    promised = replace(DEFAULT_CONTRACT, classes=names, model=model)
    return Served(model, version, promised, texts, output, dims, unlike, counted)


def _unlike(config: Mapping[str, Any], texts: Mapping[str, str]) -> Unlike | None:
    """What a version's scores mean; None of one that has none, or says it in a way that is not known here."""
    if "unlike" not in texts or all(one["name"] != SCORE_NAME for one in config.get("output", ())):
        return None
    try:
        said = orjson.loads(texts["unlike"])
        return Unlike(float(said["mark_at"]), float(said["refuse_at"]))
    except (ValueError, KeyError, TypeError):
        return None


def _dims(config: Mapping[str, Any], output: str) -> tuple[int, ...]:
    """Of one image's output as the configuration has it; the classifier's are its contract's."""
    if output == OUTPUT_NAME:
        return ()
    for described in config.get("output", ()):
        if described["name"] == output:
            return tuple(map(int, described["dims"]))
    raise ContractError(f"it has no output {output!r}.")
