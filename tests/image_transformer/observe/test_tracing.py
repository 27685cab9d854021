"""Traces: passed on to Triton and named in the log; OpenTelemetry's spans where a collector is named."""

import asyncio
import base64
import json
import logging
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import grpc
import httpx
import pytest
from kserve.protocol.grpc import grpc_predict_v2_pb2 as pb
from kserve.protocol.grpc import grpc_predict_v2_pb2_grpc as stubs
from machine import wait_until
from otlp import Collector, attributes, collecting
from serving import SmallModel, StartTransformer, StartTriton

from image_transformer.observe.tracing import Tracing, configured

IDENTITY = "4bf92f3577b34da6a3ce929d0e0e4736"
PARENT = f"00-{IDENTITY}-00f067aa0ba902b7-01"
JPEG = {"content-type": "image/jpeg"}
V1 = "/v1/models/cnn-image:predict"


@pytest.fixture
def collector(monkeypatch: pytest.MonkeyPatch) -> Iterator[Collector]:
    with collecting() as collector:
        monkeypatch.setenv("OTEL_EXPORTER_OTLP_ENDPOINT", collector.address)
        monkeypatch.setenv("OTEL_BSP_SCHEDULE_DELAY", "20")
        yield collector


async def called(service: Any, images: int) -> None:
    while sum(service.fake.calls) < images:  # noqa: ASYNC110 - there is no event
        await asyncio.sleep(0)


def several(images: list[bytes], count: int) -> bytes:
    texts = [base64.b64encode(images[number % len(images)]).decode() for number in range(count)]
    return json.dumps({"instances": texts}).encode()


async def test_a_trace_goes_on_to_triton(service: Any, jpegs: list[bytes]) -> None:
    await service.call("POST", "/predict", jpegs[0], traceparent=PARENT, **JPEG)
    assert service.fake.traces == [PARENT]
    await service.call("POST", "/predict", jpegs[0], **JPEG)
    assert service.fake.traces == [PARENT, None]
    # All calls of a request that takes several.
    await service.call("POST", V1, several(jpegs, 20), traceparent=PARENT)
    assert service.fake.traces[2:] == [PARENT] * len(service.fake.calls[2:])


async def test_a_call_for_several_requests_names_no_trace(service: Any, jpegs: list[bytes]) -> None:
    """None of them could say that all of it is theirs."""
    service.fake.answers.clear()
    parents = [f"00-{number:032x}-00f067aa0ba902b7-01" for number in range(1, 8)]
    asked = asyncio.gather(
        *(service.call("POST", "/predict", jpegs[0], traceparent=parent, **JPEG) for parent in parents)
    )
    await called(service, images=3)
    service.fake.answers.set()
    assert [reply.status for reply in await asked] == [200] * 7
    assert sum(service.fake.calls) == 7
    for count, trace in zip(service.fake.calls, service.fake.traces, strict=True):
        assert (trace in parents) if count == 1 else trace is None


@pytest.mark.parametrize(
    "parent",
    [
        *("", "00", PARENT.upper(), PARENT[:-1], PARENT + "-more", "ff" + PARENT[2:], "0" + PARENT),
        *(PARENT.replace(IDENTITY, "0" * 32), PARENT.replace("00f067aa0ba902b7", "0" * 16)),
    ],
)
def test_what_is_no_trace_is_not_passed_on(parent: str) -> None:
    assert Tracing().begin("/predict", {b"traceparent": parent.encode()}) is None


def test_a_later_version_of_the_standard_is_passed_on_with_its_state() -> None:
    parent = ("cc" + PARENT[2:] + "-what-comes").encode()
    trace = Tracing().begin("/predict", {b"traceparent": parent, b"tracestate": b"shop=1,other=2"})
    assert trace is not None
    assert (trace.id, trace.head) == (
        IDENTITY,
        b"traceparent: " + parent + b"\r\ntracestate: shop=1,other=2\r\n",
    )


async def test_the_log_names_the_trace(
    service: Any, jpegs: list[bytes], caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.INFO, "image_transformer")
    await service.call("POST", "/predict", b"no picture", traceparent=PARENT, **JPEG)
    await service.call("POST", "/predict", b"no picture", **JPEG)
    traced, other = (vars(record) for record in caplog.records if record.__dict__.get("code"))
    assert traced["trace_id"] == IDENTITY
    assert "trace_id" not in other


async def test_each_part_of_a_request_is_a_span(
    start_service: Any, collector: Collector, jpegs: list[bytes]
) -> None:
    service = await start_service()
    tracing = service.routes._observer.tracing = configured("cnn-image")
    headers = {"traceparent": PARENT, "tracestate": "shop=1"}
    assert (await service.call("POST", V1, several(jpegs, 20), **headers)).status == 200
    assert (await service.call("POST", "/predict", b"no picture", **headers, **JPEG)).status == 400
    assert (await service.call("GET", "/health", **headers)).status == 200
    await asyncio.to_thread(tracing.close)

    whole, failed = collector.named(f"POST {V1}", "POST /predict")
    assert whole.trace_id.hex() == failed.trace_id.hex() == IDENTITY
    assert whole.parent_span_id.hex() == "00f067aa0ba902b7"
    assert whole.kind == whole.SPAN_KIND_SERVER
    assert attributes(whole) == {
        "http.request.method": "POST",
        "http.route": V1,
        "http.response.status_code": 200,
    }
    assert attributes(failed)["error.type"] == "not_an_image"
    assert failed.status.code == failed.status.STATUS_CODE_UNSET, "the client's fault"

    (decode,) = (span for span in collector.named("decode") if span.parent_span_id == whole.span_id)
    assert attributes(decode)["images"] == 20
    queues, calls = collector.named("queue"), collector.named("triton")
    assert sum(attributes(span)["images"] for span in queues) == 20
    assert [attributes(span)["images"] for span in calls] == service.fake.calls
    for span in [decode, *queues, *calls]:
        assert (span.trace_id, span.parent_span_id) == (whole.trace_id, whole.span_id)
        assert whole.start_time_unix_nano - 1_000_000 <= span.start_time_unix_nano <= span.end_time_unix_nano
        assert span.end_time_unix_nano <= whole.end_time_unix_nano + 1_000_000
    # Triton is told of the very call.
    told = [trace.split("-")[1:3] for trace in service.fake.traces]
    assert told == [[IDENTITY, span.span_id.hex()] for span in calls]
    assert {span.name for span in collector.spans} == {
        f"POST {V1}",
        "POST /predict",
        "decode",
        "queue",
        "triton",
    }
    assert collector.resources[0].items() >= {"service.name": "cnn-image", "service.version": "0.1.0"}.items()


async def test_a_call_for_several_requests_is_linked_with_each(
    start_service: Any, collector: Collector, jpegs: list[bytes]
) -> None:
    service = await start_service(calls_in_flight=1)
    tracing = service.routes._observer.tracing = configured("cnn-image")
    service.fake.answers.clear()
    asked = asyncio.gather(*(service.call("POST", "/predict", jpegs[0], **JPEG) for _ in range(4)))
    await called(service, images=1)
    late = asyncio.gather(*(service.call("POST", "/predict", jpegs[0], **JPEG) for _ in range(3)))
    await asyncio.sleep(0)
    service.fake.answers.set()
    assert {reply.status for reply in [*await asked, *await late]} == {200}
    await asyncio.to_thread(tracing.close)

    batches = collector.named("triton batch")
    assert [attributes(batch)["images"] for batch in batches] == [
        count for count in service.fake.calls if count > 1
    ]
    requests = {span.span_id: span for span in collector.named("POST /predict")}
    assert len({span.trace_id for span in requests.values()}) == 7
    linked = [link.span_id for batch in batches for link in batch.links]
    assert set(linked) <= set(requests)
    assert len(linked) == sum(attributes(batch)["requests"] for batch in batches)
    told = {trace.split("-")[2] for trace in service.fake.traces}
    for batch in batches:
        own = [
            span
            for span in collector.named("triton")
            if span.links and span.links[0].span_id == batch.span_id
        ]
        assert {span.parent_span_id for span in own} == {link.span_id for link in batch.links}
        assert batch.trace_id not in {span.trace_id for span in own}
        assert batch.span_id.hex() in told


async def test_a_failed_call_is_marked(start_service: Any, collector: Collector, jpegs: list[bytes]) -> None:
    service = await start_service(triton_seconds=0.2)
    tracing = service.routes._observer.tracing = configured("cnn-image")
    service.fake.answers.clear()
    assert (await service.call("POST", "/predict", jpegs[0], **JPEG)).status == 504
    await asyncio.to_thread(tracing.close)
    for span in collector.named("triton", "POST /predict"):
        assert span.status.code == span.status.STATUS_CODE_ERROR
    assert attributes(collector.named("POST /predict")[0])["error.type"] == "model_timeout"


NOT_LOADED = """
import sys
import image_transformer.server
from image_transformer.observe.tracing import Tracing, configured
assert type(configured("cnn-image")) is Tracing
# The small package `opentelemetry-api` is loaded by fastapi itself.
heavy = tuple(f"opentelemetry.{part}" for part in ("sdk", "exporter", "proto"))
print([name for name in sys.modules if name.startswith((*heavy, "image_transformer.observe.spans"))])
"""


@pytest.mark.parametrize(
    "more", [{}, {"OTEL_EXPORTER_OTLP_ENDPOINT": "http://a", "OTEL_SDK_DISABLED": "true"}]
)
def test_without_a_collector_nothing_of_opentelemetry_is_loaded(
    more: dict[str, str], monkeypatch: pytest.MonkeyPatch
) -> None:
    for name, text in more.items():
        monkeypatch.setenv(name, text)
    done = subprocess.run(
        [sys.executable, "-c", NOT_LOADED], check=True, capture_output=True, text=True, timeout=120
    )
    assert done.stdout == "[]\n"


def length(image: bytes) -> bytes:
    return len(image).to_bytes(4, "little")


# Triton's own spans, by flags that the laptop's has no need of.
TRACING_TRITON = """
from triton_server import launch
from triton_server.__main__ import main
made = launch.command
flags = ["mode=opentelemetry", "rate=1", "level=TIMESTAMPS", "opentelemetry,url={address}/v1/traces"]
launch.command = lambda *given: [*made(*given), *(f"--trace-config={{flag}}" for flag in flags)]
main()
"""


@pytest.mark.slow
def test_a_client_the_service_and_a_real_triton_are_one_trace(
    small_model: SmallModel,
    start_triton: StartTriton,
    start_transformer: StartTransformer,
    collector: Collector,
    jpegs: list[bytes],
    tmp_path: Path,
) -> None:
    small_model.write(tmp_path)
    triton = start_triton(tmp_path, program=("-c", TRACING_TRITON.format(address=collector.address)))
    transformer = start_transformer(triton.address, environment={"OTEL_SERVICE_NAME": "pictures"})
    headers = {**JPEG, "traceparent": PARENT}
    answer = httpx.post(transformer.url + "/predict", content=jpegs[0], headers=headers)
    assert answer.status_code == 200
    wait_until(
        lambda: bool(collector.named("POST /predict") and collector.named("InferRequest")),
        "the request's spans",
    )
    ours = collector.named("POST /predict", "decode", "queue", "triton")
    assert sorted(span.name for span in ours) == ["POST /predict", "decode", "queue", "triton"]
    (call,) = collector.named("triton")
    (asked,) = collector.named("InferRequest")
    assert asked.parent_span_id == call.span_id
    assert {span.trace_id.hex() for span in [*ours, asked]} == {IDENTITY}
    # Over gRPC the trace is in the metadata.
    message = pb.ModelInferRequest(model_name="cnn-image", raw_input_contents=[length(jpegs[0]) + jpegs[0]])
    message.inputs.add(name="image", datatype="BYTES", shape=[1])
    with grpc.insecure_channel(f"127.0.0.1:{transformer.grpc_port}") as channel:
        stubs.GRPCInferenceServiceStub(channel).ModelInfer(message, metadata=[("traceparent", PARENT)])
    over_grpc = "inference.GRPCInferenceService/ModelInfer"
    wait_until(lambda: bool(collector.named(over_grpc)), "the call's span")
    (called,) = collector.named(over_grpc)
    assert (called.trace_id.hex(), called.parent_span_id.hex()) == (IDENTITY, "00f067aa0ba902b7")
    assert attributes(called) == {"rpc.system": "grpc"}
    assert "pictures" in {resource["service.name"] for resource in collector.resources}
    # What is still to be sent goes out at the end.
    httpx.post(transformer.url + "/predict", content=b"no", headers=headers)
    transformer.process.terminate()
    transformer.process.wait(60)
    assert len(collector.named("POST /predict")) == 2
