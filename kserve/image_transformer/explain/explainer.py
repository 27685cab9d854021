"""Explanations, one after the other, in small calls that plain requests go before."""

import asyncio
from collections.abc import AsyncIterator, Callable, Coroutine
from contextlib import asynccontextmanager
from time import perf_counter
from typing import Any, Final

from image_transformer.codecs.tensors import Decoding, Explanation, Images, Pixels, Probabilities
from image_transformer.errors import ClientGoneError, ServiceError, VersionGoneError
from image_transformer.explain.masks import Grids, Slopes, hidden
from image_transformer.explain.pace import Pace
from image_transformer.inference.batching import Alive, Batcher
from image_transformer.inference.decoding import Decoder
from image_transformer.observe.metrics import Metrics
from image_transformer.observe.statistics import Spent
from image_transformer.settings import Settings
from image_transformer.triton.client import Triton
from image_transformer.triton.served import Served

_LOOK_AGAIN_SECONDS: Final = 0.001
# While it waits for its turn an explanation looks so often whether its client is still there.
_GONE_SECONDS: Final = 0.25
# So many make a map (docs/explain.md) where the time is over before all are asked: this share of a request's
# time, of whose rest all that wait have a part each.
_ENOUGH_MASKS: Final = 100
_ASKING_SHARE: Final = 0.9
# Smaller files may stay, so that they can be decoded again where a version of another size takes over.
_SMALL: Final = 256 * 1024

Classify = Callable[[Images, Alive], Coroutine[Any, Any, Probabilities]]
Release = Callable[[], None]


class Explainer:
    """Explains what the classifier answers, by asking the same version again and again.

    Its calls have no place in the classifier's queue: each is small, one is under way at a time, and while a
    plain request waits or is under way at every address they have a small share of the time; see `Pace`.

    Attributes:
        waiting: Explanations under way and waiting.
    """

    def __init__(
        self,
        settings: Settings,
        triton: Triton,
        batcher: Batcher,
        decoder: Decoder,
        classify: Classify,
        metrics: Metrics,
    ) -> None:
        """Takes the model and what stands in front of it.

        Args:
            settings: How many masks, how long, and how many may wait.
            triton: The classifier.
            batcher: The plain requests' queue.
            decoder: Decodes.
            classify: Answers plainly; see `Inference.classify`.
            metrics: Counts the masks.
        """
        self._settings = settings
        self._triton = triton
        self._batcher = batcher
        self._decoder = decoder
        self._classify = classify
        self._metrics = metrics
        self._loop = asyncio.get_running_loop()
        self._turn = asyncio.Lock()
        self.waiting = 0

    async def explain(self, images: Images, alive: Alive, release: Release = lambda: None) -> Explanation:
        """Classifies one image, and finds out which parts of it carry the class.

        Args:
            images: One, encoded. A large one is taken out of here as soon as it is decoded.
            alive: Tells whether the client still waits.
            release: Called when a large one is: its request's body is needed no more.

        Raises:
            ServiceError: as `Inference.classify`; or explanations are switched off, too many wait, or it was
                not done in time.
            ClientGoneError: the client hung up.
        """
        self._check(len(images))
        self.waiting += 1
        due = perf_counter() + self._settings.explain_seconds * _ASKING_SHARE
        try:
            async with asyncio.timeout(self._settings.explain_seconds):
                return await self._explained(images, alive, release, due)
        except TimeoutError:
            raise ServiceError(
                "explanation_timeout",
                f"The explanation was not done in {self._settings.explain_seconds:g} s, since other requests "
                "leave it little of the time; try again when there are fewer.",
            ) from None
        finally:
            self.waiting -= 1

    def _check(self, count: int) -> None:
        if not self._settings.explain_masks:
            raise ServiceError(
                "not_offered",
                "Explanations are switched off here; ask without, or set CNN_IMAGE_EXPLAIN_MASKS above 0.",
            )
        if count != 1:
            raise ServiceError(
                "too_many_images", f"The request has {count} images; send one at a time to be explained."
            )
        if self.waiting > self._settings.explain_waiting:
            raise ServiceError("overloaded", "Too many explanations are waiting; try again in a second.")

    @asynccontextmanager
    async def _in_turn(self, alive: Alive) -> AsyncIterator[None]:
        """One after the other, in the order of coming; who hangs up meanwhile leaves the line.

        Raises:
            ClientGoneError: The client hung up.
        """
        turn = asyncio.create_task(self._turn.acquire())
        try:
            while not (await asyncio.wait({turn}, timeout=_GONE_SECONDS))[0]:
                if not alive():
                    raise ClientGoneError
            yield
        finally:
            if turn.done() and not turn.cancelled():
                self._turn.release()
            else:
                turn.cancel()

    async def _explained(self, images: Images, alive: Alive, release: Release, due: float) -> Explanation:
        picture: Pixels | None = None
        while True:
            spent = Spent()
            if picture is None:
                picture, decoding = await self._decoded(images, alive, spent)
                if len(images.encoded[0]) > _SMALL:  # others wait for the memory, and this for its turn
                    images.encoded = ()
                    release()
            try:
                decoded = Images(pixels=picture[None], decoding=decoding, decode_seconds=spent.decode_seconds)
                answer = await self._classify(decoded, alive)
                async with self._in_turn(alive):
                    served = self._served(answer)
                    class_id = int(answer.probs[0].argmax())
                    slopes = await self._asked(served, picture, class_id, alive, due)
            except VersionGoneError:  # the next version's own answer is what is explained
                if decoding in {served.decoding for served in self._triton.known}:
                    continue
                if not images.encoded:
                    raise ServiceError(
                        "model_unavailable",
                        "A version that sees pictures otherwise took over while this one was explained, and "
                        "the file is not kept that long; send it again.",
                    ) from None
                picture = None
                continue
            return Explanation(answer, class_id, slopes.count, *slopes.map())

    async def _decoded(self, images: Images, alive: Alive, spent: Spent) -> tuple[Pixels, Decoding]:
        """The picture as the newest version takes it, and how that is.

        A picture that cannot be taken is counted as that version's failure, as a plain request's is.

        Raises:
            ServiceError: It cannot be taken, or no version is ready.
        """
        self._batcher.check(1)
        if not self._triton.ready:
            await self._triton.returned()
        newest = self._triton.newest
        if newest is None or not self._triton.ready:
            raise self._triton.unavailable()
        try:
            picture = await self._decoder.decode(images.encoded[0], None, alive, newest.contract, spent)
        except ServiceError:
            newest.counted.failures += 1
            newest.counted.failure_seconds += spent.decode_seconds
            raise
        return picture, newest.decoding

    def _served(self, answer: Probabilities) -> Served:
        """The version that has answered.

        Raises:
            VersionGoneError: It is served no more.
        """
        for served in self._triton.endpoints.live:
            if served.version == answer.version and served.contract == answer.contract:
                return served
        raise VersionGoneError

    async def _asked(
        self, served: Served, picture: Pixels, class_id: int, alive: Alive, due: float
    ) -> Slopes:
        """Asks for the picture under every mask, a few at a time; under fewer where its time is over.

        What is left until it is due is shared with those that wait.
        """
        count, size = self._settings.explain_masks, served.contract.size
        grids, slopes = Grids(size, count), Slopes(size)
        started = perf_counter()
        pace = Pace(started)
        while slopes.count < count:
            if not alive():  # under load too, or its place is kept for nobody
                raise ClientGoneError
            began = perf_counter()
            if slopes.count >= _ENOUGH_MASKS and began - started > (due - started) / self.waiting:
                break
            plain = self._batcher.images_a_call(served)
            together = 0 if self._batcher.saturated else pace.masks(began, plain)
            if not together:
                await asyncio.sleep(_LOOK_AGAIN_SECONDS)  # an event would cost plain requests time
                continue
            masks = grids.masks(slopes.count, min(slopes.count + together, count))
            pixels = hidden(picture, masks)
            made = perf_counter()
            answers = await self._infer(served, pixels)
            pace.sent(len(masks), began, made, perf_counter(), beside=plain is not None)
            slopes.add(masks, answers.probs[:, class_id])
            self._metrics.masks += len(masks)
        return slopes

    async def _infer(self, served: Served, pixels: Pixels) -> Probabilities:
        answered: asyncio.Future[Probabilities] = self._loop.create_future()

        def done(result: Probabilities | ServiceError) -> None:
            if answered.done():
                return
            if isinstance(result, ServiceError):
                answered.set_exception(result)
            else:
                answered.set_result(result)

        # Of no request's time: what a plain one takes on average is told by plain ones alone.
        self._triton.infer(served, pixels.tobytes(), len(pixels), done, requests=0.0)
        return await answered
