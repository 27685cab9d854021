"""A request to one of Triton's models: a version is chosen, decoded for, and followed where it goes."""

import asyncio
import time
from collections import Counter
from collections.abc import Sequence
from typing import Final

import numpy as np

from image_transformer.codecs.tensors import Images, Pixels, Probabilities
from image_transformer.codecs.v2 import wrong_shape
from image_transformer.errors import ClientGoneError, ServiceError, VersionGoneError
from image_transformer.inference.batching import Alive, Batcher
from image_transformer.inference.decoding import Decoder
from image_transformer.inference.room import Room
from image_transformer.observe.outcomes import Outcomes
from image_transformer.observe.statistics import Spent
from image_transformer.triton.client import Triton
from image_transformer.triton.served import Served

# For so long a request follows the versions that go, each while it answers.
_FOLLOW_SECONDS: Final = 60.0


class Asking:
    """From images to a model's output.

    Attributes:
        squares: Memory for images of requests that have many, decoded and not yet answered.
    """

    def __init__(
        self,
        triton: Triton,
        batcher: Batcher,
        decoder: Decoder,
        squares: Room,
        answered: Counter[str],
        outcomes: Outcomes | None = None,
        *,
        refuses: bool = False,
    ) -> None:
        """Takes a model and what is shared with others.

        Args:
            triton: The model.
            batcher: Its queue.
            decoder: Decodes for every model.
            squares: See above.
            answered: Counts the images that were answered, by the version that did.
            outcomes: Counts what they were answered with, where that is classes.
            refuses: Whether a request's one image is refused where it is unlike anything learned.
        """
        self._triton = triton
        self._batcher = batcher
        self._decoder = decoder
        self._loop = asyncio.get_running_loop()
        self._turn = 0
        self._answered = answered
        self._outcomes = outcomes
        self._refuses = refuses
        self.squares = squares

    async def answer(self, images: Images, alive: Alive) -> Probabilities:
        """Answers a request, and counts it for the version that did, or failed to.

        Args:
            images: At least one, and no more than a request may have.
            alive: Tells whether the client still waits.

        Returns:
            The model's output for every image, all by one version.

        Raises:
            ServiceError: see `Inference.classify`.
        """
        started = time.perf_counter() - images.decode_seconds
        count = len(images)
        self._batcher.check(count)
        pixels: list[Pixels] = [] if images.pixels is None else list(images.pixels)
        if not self._triton.ready:
            await self._triton.returned()
        served = self._choose(images)
        spent = Spent(images.decode_seconds)
        ends = 0.0
        room = 0
        try:
            while True:
                try:
                    if not room and count > 1 and images.pixels is None:
                        room = await self.squares.enter(count * served.contract.image_bytes)
                    answer = await self._ask(served, images, pixels, alive, spent)
                    if self._refuses and count == 1 and served.unlike is not None:
                        served.unlike.check(answer)
                    break
                except VersionGoneError:  # the next version has the answer, or comes and has it
                    now = self._loop.time()
                    ends = ends or now + _FOLLOW_SECONDS
                    if now > ends:
                        raise
                    if not self._triton.ready:
                        await self._triton.returned()
                    before, served = served, self._choose(images)
                    if images.pixels is None and served.decoding != before.decoding:
                        pixels = []
                        self.squares.leave(room)
                        room = 0
        except ServiceError:
            served.counted.failures += 1
            served.counted.failure_seconds += time.perf_counter() - started
            raise
        finally:
            if room:
                self.squares.leave(room)
        self._answered[served.version] += count
        if self._outcomes is not None:
            self._outcomes.add(served, answer)
        served.counted.successes += 1
        served.counted.decode_seconds += spent.decode_seconds
        served.counted.success_seconds += time.perf_counter() - started
        return answer

    def _choose(self, images: Images) -> Served:
        """Returns the version that is to answer: of those that can, the one that has the least to do.

        Raises:
            ServiceError: none is ready, another one is asked for, or the pixels are of another size.
            VersionGoneError: none takes pictures as these were decoded.
        """
        endpoints = self._triton.endpoints
        candidates: Sequence[Served] = endpoints.offered
        if images.version is not None:
            candidates = [served for served in endpoints.live if served.version == images.version]
        if not candidates:
            if images.version is not None and endpoints.live:
                raise not_served(images.version, endpoints.live)
            raise self._triton.unavailable()
        if images.decoding is not None:
            candidates = [served for served in candidates if served.decoding == images.decoding] or [
                served for served in endpoints.live if served.decoding == images.decoding
            ]
            if not candidates:
                raise VersionGoneError
        elif images.pixels is not None:
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

    async def _ask(
        self, served: Served, images: Images, pixels: list[Pixels], alive: Alive, spent: Spent
    ) -> Probabilities:
        """Decodes, and sends every full call's worth while the rest is decoded; one image makes no detour.

        Args:
            served: The version that is to answer.
            images: The request.
            pixels: Its images as far as they are decoded; what is decoded here is added.
            alive: Tells whether the client still waits.
            spent: What the request has taken.

        Raises:
            VersionGoneError: it is not ready any more.
            ClientGoneError: the client hung up while many were decoded.
        """
        encoded, count = images.encoded, len(images)
        contract, decoder = served.contract, self._decoder
        if count == 1:
            if not pixels:
                small = decoder.decode_small(encoded[0], None, contract, spent)
                if small is None:
                    small = await decoder.decode_large(encoded[0], None, alive, contract, spent)
                pixels.append(small)
            return await self._batcher.submit(served, pixels, alive)
        size = self._batcher.images_per_piece
        sent: list[asyncio.Future[Probabilities]] = []
        try:
            with self._batcher.coming(served, count) as submitted:
                for start in range(0, count, size):
                    self._go_on(served, sent, alive)
                    for index in range(len(pixels), min(start + size, count)):
                        small = decoder.decode_small(encoded[index], index, contract, spent)
                        if small is None:
                            small = await decoder.decode_large(encoded[index], index, alive, contract, spent)
                        pixels.append(small)
                    piece = pixels[start : start + size]
                    sent.append(self._batcher.submit(served, piece, alive, count))
                    submitted(len(piece))
                    if images.pixels is None:
                        await asyncio.sleep(0)
            return joined(await asyncio.gather(*sent))
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
        if not self._triton.endpoints.count(served):
            raise VersionGoneError


def joined(parts: Sequence[Probabilities]) -> Probabilities:
    """The answers to a request's pieces, all by one version, as one."""
    scores = [part.scores for part in parts if part.scores is not None]
    return parts[0]._replace(
        probs=np.concatenate([part.probs for part in parts]),
        scores=np.concatenate(scores) if scores else None,
    )


def not_served(asked: str, known: Sequence[Served]) -> ServiceError:
    """The answer to who asks for another version than one of those that are served, which are some."""
    versions = sorted({served.version for served in known}, key=int)
    listed = (
        f"version {versions[0]} is. Ask for it"
        if len(versions) == 1
        else (f"versions {', '.join(versions[:-1])} and {versions[-1]} are. Ask for one of them")
    )
    return ServiceError("unknown_version", f"Version {asked[:40]!r} is not served; {listed}, or for none.")
