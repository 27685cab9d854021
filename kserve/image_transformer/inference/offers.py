"""The models that v2 infers by, REST and gRPC alike."""

from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass

from image_transformer.codecs.outputs import FILTER_OUTPUTS, OUTPUTS, Datatype
from image_transformer.codecs.tensors import Filtered, Images, Probabilities
from image_transformer.inference.answer import Inference
from image_transformer.inference.batching import Alive
from image_transformer.triton.client import Triton


@dataclass(frozen=True)
class Offer:
    """A model that v2 infers by.

    Attributes:
        triton: It.
        outputs: What may be asked of it; see `codecs.outputs.check_output`.
        answer: Answers images.
    """

    triton: Triton
    outputs: Mapping[str, Datatype]
    answer: Callable[[Images, Alive], Awaitable[Probabilities | Filtered]]


def offers(inference: Inference) -> dict[str, Offer]:
    """The models by their names, the classifier first."""
    classifier = Offer(inference.triton, OUTPUTS, inference.classify)
    filters = Offer(inference.filters, FILTER_OUTPUTS, inference.filter)
    return {offer.triton.model: offer for offer in (classifier, filters)}
