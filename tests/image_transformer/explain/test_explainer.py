"""Explanations on a Triton that a test can hold up, through the routes."""

import asyncio
import base64
import json
from dataclasses import dataclass
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

from image_transformer.codecs.tensors import Images
from image_transformer.explain import explainer
from image_transformer.explain.masks import hidden
from image_transformer.explain.pace import Pace
from model.contract import DEFAULT_CONTRACT, Contract
from model.images.decode import decode_image

JPEG = {"content-type": "image/jpeg"}
KEYS = ["class_id", "class_name", "confidence", "probabilities", "filters_applied"]
EXPLAINED = ["class_id", "class_name", "version", "method", "masks", "standard_error", "map", "overlay"]


@dataclass
class Corner:
    """The more the upper left differs from the picture's mean, the surer is the last class."""

    version: int = 7
    written: Contract | None = None
    contract: Contract = DEFAULT_CONTRACT

    def probs(self, pixels: NDArray[np.uint8]) -> NDArray[np.float32]:
        last = 0.5 + np.abs(pixels[:, 4:12, 4:12].mean((1, 2, 3)) - pixels.mean((1, 2, 3))) / 255
        others = np.repeat((1 - last)[:, None] / 4, 4, axis=1)
        return np.concatenate([others, last[:, None]], axis=1).astype(np.float32)


async def until(happened: Any) -> None:
    async with asyncio.timeout(10):
        while not happened():  # noqa: ASYNC110
            await asyncio.sleep(0.001)


async def test_the_answer_has_one_key_more(service: Any, jpegs: list[bytes]) -> None:
    service.fake.model = Corner()
    plain = await service.call("POST", "/predict", jpegs[4], **JPEG)
    assert list(plain.json()) == KEYS
    reply = await service.call("POST", "/predict?explain=true", jpegs[4], **JPEG)
    assert (reply.status, reply.headers["x-model-version"]) == (200, "7")
    assert reply.body.startswith(plain.body[:-1] + b',"explanation":{')
    explanation = reply.json()["explanation"]
    assert list(explanation) == EXPLAINED
    told = {key: explanation[key] for key in EXPLAINED[:5]}
    assert told == {"class_id": 4, "class_name": "dog", "version": "7", "method": "rise", "masks": 500}
    values = np.array(explanation["map"])
    assert values.shape == (32, 32)
    row, column = divmod(int(values.argmax()), 32)
    assert 4 <= row < 12
    assert 4 <= column < 12
    assert values.max() > 10 * explanation["standard_error"]
    assert explanation["overlay"].startswith("data:image/png;base64,")
    assert service.metrics.versions == {"7": 2}
    assert service.metrics.masks == 500
    assert max(service.fake.calls) <= 8
    assert service.metrics.answers == {("/predict", 200): 1, ("/predict?explain=true", 200): 1}
    # The same picture has the same map.
    again = await service.call("POST", "/predict?explain=true", jpegs[4], **JPEG)
    assert again.body == reply.body


async def test_v1_explains_with_its_own_verb(service: Any, jpegs: list[bytes]) -> None:
    body = json.dumps({"instances": [{"image": {"b64": base64.b64encode(jpegs[0]).decode()}}]}).encode()
    reply = await service.call("POST", "/v1/models/cnn-image:explain", body)
    plain = await service.call("POST", "/v1/models/cnn-image:predict", body)
    assert list(reply.json()) == ["predictions", "explanations"]
    assert reply.json()["predictions"] == plain.json()["predictions"]
    (explanation,) = reply.json()["explanations"]
    assert list(explanation) == EXPLAINED
    assert reply.headers["x-model-version"] == explanation["version"] == "7"
    inputs = await service.call("POST", "/v1/models/cnn-image:explain", body.replace(b"instances", b"inputs"))
    assert list(inputs.json()) == ["outputs", "explanations"]
    other = await service.call("POST", "/v1/models/other:explain", body)
    assert (other.status, other.json()["code"]) == (404, "unknown_model")


@pytest.mark.parametrize(
    ("query", "body", "status", "code"),
    [
        ("explain=maybe", "one", 422, "invalid_request"),
        ("explain=", "one", 422, "invalid_request"),
        ("explain=true", "none", 400, "not_an_image"),
        ("explain=true", "broken", 400, "broken_image"),
        ("explain=true", "two", 413, "too_many_images"),
    ],
)
async def test_what_cannot_be_explained_is_told(
    service: Any, jpegs: list[bytes], query: str, body: str, status: int, code: str
) -> None:
    form = b"".join(
        b'--x\r\ncontent-disposition: form-data; name="file"\r\n\r\n' + jpeg + b"\r\n" for jpeg in jpegs[:2]
    )
    bodies = {"one": jpegs[0], "none": b"hello", "broken": jpegs[0][:300], "two": form + b"--x--\r\n"}
    kind = "multipart/form-data; boundary=x" if body == "two" else "image/jpeg"
    reply = await service.call("POST", f"/predict?{query}", bodies[body], **{"content-type": kind})
    assert (reply.status, reply.json()["code"]) == (status, code)
    assert service.metrics.masks == 0


async def test_false_is_plain(service: Any, jpegs: list[bytes]) -> None:
    for query in ("explain=false", "number=3", "explain=true&explain=false"):
        reply = await service.call("POST", f"/predict?{query}", jpegs[0], **JPEG)
        assert list(reply.json()) == KEYS
    assert service.metrics.answers == {("/predict", 200): 3}


async def test_it_can_be_switched_off_and_made_shorter(start_service: Any, jpegs: list[bytes]) -> None:
    service = await start_service(explain_masks=0)
    reply = await service.call("POST", "/predict?explain=true", jpegs[0], **JPEG)
    assert (reply.status, reply.json()["code"]) == (400, "not_offered")
    assert (await service.call("GET", "/info")).json()["limits"]["explain_masks"] == 0
    service = await start_service(explain_masks=20)
    reply = await service.call("POST", "/predict?explain=true", jpegs[0], **JPEG)
    assert reply.json()["explanation"]["masks"] == 20


async def test_so_many_wait_and_the_next_is_turned_away(start_service: Any, jpegs: list[bytes]) -> None:
    service = await start_service(explain_waiting=1, explain_masks=10)
    service.fake.answers.clear()
    tasks = [asyncio.create_task(service.inference.explain(Images(jpegs[:1]), lambda: True)) for _ in "ab"]
    await until(lambda: service.metrics.waiting_explanations() == 2)
    reply = await service.call("POST", "/predict?explain=true", jpegs[0], **JPEG)
    assert (reply.status, reply.json()["code"], reply.headers["retry-after"]) == (429, "overloaded", "1")
    service.fake.answers.set()
    assert [(await task).masks for task in tasks] == [10, 10]
    assert service.metrics.waiting_explanations() == 0


@dataclass
class Clock:
    """Time that passes when a test says so."""

    now: float = 0.0

    def __call__(self) -> float:
        return self.now


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> Clock:
    clock = Clock()
    monkeypatch.setattr(explainer, "perf_counter", clock)
    return clock


async def test_plain_requests_go_first(start_service: Any, jpegs: list[bytes], clock: Clock) -> None:
    """While one is under way at the only Triton, no mask is sent at once; and one call of them at a time."""
    service = await start_service(explain_masks=60, explain_seconds=1)
    service.inference._batcher._lane(service.triton.newest).under_way += 1  # what Triton does not answer
    reply = await service.call("POST", "/predict?explain=true", jpegs[0], **JPEG)
    assert (reply.status, reply.json()["code"]) == (503, "explanation_timeout")
    assert reply.headers["retry-after"] == "5"
    assert service.fake.calls == [1]  # its own plain answer
    assert service.metrics.waiting_explanations() == 0
    service = await start_service(explain_masks=60)
    service.fake.most_waiting = 0
    assert (await service.inference.explain(Images(jpegs[:1]), lambda: True)).masks == 60
    assert service.fake.most_waiting == 1


@pytest.mark.parametrize(("plain", "most"), [(1, 1), (6, 6), (32, 8)])
async def test_it_ends_though_plain_requests_never_pause(
    start_service: Any,
    jpegs: list[bytes],
    clock: Clock,
    monkeypatch: pytest.MonkeyPatch,
    plain: int,
    most: int,
) -> None:
    """Its calls are no larger than theirs, and have about a tenth of the time."""
    service = await start_service(explain_masks=100)
    lane = service.inference._batcher._lane(service.triton.newest)
    lane.under_way, lane.asked = 2, 2 * plain  # what Triton does not answer
    infer = service.triton.infer

    def slow(*args: Any, **options: Any) -> None:
        clock.now += 0.005 if service.fake.calls else 0
        infer(*args, **options)

    def looks() -> bool:
        clock.now += 0.01
        return True

    monkeypatch.setattr(service.triton, "infer", slow)
    explanation = await service.inference.explain(Images(jpegs[:1]), looks)
    calls = service.fake.calls[1:]
    assert explanation.masks == sum(calls) == 100
    assert max(calls) == most
    assert 0.05 * len(calls) < clock.now < 0.06 * len(calls) + 0.1


async def test_none_is_sent_while_plain_requests_are_turned_away(
    start_service: Any, jpegs: list[bytes], clock: Clock
) -> None:
    service = await start_service(max_queued_images=4)
    looks = 0

    def alive() -> bool:
        nonlocal looks
        if service.metrics.masks:
            service.inference._batcher._queued = 4
            clock.now += 1
            looks += 1
        return looks < 20

    task = asyncio.create_task(service.inference.explain(Images(jpegs[:1]), alive))
    await asyncio.wait((task,))
    assert type(task.exception()).__name__ == "ClientGoneError"
    assert service.metrics.masks == 1


@pytest.mark.parametrize(("others", "seconds", "whole"), [(0, 26, True), (0, 28, False), (1, 14, False)])
async def test_where_its_time_is_over_it_says_what_it_knows(
    service: Any, jpegs: list[bytes], clock: Clock, others: int, seconds: float, whole: bool
) -> None:
    """With others that wait its time is shared with them; fewer than a hundred masks make no map."""
    clock.now = -seconds
    service.inference._explainer.waiting += others

    def alive() -> bool:
        clock.now = 0.0 if service.metrics.masks > 50 else clock.now
        return True

    explanation = await service.inference.explain(Images(jpegs[:1]), alive)
    assert explanation.masks == service.metrics.masks
    assert (explanation.masks == 500) is whole
    assert explanation.masks >= 100
    assert explanation.error > 0


async def test_the_time_it_waits_for_its_turn_is_of_its_own(
    service: Any, jpegs: list[bytes], clock: Clock
) -> None:
    turn = service.inference._explainer._turn
    await turn.acquire()

    def alive() -> bool:
        clock.now = 28.0 if service.metrics.masks > 150 else clock.now
        return True

    task = asyncio.create_task(service.inference.explain(Images(jpegs[:1]), alive))
    await until(lambda: service.fake.calls == [1])
    clock.now = 20.0
    turn.release()
    assert 150 < (await task).masks < 200


async def test_who_hangs_up_in_the_line_has_no_part_of_the_time(service: Any, jpegs: list[bytes]) -> None:
    turn, here = service.inference._explainer._turn, True
    await turn.acquire()
    task = asyncio.create_task(service.inference.explain(Images(jpegs[:1]), lambda: here))
    await until(lambda: service.fake.calls == [1])
    here = False
    async with asyncio.timeout(10):
        await asyncio.wait((task,))
    assert type(task.exception()).__name__ == "ClientGoneError"
    assert service.metrics.waiting_explanations() == 0
    turn.release()
    assert (await service.inference.explain(Images(jpegs[:1]), lambda: True)).masks == 500


def test_what_is_learned_beside_plain_requests_says_nothing_of_a_gap() -> None:
    """Their images are made fast, but a call takes Triton long: in a gap it begins with one again."""
    pace = Pace(0.0)
    for now in range(1, 6):
        size = pace.masks(now, 32)
        assert size == min(8, 2 ** (now - 1))
        pace.sent(size, now, now + 0.0001, now + 0.01, beside=True)
    assert pace.masks(6, None) == 1
    pace.sent(1, 6, 6.0001, 6.0102, beside=False)
    assert (pace.masks(6.2, None), pace.masks(6.2, 32), pace.masks(6.2, 3)) == (1, 8, 3)
    pace.sent(3, 6.2, 6.2001, 6.21, beside=True)
    assert pace.masks(7, 32) == 8


@pytest.mark.parametrize(("milliseconds", "most"), [(0.1, 8), (3.0, 1)])
async def test_images_that_take_long_to_make_go_one_by_one(
    service: Any, jpegs: list[bytes], monkeypatch: pytest.MonkeyPatch, milliseconds: float, most: int
) -> None:
    """Eight of 224 pixels take longer to make here than a fast Triton takes to answer them."""
    clock = 0.0

    def made(picture: Any, masks: Any) -> Any:
        nonlocal clock
        clock += len(masks) * milliseconds / 1000
        return hidden(picture, masks)

    monkeypatch.setattr(explainer, "hidden", made)
    monkeypatch.setattr(explainer, "perf_counter", lambda: clock)
    await service.inference.explain(Images(jpegs[:1]), lambda: True)
    assert max(service.fake.calls) == most


async def test_nothing_is_asked_for_who_has_hung_up(service: Any, jpegs: list[bytes]) -> None:
    def alive() -> bool:
        return service.metrics.masks < 30

    task = asyncio.create_task(service.inference.explain(Images(jpegs[:1]), alive))
    await asyncio.wait((task,))
    assert type(task.exception()).__name__ == "ClientGoneError"
    assert 30 <= service.metrics.masks < 40


async def test_who_hangs_up_while_plain_requests_go_first_holds_no_place(
    service: Any, jpegs: list[bytes]
) -> None:
    """Under load no mask is sent, for as long as it lasts: that must not keep the next one waiting."""
    here = True
    lane = service.inference._batcher._lane(service.triton.newest)
    task = asyncio.create_task(service.inference.explain(Images(jpegs[:1]), lambda: here))
    await until(lambda: service.metrics.masks > 0)
    lane.under_way += 1  # a call that Triton does not answer
    here = False
    async with asyncio.timeout(10):
        await asyncio.wait((task,))
    assert type(task.exception()).__name__ == "ClientGoneError"
    assert service.metrics.waiting_explanations() == 0
    lane.under_way -= 1


async def test_the_version_that_answers_is_the_one_that_is_explained(
    service: Any, beside: Any, jpegs: list[bytes]
) -> None:
    """The version goes while it is explained: the next one answers, and its answer is explained, whole."""
    task = asyncio.create_task(service.inference.explain(Images(jpegs[:1]), lambda: True))
    await until(lambda: service.metrics.masks > 100)
    nine = Corner(9)
    service.fake.model, service.fake.version = nine, "9"
    explanation = await task
    assert (explanation.answer.version, explanation.masks, explanation.class_id) == ("9", 500, 4)
    wanted = nine.probs(decode_image(jpegs[0])[None])
    np.testing.assert_array_equal(explanation.answer.probs, wanted)
    assert 4 <= explanation.map.argmax() // 32 < 12
