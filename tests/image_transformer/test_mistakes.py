"""Reads the tables of docs/errors.md, and makes every mistake in them on every route."""

import asyncio
import re
from collections.abc import Awaitable, Callable, Mapping
from pathlib import Path
from typing import Any

import grpc
import pytest
from senders import GOOD, SENDERS, Sender, encoded

from image_transformer.errors import FAILURES, ServiceError
from image_transformer.grpc import inference_pb2 as pb

DOCUMENT = Path(__file__).parents[2] / "docs" / "errors.md"
LIMITS = {
    "max_images": 4,
    "max_pixels": 20_000,
    "max_image_bytes": 60_000,
    "max_body_bytes": 90_000,
    "formats": "jpeg,png,gif,bmp",
}
SHORT_TIMES = {"body that never ends": {"body_seconds": 0.1}, "Triton hangs": {"triton_seconds": 0.1}}
ROUTES = ("form", "raw", "v2", "v2 binary", "v1", "gRPC", "train")


def table(title: str) -> list[list[str]]:
    """The rows of a section's table."""
    section = DOCUMENT.read_text().split(f"\n## {title}\n")[1].split("\n## ")[0]
    rows = [line.strip("|").split("|") for line in section.splitlines() if line.startswith("|")]
    return [[cell.strip() for cell in row] for row in rows[2:]]


MISTAKES = {row[0]: dict(zip(ROUTES, row[1:], strict=True)) for row in table("Every mistake on every route")}
CASES = [(mistake, route) for mistake, cells in MISTAKES.items() for route in ROUTES if cells[route]]


IMAGES: dict[str, list[bytes]] = {
    "empty image": [b""],
    "text for an image": [b"hello, this is no image"],
    "image cut short": [GOOD[:500]],
    "SVG": [b'<?xml version="1.0"?><svg xmlns="http://www.w3.org/2000/svg"></svg>'],
    "PDF": [b"%PDF-1.7\n"],
    "format that is switched off": [encoded("TIFF")],
    "too many pixels": [encoded("GIF", (200, 101))],
    "image too long": [encoded("BMP", (150, 133)) + bytes(1000)],
    "one bad image of three": [GOOD, GOOD, GOOD[:500]],
    "too many images": [GOOD] * 5,
    "no image": [],
}


async def too_much_at_once(service: Any, sender: Sender) -> Any:
    service.fake.answers.clear()
    batcher = service.inference._batcher
    waiting: list[asyncio.Task[Any]] = []
    async with asyncio.timeout(10):
        while batcher._queued < 2:
            waiting.append(asyncio.create_task(sender.send([GOOD])))
            while sum(service.fake.calls) + batcher._queued < len(waiting):  # noqa: ASYNC110
                await asyncio.sleep(0.001)
    answer = await sender.send([GOOD])
    service.fake.answers.set()
    await asyncio.gather(*waiting)
    return answer


async def triton_is_away(service: Any, sender: Sender) -> Any:
    await service.fake.stop()
    return await sender.send([GOOD])


async def triton_hangs(service: Any, sender: Sender) -> Any:
    service.fake.answers.clear()
    return await sender.send([GOOD])


FAULTS: dict[str, Callable[[Any, Sender], Awaitable[Any]]] = {
    "too much at once": too_much_at_once,
    "Triton is away": triton_is_away,
    "Triton hangs": triton_hangs,
}


class OneTraining:
    """Trains once, and for ever."""

    def __init__(self) -> None:
        self._begun = False

    async def start(self, wishes: Mapping[str, int]) -> str:
        if self._begun:
            raise ServiceError("training_under_way", "A training runs already; wait for it to end.")
        self._begun = True
        return "only"

    async def look(self, name: str) -> None:
        return None

    async def close(self) -> None: ...


@pytest.mark.parametrize(("mistake", "route"), CASES, ids=lambda value: value.replace(" ", "-"))
async def test_every_mistake_on_every_route(start_service: Any, mistake: str, route: str) -> None:
    service = await start_service(
        **LIMITS,
        **SHORT_TIMES.get(mistake, {}),
        max_queued_images=2 if mistake in FAULTS else 100,
        trainer=None if mistake == "training switched off" else OneTraining(),
    )
    sender = SENDERS[route](service)
    if mistake in IMAGES:
        answer = await sender.send(IMAGES[mistake])
    elif mistake in FAULTS:
        answer = await FAULTS[mistake](service, sender)
    else:
        answer = await getattr(sender, re.sub(r"[ ,]", "_", mistake))()

    code = MISTAKES[mistake][route]
    failure = FAILURES[code]
    assert service.metrics.errors == {code: 1}
    if route == "gRPC":
        status, sentence, trailer = answer
        assert status is grpc.StatusCode[failure.grpc]
        assert trailer["code"] == code
        assert trailer["x-request-id"] == "from-the-client"
        assert trailer.get("retry-after") == (str(failure.retry_after) if failure.retry_after else None)
    else:
        content = answer.json()
        sentence = content["error"]
        assert answer.status == failure.http
        assert content["code"] == code
        assert content["request_id"] == answer.headers["x-request-id"]
        assert answer.headers.get("retry-after") == (
            str(failure.retry_after) if failure.retry_after else None
        )
        assert ("allow" in answer.headers) is (code == "method_not_allowed")
        assert ("www-authenticate" in answer.headers) is (code == "unauthorized")
        assert ("index" in content) is (
            mistake == "one bad image of three" or mistake in {"not base64", "data URI"}
        )
    assert re.fullmatch(r"[A-Z0-9].*\.", sentence), "one sentence"


@pytest.mark.parametrize("route", ROUTES)
async def test_without_a_mistake_it_is_an_answer(start_service: Any, route: str) -> None:
    """What the table's mistakes are made in is right otherwise."""
    service = await start_service(**LIMITS, trainer=OneTraining())
    answer = await SENDERS[route](service).send([GOOD])
    assert isinstance(answer, pb.ModelInferResponse) or answer.status == (202 if route == "train" else 200)


def test_the_documented_codes_are_the_codes() -> None:
    documented = {
        code: (int(http), status, int(after) if after else None)
        for code, http, status, after, _ in table("Codes")
    }
    assert documented == {
        code: (failure.http, failure.grpc, failure.retry_after) for code, failure in FAILURES.items()
    }
