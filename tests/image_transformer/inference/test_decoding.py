"""Large images share a budget of memory, and nobody's turn is lost."""

import asyncio
import io
import threading
from collections.abc import AsyncIterator, Callable
from typing import Any

import numpy as np
import pytest
from PIL import Image

from image_transformer.errors import ClientGoneError
from image_transformer.inference import decoding
from image_transformer.inference.decoding import Decoder
from image_transformer.observe.metrics import Metrics

ROOM = 5_000_000


def photograph(side: int) -> bytes:
    buffer = io.BytesIO()
    Image.new("RGB", (side, side)).save(buffer, "PNG")
    return buffer.getvalue()


class Watched:
    """Stands in for the decoder's work: each image waits until it is let go.

    Attributes:
        running: Sides of the images that are being decoded.
        let_go: Permits.
    """

    def __init__(self) -> None:
        self.running: list[int] = []
        self.started: list[int] = []
        self.let_go = threading.Semaphore(0)

    def __call__(self, data: bytes, *_: object, **__: object) -> Any:
        side = Image.open(io.BytesIO(data)).width
        self.running.append(side)
        self.started.append(side)
        assert self.let_go.acquire(timeout=10)
        self.running.remove(side)
        return np.zeros((32, 32, 3), np.uint8)


@pytest.fixture
def watched(monkeypatch: pytest.MonkeyPatch) -> Watched:
    work = Watched()
    monkeypatch.setattr(decoding, "decode_image", work)
    return work


@pytest.fixture
async def decoder(start_service: Any) -> AsyncIterator[Decoder]:
    """Four threads, and room for a million pixels of PNG."""
    service = await start_service(decode_threads=4, max_decoding_bytes=ROOM)
    made = Decoder(service.settings, Metrics())
    yield made
    made.close()


async def until(happened: Callable[[], bool]) -> None:
    async with asyncio.timeout(10):
        while not happened():  # noqa: ASYNC110
            await asyncio.sleep(0.001)


def ask(decoder: Decoder, side: int, alive: Callable[[], bool] = lambda: True) -> asyncio.Task[Any]:
    return asyncio.create_task(decoder.decode(photograph(side), None, alive))


async def test_no_more_pixels_at_once_than_there_is_room_for(decoder: Decoder, watched: Watched) -> None:
    tasks = [ask(decoder, side) for side in (700, 700, 800, 610, 500)]
    await until(lambda: watched.running == [700, 700])
    watched.let_go.release()
    watched.let_go.release()
    await until(lambda: watched.started == [700, 700, 800])
    assert watched.running == [800], "610 x 610 beside it would be too much, and 500 x 500 waits for its turn"
    for _ in range(3):
        watched.let_go.release()
    await asyncio.gather(*tasks)
    assert decoder._room.free == ROOM


async def test_an_image_larger_than_the_room_goes_alone(decoder: Decoder, watched: Watched) -> None:
    tasks = [ask(decoder, side) for side in (1200, 300)]
    await until(lambda: watched.running == [1200])
    watched.let_go.release()
    await until(lambda: watched.running == [300])
    watched.let_go.release()
    await asyncio.gather(*tasks)


async def test_who_hung_up_has_nothing_decoded(decoder: Decoder, watched: Watched) -> None:
    first, gone, last = ask(decoder, 1000), ask(decoder, 900, lambda: False), ask(decoder, 800)
    await until(lambda: watched.running == [1000])
    watched.let_go.release()
    await until(lambda: watched.running == [800])
    watched.let_go.release()
    await asyncio.gather(first, last)
    with pytest.raises(ClientGoneError):
        await gone
    assert decoder._room.free == ROOM


async def test_a_cancelled_request_gives_its_turn_up_and_keeps_its_room_while_it_runs(
    decoder: Decoder, watched: Watched
) -> None:
    running, waiting, last = ask(decoder, 1000), ask(decoder, 900), ask(decoder, 800)
    await until(lambda: watched.running == [1000])
    running.cancel()
    waiting.cancel()
    await asyncio.gather(running, waiting, return_exceptions=True)
    assert watched.started == [1000], "its thread is still at work"
    watched.let_go.release()
    await until(lambda: watched.running == [800])
    watched.let_go.release()
    await last
    assert decoder._room.free == ROOM
