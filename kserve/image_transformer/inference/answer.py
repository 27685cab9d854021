"""One request's images: decoded, batched, answered. Every route and protocol ends here."""

import asyncio
from collections.abc import Sequence
from typing import Any, Final

import numpy as np

from image_transformer.codecs.tensors import Images, Pixels, Probabilities
from image_transformer.codecs.v2 import metadata, wrong_shape
from image_transformer.errors import ClientGoneError, ServiceError, VersionGoneError
from image_transformer.inference.batching import Alive, Batcher
from image_transformer.inference.decoding import Decoder
from image_transformer.inference.held import Held
from image_transformer.inference.room import Room
from image_transformer.observe.metrics import Metrics
from image_transformer.settings import Settings
from image_transformer.triton.client import Triton
from image_transformer.triton.served import Served
from model.contract import DEFAULT_CONTRACT

# Images of requests that have many, decoded and not yet answered: three requests of 256 at 224 pixels.
_SQUARES_BYTES: Final = 128_000_000
# For so long a request follows the versions that go, each while it answers.
_FOLLOW_SECONDS: Final = 60.0


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
        self._loop = asyncio.get_running_loop()
        self._squares = Room(_SQUARES_BYTES)
        self._turn = 0
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
                version than asked for, pixels are of another size, or there is too much to do.
        """
        if len(images) > self.settings.max_images:
            raise ServiceError(
                "too_many_images",
                f"The request has {len(images)} images; send at most {self.settings.max_images} at once.",
            )
        self._batcher.check(len(images))
        pixels: list[Pixels] = [] if images.pixels is None else list(images.pixels)
        served = await self._next(images)
        ends = 0.0
        room = 0
        try:
            while True:
                try:
                    if not room and len(images) > 1 and images.pixels is None:
                        room = await self._squares.enter(len(images) * served.contract.image_bytes)
                    answer = await self._ask(served, images, pixels, alive)
                    break
                except VersionGoneError:  # for want of that version, not of an answer: the next one has it, or comes
                    now = self._loop.time()
                    ends = ends or now + _FOLLOW_SECONDS
                    if now > ends:
                        raise
                    before, served = served, await self._next(images)
                    if images.pixels is None and served.decoding != before.decoding:
                        pixels = []
                        self._squares.leave(room)
                        room = 0
        finally:
            if room:
                self._squares.leave(room)
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

    def described(self, version: str | None = None) -> dict[str, Any]:
        """v2's description of the model, or of one of its versions.

        Raises:
            ServiceError: another version is asked for than one that is served.
        """
        self.check_version(version)
        known = self.triton.known
        one = next((served for served in known if version in {None, served.version}), None)
        versions = self.versions if version is None or one is None else [version]
        return metadata(self.settings.model_name, versions, one.contract if one else DEFAULT_CONTRACT)

    @property
    def versions(self) -> list[str]:
        """The versions that are served, in their order; while none is, those that were last."""
        return sorted({served.version for served in self.triton.known}, key=int)

    def check_version(self, asked: str | None) -> None:
        """Raises ServiceError when another version is asked for than one that is served."""
        known = self.triton.known
        if asked is not None and known and all(served.version != asked for served in known):
            raise _not_served(asked, known)

    def close(self) -> None:
        """Ends the decoder's threads."""
        self._decoder.close()

    async def _next(self, images: Images) -> Served:
        """Returns the version that is to answer; one that is about to come is waited for. See `_choose`."""
        if not self.triton.ready:
            await self.triton.returned()
        return self._choose(images)

    def _choose(self, images: Images) -> Served:
        """Returns the version that is to answer: of those that can, the one that has the least to do.

        Raises:
            ServiceError: none is ready, another one is asked for, or the pixels are of another size.
        """
        endpoints = self.triton.endpoints
        candidates: Sequence[Served] = endpoints.offered
        if images.version is not None:
            candidates = [served for served in endpoints.live if served.version == images.version]
        if not candidates:
            if images.version is not None and endpoints.live:
                raise _not_served(images.version, endpoints.live)
            raise self.triton.unavailable()
        if images.pixels is not None:
            shape = images.pixels.shape[1:]
            fitting = [served for served in candidates if served.contract.image_shape == shape]
            if not fitting and images.version is None:  # one that is about to go is better than none
                fitting = [served for served in endpoints.live if served.contract.image_shape == shape]
            if not fitting:
                raise wrong_shape(images.pixels.shape, [served.contract.image_shape for served in candidates])
            candidates = fitting
        if len(candidates) == 1:
            return candidates[0]
        self._turn = (self._turn + 1) % len(candidates)  # alike in load, they take turns
        return min([*candidates[self._turn :], *candidates[: self._turn]], key=self._batcher.load)

    async def _ask(self, served: Served, images: Images, pixels: list[Pixels], alive: Alive) -> Probabilities:
        """Decodes, and sends every full call's worth while the rest is decoded; one image makes no detour.

        Args:
            served: The version that is to answer.
            images: The request.
            pixels: Its images as far as they are decoded; what is decoded here is added.
            alive: Tells whether the client still waits.

        Raises:
            VersionGoneError: it is not ready any more.
            ClientGoneError: the client hung up while many were decoded.
        """
        encoded = images.encoded
        if len(images) == 1:
            if not pixels:
                pixels.append(await self._decoder.decode(encoded[0], None, alive, served.contract))
            return await self._batcher.submit(served, pixels, alive)
        size = self._batcher.images_per_piece
        sent: list[asyncio.Future[Probabilities]] = []
        try:
            with self._batcher.coming(served, len(images)) as submitted:
                for start in range(0, len(images), size):
                    self._go_on(served, sent, alive)
                    for index in range(len(pixels), min(start + size, len(images))):
                        pixels.append(
                            await self._decoder.decode(encoded[index], index, alive, served.contract)
                        )
                    piece = pixels[start : start + size]
                    sent.append(self._batcher.submit(served, piece, alive))
                    submitted(len(piece))
                    if images.pixels is None:
                        await asyncio.sleep(0)
            probs = np.concatenate([answer.probs for answer in await asyncio.gather(*sent)])
            return Probabilities(probs, served.version, served.contract)
        finally:
            for future in sent:
                future.cancel()
                # One that failed beside the one that was raised has nobody left to hear of it.
                if not future.cancelled():
                    future.exception()

    def _go_on(self, served: Served, sent: Sequence[asyncio.Future[Probabilities]], alive: Alive) -> None:
        """Raises what makes the rest of a request's images needless: see `_ask`."""
        if not alive():
            raise ClientGoneError
        for future in sent:
            if future.done():
                future.result()
        if not self.triton.endpoints.count(served):
            raise VersionGoneError


def _not_served(asked: str, known: Sequence[Served]) -> ServiceError:
    versions = sorted({served.version for served in known}, key=int)
    listed = (
        f"version {versions[0]} is. Ask for it"
        if len(versions) == 1
        else (f"versions {', '.join(versions[:-1])} and {versions[-1]} are. Ask for one of them")
    )
    return ServiceError("unknown_version", f"Version {asked[:40]!r} is not served; {listed}, or for none.")
