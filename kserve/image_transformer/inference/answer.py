"""One request's images: decoded, batched, answered. Every route and protocol ends here."""

import asyncio
from collections.abc import Sequence

import numpy as np

from image_transformer.codecs.tensors import Images, Pixels, Probabilities
from image_transformer.errors import ServiceError
from image_transformer.inference.batching import Alive, Batcher
from image_transformer.inference.decoding import Decoder
from image_transformer.inference.held import Held
from image_transformer.observe.metrics import Metrics
from image_transformer.settings import Settings
from image_transformer.triton.client import Triton


class Inference:
    """From images to probabilities."""

    def __init__(self, settings: Settings, triton: Triton, metrics: Metrics) -> None:
        self.settings = settings
        self.triton = triton
        self.metrics = metrics
        self.held = Held(settings.max_held_bytes)
        self._batcher = Batcher(
            triton,
            images_per_piece=settings.images_per_piece,
            images_per_call=settings.images_per_call,
            calls_in_flight=settings.calls_in_flight,
            max_queued=settings.max_queued_images,
            queue_seconds=settings.queue_seconds,
            max_wait=settings.triton_seconds,
            metrics=metrics,
        )
        self._decoder = Decoder(settings, metrics)
        self.closing = False

    async def classify(self, images: Images, alive: Alive = lambda: True) -> Probabilities:
        """Answers a request.

        Args:
            images: At least one.
            alive: Tells whether the client still waits.

        Returns:
            The probabilities of every image, all by one version.

        Raises:
            ServiceError: an image cannot be taken (its index is named), the model is away, slow or of another
                version than asked for, or there is too much to do.
        """
        if len(images) > self.settings.max_images:
            raise ServiceError(
                "too_many_images",
                f"The request has {len(images)} images; send at most {self.settings.max_images} at once.",
            )
        self._batcher.check(len(images))
        self._check_version(images.version, self.triton.version)
        if images.pixels is None:
            pixels, answers = await self._decode_and_send(images.encoded, alive)
        else:
            pixels, answers = list(images.pixels), []
        answer = answers[0] if len(answers) == 1 else await self._together(pixels, answers, alive)
        self._check_version(images.version, answer.version)
        self.metrics.versions[answer.version] += len(images)
        return answer

    @property
    def ready(self) -> bool:
        """Whether requests are answered."""
        return self.triton.ready and not self.closing

    @property
    def saturated(self) -> bool:
        """Whether a request for inference would be turned away for want of room."""
        return self._batcher.saturated

    def check_model(self, name: str) -> None:
        """Raises ServiceError when it is another model."""
        if name != self.settings.model_name:
            raise ServiceError(
                "unknown_model", f"There is no model {name[:80]!r}; ask for {self.settings.model_name!r}."
            )

    def check_version(self, asked: str | None) -> None:
        """Raises ServiceError when another version is asked for than the one that is served."""
        self._check_version(asked, self.triton.version)

    def close(self) -> None:
        """Ends the decoder's threads."""
        self._decoder.close()

    async def _decode_and_send(
        self, encoded: Sequence[bytes], alive: Alive
    ) -> tuple[list[Pixels], list[Probabilities]]:
        """Decodes, and sends every full call's worth while the rest is decoded; one image makes no detour."""
        if len(encoded) == 1:
            pixels = [await self._decoder.decode(encoded[0], None, alive)]
            return pixels, [await self._batcher.submit(pixels, alive)]
        size = self._batcher.images_per_piece
        pixels = []
        sent: list[asyncio.Future[Probabilities]] = []
        try:
            for start in range(0, len(encoded), size):
                part = [
                    await self._decoder.decode(data, start + index, alive)
                    for index, data in enumerate(encoded[start : start + size])
                ]
                pixels += part
                sent.append(self._batcher.submit(part, alive))
                await asyncio.sleep(0)
            return pixels, list(await asyncio.gather(*sent))
        finally:
            for future in sent:
                future.cancel()
                # One that failed beside the one that was raised has nobody left to hear of it.
                if not future.cancelled():
                    future.exception()

    async def _together(
        self, pixels: Sequence[Pixels], answers: Sequence[Probabilities], alive: Alive
    ) -> Probabilities:
        """Joins the calls of one request; asks again where a new version came between two of them."""
        size = self._batcher.images_per_piece
        for _ in range(3):
            if answers and len({answer.version for answer in answers}) == 1:
                return Probabilities(np.concatenate([answer.probs for answer in answers]), answers[0].version)
            sent = [
                self._batcher.submit(pixels[start : start + size], alive)
                for start in range(0, len(pixels), size)
            ]
            settled = await asyncio.gather(*sent, return_exceptions=True)
            failures = [result for result in settled if isinstance(result, BaseException)]
            if failures:
                raise failures[0]
            answers = [result for result in settled if not isinstance(result, BaseException)]
        raise ServiceError("model_unavailable", "The model is being replaced; try again in a moment.")

    @staticmethod
    def _check_version(asked: str | None, served: str | None) -> None:
        if asked is not None and served is not None and asked != served:
            raise ServiceError(
                "unknown_version",
                f"Version {asked[:40]!r} is not served; version {served} is. Ask for it, or for none.",
            )
