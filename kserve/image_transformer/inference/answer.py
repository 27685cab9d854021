"""What requests end in, by whichever route and protocol they came: images classified, or filtered."""

from collections import Counter
from collections.abc import Coroutine
from typing import Any, Final

from image_transformer.codecs.tensors import Explanation, Filtered, Images, Probabilities
from image_transformer.errors import ServiceError
from image_transformer.explain.explainer import Explainer, Release
from image_transformer.inference.asking import Asking
from image_transformer.inference.batching import Alive, Batcher
from image_transformer.inference.catalogue import Catalogue, unknown_model
from image_transformer.inference.decoding import Decoder
from image_transformer.inference.held import Held
from image_transformer.inference.room import Room
from image_transformer.observe.metrics import Metrics
from image_transformer.settings import Settings
from image_transformer.triton.client import Triton
from model.contract import FILTERED_NAME, filters_model

# Images of requests that have many, decoded and not yet answered: three requests of 256 at 224 pixels.
_SQUARES_BYTES: Final = 128_000_000
# The filters are for looking at: one instance has them, and of a large picture they make megabytes.
_IMAGES_PER_FILTER_CALL: Final = 8
_FILTER_CALLS: Final = 2


class Inference:
    """From images to probabilities, and to what the filters make of them.

    Attributes:
        triton: The classifier.
        filters: The small model beside it. Nobody watches it: who needs it looks first.
        catalogue: What is told about both.
    """

    def __init__(self, settings: Settings, triton: Triton, metrics: Metrics) -> None:
        self.settings = settings
        self.triton = triton
        self.metrics = metrics
        self.held = Held(settings.max_held_bytes)
        self._decoder = Decoder(settings, metrics)
        squares = Room(_SQUARES_BYTES)
        self._batcher = _batcher(settings, triton, settings.images_per_call, settings.calls_in_flight)
        self._classifier = Asking(
            *(triton, self._batcher, self._decoder, squares, metrics.versions, metrics.outcomes),
            refuses=settings.refuse_unlike,
        )
        self.filters = Triton(
            settings.predictor_host,
            filters_model(settings.model_name),
            settings.triton_seconds,
            metrics,
            FILTERED_NAME,
        )
        filter_batcher = _batcher(settings, self.filters, _IMAGES_PER_FILTER_CALL, _FILTER_CALLS)
        self._filter = Asking(self.filters, filter_batcher, self._decoder, squares, Counter())
        self._explainer = Explainer(settings, triton, self._batcher, self._decoder, self.classify, metrics)
        self.catalogue = Catalogue(settings, triton, self.filters, lambda: self.closing)
        self.closing = False
        metrics.queued_images = lambda: self._batcher.queued + filter_batcher.queued
        metrics.waiting_explanations = lambda: self._explainer.waiting
        metrics.triton_up = lambda: triton.ready
        metrics.outcomes.contracts = lambda: [served.contract for served in triton.known]
        metrics.model_decoders = lambda: [served.parameters.get("decoder_version") for served in triton.known]

    # It hands the coroutine of another on: one frame more would cost a hundredth of a small request.
    def classify(self, images: Images, alive: Alive = lambda: True) -> Coroutine[Any, Any, Probabilities]:
        """Answers a request.

        Args:
            images: At least one.
            alive: Tells whether the client still waits.

        Returns:
            The probabilities of every image, all by one version.

        Raises:
            ServiceError: an image cannot be taken (its index is named), or is unlike anything learned where
                such are refused; the model is away, slow or of another version than asked for, pixels are of
                another size, or there is too much to do.
        """
        self._check_count(images)
        return self._classifier.answer(images, alive)

    async def filter(self, images: Images, alive: Alive = lambda: True) -> Filtered:
        """Answers a request to the filters model.

        Args:
            images: At least one.
            alive: Tells whether the client still waits.

        Returns:
            What the filter bank makes of every image, all by one version.

        Raises:
            ServiceError: as `classify`; or Triton has no filters model, or the answer would be too large.
        """
        self._check_count(images)
        await self.catalogue.check_filters(len(images))
        answer = await self._filter.answer(images, alive)
        return Filtered(answer.probs, answer.version, answer.contract)

    def explain(
        self, images: Images, alive: Alive, release: Release = lambda: None
    ) -> Coroutine[Any, Any, Explanation]:
        """Classifies an image and explains it; see `Explainer.explain`."""
        return self._explainer.explain(images, alive, release)

    @property
    def ready(self) -> bool:
        """Whether requests are answered."""
        return self.triton.ready and not self.closing

    @property
    def saturated(self) -> bool:
        """Whether a request for inference would be turned away for want of room."""
        return self._batcher.saturated

    def check_model(self, name: str) -> None:
        """Raises ServiceError when it is not the classifier's name."""
        if name != self.triton.model:
            raise unknown_model(name, self.triton.model)

    def close(self) -> None:
        """Ends the decoder's threads, and the filters' connections."""
        self._decoder.close()
        self.filters.endpoints.close()

    def _check_count(self, images: Images) -> None:
        if len(images) > self.settings.max_images:
            raise ServiceError(
                "too_many_images",
                f"The request has {len(images)} images; send at most {self.settings.max_images} at once.",
            )


def _batcher(settings: Settings, triton: Triton, images_per_call: int, calls_in_flight: int) -> Batcher:
    return Batcher(
        triton,
        images_per_piece=settings.images_per_piece,
        images_per_call=images_per_call,
        calls_in_flight=calls_in_flight,
        max_queued=settings.max_queued_images,
        queue_seconds=settings.queue_seconds,
        max_wait=settings.triton_seconds,
    )
