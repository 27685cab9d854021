"""Where images are decoded: small ones at once, large ones in threads, as many as memory has room for."""

import asyncio
import contextlib
import time
from concurrent.futures import ThreadPoolExecutor

from image_transformer.codecs.tensors import Pixels
from image_transformer.errors import ClientGoneError, ServiceError
from image_transformer.inference.batching import Alive
from image_transformer.inference.room import Room
from image_transformer.observe.metrics import Metrics
from image_transformer.observe.statistics import Spent
from image_transformer.observe.tracing import current
from image_transformer.settings import Settings
from model.contract import DEFAULT_CONTRACT, Contract
from model.images.decode import decode_image, is_cheap, read_header
from model.images.errors import ImageError
from model.images.header import Header

_WAITING_A_THREAD = 16


class Decoder:
    """Decodes for all requests.

    A large image takes up to 18 bytes a pixel while it is decoded, by its format, so threads alone do not
    bound the memory: what its header says that it takes is counted too, and others wait in their order.
    """

    def __init__(self, settings: Settings, metrics: Metrics) -> None:
        self._limits = settings.limits
        self._metrics = metrics
        self._loop = asyncio.get_running_loop()
        self._threads = ThreadPoolExecutor(settings.decode_threads, "decode")
        self._most = settings.decode_threads * _WAITING_A_THREAD
        self._count = 0
        self._room = Room(settings.max_decoding_bytes)

    def decode_small(
        self, data: bytes, index: int | None, contract: Contract, spent: Spent | None
    ) -> Pixels | None:
        """Decodes an image at once, as `decode` does; None where it takes too long for that."""
        started = time.perf_counter()
        try:
            header = read_header(data, self._limits, contract.size)
            if not is_cheap(data, header, contract.size):
                return None
            pixels = decode_image(data, header, size=contract.size, fit=contract.fit)
        except ImageError as error:
            self._count_one(started, spent)
            raise _told(error, index) from None
        self._count_one(started, spent)
        return pixels

    async def decode(
        self,
        data: bytes,
        index: int | None,
        alive: Alive,
        contract: Contract = DEFAULT_CONTRACT,
        spent: Spent | None = None,
    ) -> Pixels:
        """Decodes one image.

        Args:
            data: The encoded image.
            index: Its number, where a request has many.
            alive: Tells whether the client still waits; asked before a large image's turn.
            contract: Of the version that is to answer: its size and how a picture becomes its square.
            spent: What the request has taken, to which this is added.

        Raises:
            ServiceError: it cannot be taken, or too many large ones wait already.
            ClientGoneError: the client hung up.
        """
        small = self.decode_small(data, index, contract, spent)
        return small if small is not None else await self.decode_large(data, index, alive, contract, spent)

    async def decode_large(
        self, data: bytes, index: int | None, alive: Alive, contract: Contract, spent: Spent | None
    ) -> Pixels:
        """Decodes an image in a thread, in its turn, as `decode` does where `decode_small` gives None."""
        started = time.perf_counter()
        try:
            header = read_header(data, self._limits, contract.size)
            return await self._in_thread(data, header, alive, contract)
        except ImageError as error:
            raise _told(error, index) from None
        finally:
            self._count_one(started, spent)

    def _count_one(self, started: float, spent: Spent | None) -> None:
        ended = time.perf_counter()
        self._metrics.decode_seconds.add(ended - started)
        if spent is not None:
            spent.decode_seconds += ended - started
        if (trace := current.get()) is not None:
            trace.decoded(started, ended)

    def close(self) -> None:
        """Ends the threads; what they decode is given up."""
        self._threads.shutdown(wait=False, cancel_futures=True)

    async def _in_thread(self, data: bytes, header: Header, alive: Alive, contract: Contract) -> Pixels:
        if self._count >= self._most:
            raise ServiceError("overloaded", "Too many large images are waiting; try again in a second.")
        self._count += 1
        try:
            memory = await self._room.enter(header.decoding_bytes)
            if not alive():
                self._room.leave(memory)
                raise ClientGoneError
            job = self._threads.submit(decode_image, data, header, size=contract.size, fit=contract.fit)
            # Not when the request ends: one that is cancelled leaves its thread at work.
            job.add_done_callback(lambda _: self._left(memory))
            return await asyncio.wrap_future(job)
        finally:
            self._count -= 1

    def _left(self, memory: int) -> None:
        """From a thread: an image is done."""
        with contextlib.suppress(RuntimeError):  # the service has ended meanwhile
            self._loop.call_soon_threadsafe(self._room.leave, memory)


def _told(error: ImageError, index: int | None) -> ServiceError:
    # A thread's future has the error, whose frames have the future and the picture: a cycle that would keep
    # the picture until the garbage collector comes.
    error.__traceback__ = error.__context__ = None
    return ServiceError(error.code, str(error), index)
