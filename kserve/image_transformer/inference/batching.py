"""Load makes the batches: a few calls are under way; what arrives meanwhile goes out together in the next.

An idle service sends an image at once, and a busy one joins the images that wait anyway. Images wait for one
version, and a call has those of one alone.

How many calls are under way depends on what is asked. Of a request of many images the network is the largest
part, so each instance of the model gets some. A single image costs more before and after a brief network than
in it, and a call costs more than an image; so single images wait for a call of such that is under way, one
for each address, and share the next (docs/speed.md, "Single images, one call at a time").
"""

import asyncio
import time
from collections import deque
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from functools import partial
from typing import Final

from image_transformer.codecs.tensors import Pixels, Probabilities
from image_transformer.errors import ClientGoneError, ServiceError, VersionGoneError
from image_transformer.observe.tracing import Calling, calling, current
from image_transformer.triton.call import timed_out
from image_transformer.triton.client import Triton
from image_transformer.triton.served import Served

_SHORT_QUEUE: Final = 128  # so few may wait for any time: that is a slow answer of Triton's, no overload
_SLOW_CALL_SECONDS: Final = 0.05
"""An address that is asked so long without a pause holds up no single images any more: an instance of it is
stuck, or it is very busy."""

_A_MOMENT: Final = 0.001  # two clocks: a look must not come a little too early, and wait once more

Alive = Callable[[], bool]
"""Tells whether somebody still waits for an answer."""


class Piece:
    """Images of one request that go to Triton together.

    Attributes:
        share: Of the request that it is a part of; 1 where it is the whole.
        single: Whether it is a request of one image.
        since: When it was queued, by `time.perf_counter`.
    """

    __slots__ = ("alive", "count", "future", "pixels", "queued", "share", "since", "single", "trace")

    def __init__(
        self, pixels: Sequence[Pixels], alive: Alive, share: float, future: asyncio.Future[Probabilities]
    ) -> None:
        self.pixels = pixels
        self.count = len(pixels)
        self.single = self.count == share == 1
        self.alive = alive
        self.share = share
        self.since = time.perf_counter()
        self.future = future
        self.trace = current.get()
        self.queued = time.time_ns() if self.trace is not None else 0


class _Lane:
    """What waits for one version, and what is under way to it.

    Attributes:
        served: The version.
        queue: What waits.
        coming: Images of requests under way that are still to be queued.
        queued: Images that wait.
        asked: Images under way.
        under_way: Calls under way.
        singles: Requests of one image that wait.
        since: When a call of single images last went out while fewer calls were under way than there are
            addresses, by `time.perf_counter`; 0 where one of other requests did after it.
        pump_is_due: Whether the queue is looked at in the next turn of the event loop.
        look_is_due: Whether it is looked at once that was too long ago.
    """

    __slots__ = (
        "asked",
        "coming",
        "look_is_due",
        "pump_is_due",
        "queue",
        "queued",
        "served",
        "since",
        "singles",
        "under_way",
    )

    def __init__(self, served: Served) -> None:
        self.served = served
        self.queue: deque[Piece] = deque()
        self.coming = 0
        self.queued = 0
        self.asked = 0
        self.under_way = 0
        self.singles = 0
        self.since = 0.0
        self.pump_is_due = False
        self.look_is_due = False


class Batcher:
    """The queue in front of Triton.

    Attributes:
        images_per_piece: A request with more images is cut into such pieces, so that they are decoded and
            classified side by side.
    """

    def __init__(
        self,
        triton: Triton,
        *,
        images_per_piece: int,
        images_per_call: int,
        calls_in_flight: int,
        max_queued: int,
        queue_seconds: float,
        max_wait: float,
    ) -> None:
        self.images_per_piece = min(images_per_piece, images_per_call)
        self._images_per_call = images_per_call
        self._triton = triton
        self._calls_per_endpoint = calls_in_flight
        self._max_queued = max_queued
        self._queue_seconds = queue_seconds
        self._max_wait = max_wait
        self._loop = asyncio.get_running_loop()
        self._lanes: dict[Served, _Lane] = {}
        self._queued = 0
        triton.on_change = self._changed

    @property
    def saturated(self) -> bool:
        """Whether more images had better come back later.

        The queue is full, or its oldest image has waited for long: how many images may wait depends on how
        fast they go, which nobody knows beforehand, and one that waits in vain is work for nothing.
        """
        if self._queued >= self._max_queued:
            return True
        if self._queued < _SHORT_QUEUE:
            return False
        oldest = min(lane.queue[0].since for lane in self._lanes.values() if lane.queue)
        return time.perf_counter() - oldest > self._queue_seconds

    def check(self, count: int) -> None:
        """Raises ServiceError when there is no room for more images."""
        if self.saturated or self._queued + count > self._max_queued:
            raise ServiceError("overloaded", "Too many images are waiting; try again in a second.")

    def load(self, served: Served) -> float:
        """How many images a version has to answer, for each address that has it."""
        lane = self._lanes.get(served)
        images = lane.coming + lane.queued + lane.asked if lane is not None else 0
        return images / max(1, self._triton.endpoints.count(served))

    @contextmanager
    def coming(self, served: Served, count: int) -> Iterator[Callable[[int], None]]:
        """Counts images of a request, which are decoded one after the other, as a version's to answer.

        Gives a function that says how many of them `submit` has got.
        """
        lane = self._lane(served)
        lane.coming += count
        left = count

        def submitted(images: int) -> None:
            nonlocal left
            lane.coming -= images
            left -= images

        try:
            yield submitted
        finally:
            lane.coming -= left

    @property
    def queued(self) -> int:
        """How many images wait."""
        return self._queued

    def images_a_call(self, served: Served) -> int | None:
        """How many images a version's calls under way have on average, 0 where it has none.

        None where nothing waits, and one of the version's addresses has nothing of this queue to do.
        """
        under_way = sum(lane.under_way for lane in self._lanes.values())
        if not self._queued and under_way < max(1, self._triton.endpoints.count(served)):
            return None
        lane = self._lanes.get(served)
        return lane.asked // lane.under_way if lane is not None and lane.under_way else 0

    def submit(
        self, served: Served, pixels: Sequence[Pixels], alive: Alive, of: int = 1
    ) -> asyncio.Future[Probabilities]:
        """Queues images.

        Args:
            served: The version that is to answer.
            pixels: At most `images_per_piece` contiguous images of the version's shape.
            alive: Asked before they are sent.
            of: How many images the request has.

        Returns:
            Their probabilities, or a ServiceError; a VersionGoneError where that version is ready no more.
        """
        lane = self._lane(served)
        piece = Piece(pixels, alive, len(pixels) / of, self._loop.create_future())
        lane.queue.append(piece)
        lane.queued += piece.count
        lane.singles += piece.single
        self._queued += piece.count
        if not lane.pump_is_due:
            # Not at once: what came in by the same turn of the event loop goes out together.
            lane.pump_is_due = True
            self._loop.call_soon(self._pump, lane)
        self._triton.endpoints.receive_between()
        return piece.future

    def _lane(self, served: Served) -> _Lane:
        lane = self._lanes.get(served)
        if lane is None:
            lane = self._lanes[served] = _Lane(served)
        return lane

    def _changed(self) -> None:
        """Versions came or went: send what waits, or say at once that it has to go elsewhere."""
        for lane in list(self._lanes.values()):
            if self._triton.endpoints.count(lane.served):
                self._pump(lane)
                continue
            while lane.queue:
                piece = self._take(lane)
                if not piece.future.done():
                    piece.future.set_exception(VersionGoneError())
            if not (lane.under_way or lane.coming or lane.pump_is_due):
                del self._lanes[lane.served]

    def _pump(self, lane: _Lane) -> None:
        lane.pump_is_due = False
        endpoints = max(1, self._triton.endpoints.count(lane.served))
        while lane.queue and lane.under_way < self._calls_per_endpoint * endpoints:
            now = time.perf_counter()
            if lane.under_way >= endpoints and self._had_better_wait(lane, now):
                break
            # A fair share, so that no instance of the model idles while another has all the work. One call
            # an endpoint only bridges the time between an answer and the next request.
            instances = 1 if self._joins(lane) else max(1, self._calls_per_endpoint - 1)
            share = -(-lane.queued // (instances * endpoints))
            alike = lane.singles == lane.queued
            if pieces := self._next(lane, min(self._images_per_call, max(self.images_per_piece, share)), now):
                if not alike:
                    lane.since = 0.0
                elif lane.under_way < endpoints:
                    lane.since = now
                lane.under_way += 1
                pixels = b"".join(image.data for piece in pieces for image in piece.pixels)
                count, requests, waited = 0, 0.0, 0.0
                for piece in pieces:
                    count += piece.count
                    requests += piece.share
                    waited += (now - piece.since) * piece.share
                lane.asked += count
                lane.served.counted.queue_seconds += waited
                call = calling(pieces)
                done = partial(self._answered, lane, pieces, call)
                head = b"" if call is None else call.head
                self._triton.infer(lane.served, pixels, count, done, requests, head)

    def _joins(self, lane: _Lane) -> bool:
        """Whether what waits are single images of a brief network, no more of them than two calls take."""
        return lane.served.brief and lane.singles == lane.queued and lane.queued <= 2 * self._images_per_call

    def _had_better_wait(self, lane: _Lane, now: float) -> bool:
        """Whether the next call is to be a larger one, after that which is under way; looks again if so."""
        if not self._joins(lane) or now - lane.since > _SLOW_CALL_SECONDS:
            return False
        if not lane.look_is_due:  # one timer, not one a call: it may find a later one, and begins again
            lane.look_is_due = True
            self._loop.call_later(lane.since + _SLOW_CALL_SECONDS + _A_MOMENT - now, self._look, lane)
        return True

    def _look(self, lane: _Lane) -> None:
        lane.look_is_due = False
        self._pump(lane)

    def _next(self, lane: _Lane, room: int, now: float) -> list[Piece]:
        pieces: list[Piece] = []
        oldest, queue = now - self._max_wait, lane.queue
        while queue and queue[0].count <= room:
            piece = self._take(lane)
            if piece.future.done():
                continue
            if not piece.alive():  # whoever hung up gets no work done for them
                piece.future.set_exception(ClientGoneError())
            elif piece.since < oldest:
                piece.future.set_exception(timed_out())
            else:
                pieces.append(piece)
                room -= piece.count
        return pieces

    def _take(self, lane: _Lane) -> Piece:
        piece = lane.queue.popleft()
        lane.queued -= piece.count
        lane.singles -= piece.single
        self._queued -= piece.count
        return piece

    def _answered(
        self,
        lane: _Lane,
        pieces: list[Piece],
        call: Calling | None,
        result: Probabilities | ServiceError,
    ) -> None:
        if call is not None:
            call.ended(failed=isinstance(result, ServiceError))
        lane.under_way -= 1
        start = 0
        for piece in pieces:
            end = start + piece.count
            if not piece.future.done():
                if isinstance(result, ServiceError):
                    piece.future.set_exception(result.again())
                else:
                    piece.future.set_result(result.part(start, end))
            start = end
        lane.asked -= start
        self._pump(lane)
