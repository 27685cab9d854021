"""CloudEvents by their own SDK, on v1 and v2: whoever asks by an event is answered by one."""

import base64
import json
from typing import Any

import numpy as np
import pytest
from cloudevents.conversion import to_binary, to_structured
from cloudevents.http import CloudEvent, from_http

from model.images.decode import decode_image

V1 = "/v1/models/cnn-image:predict"
V2 = "/v2/models/cnn-image/infer"
ATTRIBUTES = {"type": "shop.picture", "source": "https://shop.example/pictures", "id": "36", "team": "blue"}
FORMS = {"binary": to_binary, "structured": to_structured}


def data_of(path: str, image: bytes) -> dict[str, Any]:
    text = base64.b64encode(image).decode()
    if path == V1:
        return {"instances": [{"image": {"b64": text}}]}
    return {"inputs": [{"name": "image", "datatype": "BYTES", "shape": [1], "data": [text]}]}


async def asked(service: Any, path: str, event: CloudEvent, form: str, **more: str) -> Any:
    headers, body = FORMS[form](event)
    reply = await service.call("POST", path, body, **{"content-type": "application/json", **headers, **more})
    return reply, from_http(reply.headers, reply.body) if reply.status == 200 else None


@pytest.mark.parametrize("form", FORMS)
@pytest.mark.parametrize("path", [V1, V2, "/v2/models/cnn-image/versions/7/infer"])
async def test_an_event_is_answered_by_one(
    path: str, form: str, service: Any, small_model: Any, jpegs: list[bytes]
) -> None:
    event = CloudEvent(ATTRIBUTES, data_of(path, jpegs[0]))
    reply, answer = await asked(service, path, event, form)
    assert reply.status == 200, reply.body
    assert (answer["type"], answer["source"]) == (
        "io.kserve.inference.response",
        "io.kserve.inference.cnn-image",
    )
    assert answer["specversion"] == "1.0"
    assert answer["id"] not in {"", "36"}
    assert answer["time"]
    assert "team" not in answer.get_attributes()
    assert reply.headers["content-type"] == (
        "application/json" if form == "binary" else "application/cloudevents+json"
    )
    assert reply.headers["x-model-version"] == "7"
    told = answer.data["predictions"][0] if path == V1 else answer.data["outputs"][0]["data"]
    assert np.allclose(told, small_model.probs(decode_image(jpegs[0])[None])[0], atol=1e-6)
    # The data are what the same request gets without an envelope.
    plain = await service.call("POST", path, json.dumps(event.data).encode())
    assert answer.data == plain.json()


async def test_binary_tensors_come_back_in_base64(service: Any, small_model: Any, jpegs: list[bytes]) -> None:
    data = data_of(V2, jpegs[0]) | {"outputs": [{"name": "probs", "parameters": {"binary_data": True}}]}
    reply, answer = await asked(service, V2, CloudEvent(ATTRIBUTES, data), "structured")
    assert answer["datacontenttype"] == "application/octet-stream"
    length = int(reply.headers["inference-header-content-length"])
    assert json.loads(answer.data[:length])["outputs"][0]["parameters"] == {"binary_data_size": 20}
    assert np.allclose(
        np.frombuffer(answer.data[length:], "<f4"), small_model.probs(decode_image(jpegs[0])[None])[0]
    )


async def test_binary_tensors_are_taken_in_base64(service: Any, jpegs: list[bytes]) -> None:
    tensor = {"name": "image", "datatype": "BYTES", "shape": [1]}
    tensor["parameters"] = {"binary_data_size": len(jpegs[0]) + 4}  # type: ignore[assignment]
    head = json.dumps({"inputs": [tensor]}).encode()
    data = head + len(jpegs[0]).to_bytes(4, "little") + jpegs[0]
    event = CloudEvent(ATTRIBUTES | {"datacontenttype": "application/octet-stream"}, data)
    length = {"inference-header-content-length": str(len(head))}
    for form in FORMS:
        reply, answer = await asked(service, V2, event, form, **length)
        assert reply.status == 200, reply.body
        assert answer.data["outputs"][0]["shape"] == [1, 5]


@pytest.mark.parametrize("form", FORMS)
async def test_kserves_variables_choose_the_attributes(
    form: str, service: Any, jpegs: list[bytes], monkeypatch: pytest.MonkeyPatch
) -> None:
    for name, value in {"CE_MERGE": "true", "CE_TYPE": "shop.class", "CE_SOURCE": "shop.classes"}.items():
        monkeypatch.setenv(name, value)
    event = CloudEvent(ATTRIBUTES, data_of(V1, jpegs[0]))
    del event["time"]  # optional, and KServe's code deletes it
    _, answer = await asked(service, V1, event, form)
    assert {answer[name] for name in ("type", "source", "team")} == {"shop.class", "shop.classes", "blue"}
    assert answer["id"] not in {"", "36"}


@pytest.mark.parametrize(
    ("changes", "sentence"),
    [
        ({"source": None}, "The event has no `source`; CloudEvents ask for specversion, id, source, type."),
        ({"id": ""}, "The event has no `id`; CloudEvents ask for specversion, id, source, type."),
        ({"specversion": "2.0"}, "The event's `specversion` is '2.0'; send 1.0 or 0.3."),
        ({"data": None, "data_base64": "%"}, "The event's `data_base64` is not base64; encode the data so."),
        ({"data": ...}, "The event has no `data`; put the request into it."),
        ({"data": "picture"}, "The body is not a JSON object; send one."),
    ],
    ids=str,
)
async def test_what_is_wrong_with_an_event_is_said(
    changes: dict[str, Any], sentence: str, service: Any
) -> None:
    event = {"specversion": "1.0", **ATTRIBUTES, "data": {"instances": []}, **changes}
    body = json.dumps({name: value for name, value in event.items() if value is not ...}).encode()
    reply = await service.call(
        "POST", V1, body, **{"content-type": "application/cloudevents+json; charset=UTF-8"}
    )
    assert (reply.status, reply.json()["error"]) == (422, sentence)


async def test_a_picture_at_fault_is_named_as_ever(service: Any) -> None:
    for form in FORMS:
        reply, _ = await asked(service, V1, CloudEvent(ATTRIBUTES, data_of(V1, b"no picture")), form)
        assert (reply.status, reply.json()["code"]) == (400, "not_an_image")
        assert reply.headers["content-type"] == "application/json"


async def test_headers_alone_say_what_is_missing(service: Any) -> None:
    reply = await service.call("POST", V1, b"{}", **{"ce-specversion": "1.0", "ce-id": "1"})
    assert reply.json()["error"].startswith("The event has no `source`")
