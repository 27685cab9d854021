"""An explanation waits for its turn without the file that it is of."""

import asyncio
import base64
import io
import json
from typing import Any

import numpy as np
import pytest
from other_contracts import STRETCHED
from PIL import Image

from image_transformer.explain import explainer
from model.contract import DEFAULT_CONTRACT

PNG = {"content-type": "image/png"}
EXPLAINED = "/predict?explain=true"


class Body(bytes):
    """A request's body that says when it is let go."""

    gone: list[bytes]

    def __del__(self) -> None:
        self.gone.append(b"")


def noise(side: int) -> bytes:
    buffer = io.BytesIO()
    Image.fromarray(np.random.default_rng(0).integers(0, 256, (side, side, 3), np.uint8)).save(buffer, "PNG")
    return buffer.getvalue()


LARGE, SMALL = noise(500), noise(50)


async def until(happened: Any) -> None:
    async with asyncio.timeout(20):
        while not happened():  # noqa: ASYNC110
            await asyncio.sleep(0.001)


def sent(
    service: Any, path: str, content: bytes, gone: list[bytes] | None = None, **headers: str
) -> asyncio.Task[Any]:
    """Sends a body of which nobody else keeps a part; `gone` gets an element when it is let go."""

    async def receive() -> dict[str, Any]:
        body = content
        if gone is not None:
            body = Body(content)
            body.gone = gone
        return {"type": "http.request", "body": body, "more_body": False}

    return asyncio.create_task(service.call("POST", path, receive=receive, **headers))


@pytest.fixture
async def busy(service: Any, monkeypatch: pytest.MonkeyPatch) -> Any:
    """A service whose explanations wait: a plain request is under way, and no time passes."""
    monkeypatch.setattr(explainer, "perf_counter", lambda: 0.0)
    service.lane = service.inference._batcher._lane(service.triton.newest)
    service.lane.under_way += 1
    monkeypatch.setattr(service.settings, "explain_masks", 20)
    return service


async def waits(service: Any, count: int = 1) -> None:
    """Until so many explanations have their plain answers, and wait."""
    await until(lambda: service.metrics.versions.total() == count)


async def test_a_large_file_is_let_go_once_it_is_decoded(busy: Any) -> None:
    form = b'--x\r\ncontent-disposition: form-data; name="file"\r\n\r\n' + LARGE + b"\r\n--x--\r\n"
    v1 = json.dumps({"instances": [{"image": {"b64": base64.b64encode(LARGE).decode()}}]}).encode()
    gone: list[bytes] = []
    tasks = [
        sent(busy, EXPLAINED, LARGE, gone, **PNG),
        sent(busy, EXPLAINED, form, gone, **{"content-type": "multipart/form-data; boundary=x"}),
        sent(busy, "/v1/models/cnn-image:explain", v1),
    ]
    await waits(busy, 3)
    assert busy.metrics.waiting_explanations() == 3
    assert busy.inference.held.count == 0
    await until(lambda: len(gone) == 2)  # a thread that took one apart may have it a moment longer
    busy.lane.under_way -= 1
    assert [(await task).status for task in tasks] == [200] * 3
    assert busy.inference.held.count == 0


async def test_two_that_fill_the_memory_keep_nobody_out(
    start_service: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(explainer, "perf_counter", lambda: 0.0)
    service = await start_service(max_held_bytes=2 * len(LARGE), explain_masks=10)
    lane = service.inference._batcher._lane(service.triton.newest)
    lane.under_way += 1
    tasks = [sent(service, EXPLAINED, LARGE, **PNG) for _ in range(2)]
    await waits(service, 2)
    lane.under_way -= 1
    assert (await sent(service, "/predict", LARGE, **PNG)).status == 200
    assert [(await task).status for task in tasks] == [200, 200]


async def test_a_refused_one_gives_back_what_it_held_once(busy: Any) -> None:
    reply = await sent(busy, EXPLAINED, LARGE[: len(LARGE) // 2], **PNG)
    assert (reply.status, reply.json()["code"]) == (400, "broken_image")
    assert busy.inference.held.count == 0


async def another(service: Any, model: Any) -> None:
    """Another version takes the place of the one that an explanation is of."""
    await waits(service)
    service.fake.model, service.fake.version = model, str(model.version)
    await service.triton.probe()
    service.lane.under_way -= 1


async def test_a_version_that_takes_pictures_alike_explains_a_large_one_too(
    busy: Any, small_model: Any
) -> None:
    task = sent(busy, EXPLAINED, LARGE, **PNG)
    await another(busy, type(small_model)(9))
    reply = await task
    assert (reply.status, reply.headers["x-model-version"]) == (200, "9")
    plain = await sent(busy, "/predict", LARGE, **PNG)
    assert reply.body.startswith(plain.body[:-1])


async def test_a_small_one_is_decoded_again_for_a_version_of_another_size(busy: Any) -> None:
    assert STRETCHED.contract.size != DEFAULT_CONTRACT.size
    task = sent(busy, EXPLAINED, SMALL, **PNG)
    await another(busy, STRETCHED)
    reply = await task
    assert (reply.status, reply.headers["x-model-version"]) == (200, "8")
    assert np.array(reply.json()["explanation"]["map"]).shape == (64, 64)
    plain = await sent(busy, "/predict", SMALL, **PNG)
    assert reply.body.startswith(plain.body[:-1])


async def test_of_a_large_one_it_is_said_that_it_has_to_be_sent_again(busy: Any) -> None:
    task = sent(busy, EXPLAINED, LARGE, **PNG)
    await another(busy, STRETCHED)
    reply = await task
    assert (reply.status, reply.json()["code"], reply.headers["retry-after"]) == (
        503,
        "model_unavailable",
        "2",
    )
    assert reply.json()["error"].endswith("the file is not kept that long; send it again.")


async def test_of_versions_side_by_side_one_that_was_decoded_for_explains(busy: Any, beside: Any) -> None:
    busy.lane.under_way -= 1
    await beside(STRETCHED)
    for _ in range(3):
        reply = await sent(busy, EXPLAINED, SMALL, **PNG)
        assert (reply.status, reply.headers["x-model-version"]) == (200, "8")
