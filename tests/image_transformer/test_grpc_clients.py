"""Other people's gRPC clients against the service and a real Triton behind it."""

import asyncio
import base64
import json
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import grpc
import numpy as np
import psutil
import pytest
from grpc import aio
from grpc_health.v1 import health_pb2, health_pb2_grpc
from machine import program, wait_until
from over_grpc import SERVICE, method, request
from serving import (
    RunningTransformer,
    RunningTriton,
    SmallModel,
    StartTransformer,
    transformers,
    tritons,
    write_filters,
)

from export.graph.triton_config import CPU_1, filters_config
from image_transformer.grpc import inference_pb2 as pb
from kserve import InferenceGRPCClient, InferInput, InferRequest
from model.contract import CLASSES
from model.images.decode import decode_image

pytestmark = pytest.mark.slow

PROGRAMS = Path(__file__).parent / "clients"
FILTERS = "cnn-image-filters"
GRPCURL = "go install github.com/fullstorydev/grpcurl/cmd/grpcurl@v1.9.4"
PROBE = "go install github.com/grpc-ecosystem/grpc-health-probe@v0.4.63"


@pytest.fixture(scope="module")
def triton(small_model: SmallModel, tmp_path_factory: pytest.TempPathFactory) -> Iterator[RunningTriton]:
    """One that has the classifier and the filters, as every version brings them."""
    repository = tmp_path_factory.mktemp("repository")
    small_model.write(repository)
    folder = repository / FILTERS / str(small_model.version)
    folder.mkdir(parents=True)
    write_filters(folder / "model.onnx")
    (repository / FILTERS / "config.pbtxt").write_text(filters_config(CPU_1, {}).to_pbtxt())
    with tritons(tmp_path_factory.mktemp("triton")) as start:
        yield start(repository)


@pytest.fixture(scope="module")
def transformer(
    triton: RunningTriton, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[RunningTransformer]:
    with transformers(tmp_path_factory.mktemp("transformer")) as start:
        yield start(triton.address)


def run(*command: object) -> subprocess.CompletedProcess[str]:
    return subprocess.run(list(map(str, command)), capture_output=True, text=True, timeout=120, check=False)


@pytest.mark.parametrize("script", ["triton_grpc.py", "triton_grpc_aio.py"])
def test_tritonclient(script: str, transformer: RunningTransformer) -> None:
    """In a process of its own: its descriptors and kserve's cannot be imported into one."""
    done = run(sys.executable, PROGRAMS / script, f"127.0.0.1:{transformer.grpc_port}")
    assert done.returncode == 0, done.stderr[-3000:]


async def test_kserves_client(
    transformer: RunningTransformer, jpegs: list[bytes], small_model: SmallModel
) -> None:
    """With its defaults; with `retries=1` grpc's core refuses the policy that the client makes of it."""
    image = InferInput("image", [len(jpegs)], "BYTES")
    image.set_data_from_numpy(np.array(jpegs, dtype=object), binary_data=True)
    asked = InferRequest("cnn-image", [image], request_id="mine")
    address = f"127.0.0.1:{transformer.grpc_port}"
    async with InferenceGRPCClient(address) as client:
        assert await client.is_server_live()
        assert await client.is_server_ready()
        assert await client.is_model_ready("cnn-image")
        answer = await client.infer(asked)
    pixels = np.stack([decode_image(jpeg) for jpeg in jpegs])
    probs = np.reshape(answer.outputs[0].as_numpy(), (-1, 5))
    np.testing.assert_allclose(probs, small_model.probs(pixels), atol=1e-5)
    async with InferenceGRPCClient(address, retries=1) as client:
        with pytest.raises(aio.AioRpcError) as raised:
            await client.is_server_live()
        assert raised.value.code() is grpc.StatusCode.INVALID_ARGUMENT
        assert "maxAttempts" in str(raised.value.debug_error_string())
    async with InferenceGRPCClient(address, retries=0) as client:
        assert await client.is_server_live()


def test_grpcurl(transformer: RunningTransformer, jpegs: list[bytes], small_model: SmallModel) -> None:
    """It knows nothing of the service but what reflection tells it."""
    address = f"127.0.0.1:{transformer.grpc_port}"
    command = (program("grpcurl", GRPCURL), "-plaintext")
    services = run(*command, address, "list").stdout.split()
    assert services == [
        "grpc.health.v1.Health",
        "grpc.reflection.v1alpha.ServerReflection",
        "inference.GRPCInferenceService",
    ]
    assert "rpc ModelStreamInfer ( stream" in run(*command, address, "describe", services[2]).stdout
    message = json.dumps(
        {
            "model_name": "cnn-image",
            "id": "mine",
            "inputs": [
                {
                    "name": "image",
                    "datatype": "BYTES",
                    "shape": [1],
                    "contents": {"bytes_contents": [base64.b64encode(jpegs[0]).decode()]},
                }
            ],
            "outputs": [{"name": "class_name"}],
        }
    )
    best = CLASSES[int(small_model.probs(decode_image(jpegs[0])[np.newaxis]).argmax())]
    for name in ("ModelInfer", "ModelStreamInfer"):
        done = run(*command, "-d", message, address, f"{services[2]}/{name}")
        assert done.returncode == 0, done.stderr
        answer = json.loads(done.stdout)
        answer = answer.get("infer_response", answer)
        assert answer["id"] == "mine"
        (name_of_class,) = answer["outputs"][0]["contents"]["bytes_contents"]
        assert base64.b64decode(name_of_class).decode() == best
    done = run(*command, "-d", '{"service": "other"}', address, "grpc.health.v1.Health/Check")
    assert "NotFound" in done.stderr


def test_grpc_health_probe(transformer: RunningTransformer) -> None:
    address = f"127.0.0.1:{transformer.grpc_port}"
    command = (program("grpc-health-probe", PROBE), "-addr", address)
    for service in ("", "inference.GRPCInferenceService", "cnn-image"):
        done = run(*command, "-service", service)
        assert (done.returncode, done.stderr.strip()) == (0, "status: SERVING")
    done = run(*command, "-service", "other")
    assert done.returncode == 3
    assert "NotFound" in done.stderr


@pytest.mark.parametrize("algorithm", [grpc.Compression.Gzip, grpc.Compression.Deflate])
def test_a_compressed_message_is_refused_and_never_unfolded(
    transformer: RunningTransformer, algorithm: grpc.Compression
) -> None:
    """60 MB that are 60 kB on the wire, which the service would take uncompressed."""
    process = psutil.Process(transformer.process.pid)
    message = pb.ModelInferRequest(raw_input_contents=[bytes(60_000_000)]).SerializeToString()
    options = (("grpc.max_send_message_length", -1),)
    with grpc.insecure_channel(f"127.0.0.1:{transformer.grpc_port}", options) as channel:
        before = process.memory_info().rss
        for _ in range(3):
            with pytest.raises(grpc.RpcError) as raised:
                channel.unary_unary(f"/{SERVICE.full_name}/ModelInfer")(message, compression=algorithm)
            assert raised.value.code() is grpc.StatusCode.UNIMPLEMENTED
            assert raised.value.details().endswith("is disabled.")
            call = channel.stream_stream(f"/{SERVICE.full_name}/ModelStreamInfer")
            with pytest.raises(grpc.RpcError) as raised:
                next(call(iter([message]), compression=algorithm))
            assert raised.value.code() is grpc.StatusCode.UNIMPLEMENTED
            assert process.memory_info().rss - before < 20_000_000
    assert transformer.healthy()


async def test_a_silent_stream_keeps_nothing_of_what_it_was_sent(
    transformer: RunningTransformer, jpegs: list[bytes]
) -> None:
    process = psutil.Process(transformer.process.pid)
    large = request(jpegs[0] + bytes(10_000_000))  # what follows a JPEG's end is nothing to a decoder
    options = (("grpc.max_send_message_length", -1),)
    async with aio.insecure_channel(f"127.0.0.1:{transformer.grpc_port}", options) as channel:
        streams = []
        for number in range(20):
            streams.append(method(channel, "ModelStreamInfer")())
            await streams[-1].write(large)
            assert not (await streams[-1].read()).error_message
            if number == 0:
                before = process.memory_info().rss
        assert process.memory_info().rss - before < 80_000_000


async def test_a_stream_outlives_the_age_of_its_connection_and_ends_with_the_service(
    triton: RunningTriton, start_transformer: StartTransformer, jpegs: list[bytes]
) -> None:
    running = start_transformer(triton.address, grpc_connection_seconds=0.3)
    async with aio.insecure_channel(f"127.0.0.1:{running.grpc_port}") as channel:
        health = health_pb2_grpc.HealthStub(channel)
        watch = health.Watch(health_pb2.HealthCheckRequest())
        stream = method(channel, "ModelStreamInfer")()
        left, connected = 0, False
        async with asyncio.timeout(60):
            while left < 3:
                await stream.write(request(jpegs[0], str(left)))
                answer = await stream.read()
                assert (answer.infer_response.id, answer.error_message) == (str(left), "")
                await method(channel, "ServerLive")(b"")
                ready = channel.get_state() is grpc.ChannelConnectivity.READY
                left += connected and not ready
                connected = ready
        assert (await watch.read()).status == health_pb2.HealthCheckResponse.SERVING
        running.process.send_signal(signal.SIGTERM)
        async with asyncio.timeout(60):
            assert (await watch.read()).status == health_pb2.HealthCheckResponse.NOT_SERVING
            checked = await health.Check(health_pb2.HealthCheckRequest(service="cnn-image"))
            assert checked.status == health_pb2.HealthCheckResponse.NOT_SERVING
            await stream.write(request(jpegs[0], "after"))
            answer = await stream.read()
            assert (answer.infer_response.id, answer.error_message) == ("after", "")
            for call in (watch, stream):
                with pytest.raises(aio.AioRpcError) as raised:
                    await call.read()
                assert raised.value.code() is grpc.StatusCode.UNAVAILABLE
    wait_until(lambda: running.process.poll() is not None, "the end")
    assert running.process.returncode == 0
