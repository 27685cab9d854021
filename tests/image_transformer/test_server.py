"""The transformer as a process, in front of a real Triton."""

import asyncio
import base64
import json
import os
import signal
import socket
import struct
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import grpc
import httpx
import numpy as np
import psutil
import pytest
import tritonclient.http
from kserve.protocol.grpc import grpc_predict_v2_pb2 as pb
from kserve.protocol.grpc import grpc_predict_v2_pb2_grpc as stubs
from machine import free_port, wait_until
from serving import RunningTransformer, RunningTriton, SmallModel, StartTransformer

from image_transformer.settings import LEAVE_SECONDS, Settings
from model.images.decode import DECODER_VERSION, decode_image

pytestmark = pytest.mark.slow

INFER = "/v2/models/cnn-image/infer"


@pytest.fixture(scope="module")
def pixels(jpegs: list[bytes]) -> Any:
    return np.stack([decode_image(image) for image in jpegs])


@pytest.fixture(scope="module")
def probs(pixels: Any, small_model: SmallModel) -> Any:
    return small_model.probs(pixels)


def text(image: bytes) -> str:
    return base64.b64encode(image).decode()


def close_to(expected: Any) -> Any:
    return pytest.approx(np.asarray(expected), abs=1e-5)


def test_every_way_in_gives_the_same_answer(
    transformer: RunningTransformer, jpegs: list[bytes], pixels: Any, probs: Any
) -> None:
    url = transformer.url
    files = [("file", (f"{number}.jpg", image)) for number, image in enumerate(jpegs)]
    by_form = httpx.post(url + "/predict", files=files).json()
    one = {"content-type": "image/jpeg"}
    by_raw = [httpx.post(url + "/predict", content=image, headers=one).json() for image in jpegs]
    assert by_form == by_raw
    reference = np.float32([body["probabilities"] for body in by_form])
    assert reference == close_to(probs)
    assert [body["class_id"] for body in by_form] == probs.argmax(axis=1).tolist()

    data = [text(image) for image in jpegs]
    request = {"inputs": [{"name": "image", "datatype": "BYTES", "shape": [5], "data": data}]}
    answer = httpx.post(url + INFER, json=request)
    assert answer.headers["x-model-version"] == "7"
    (output,) = answer.json()["outputs"]
    assert np.array_equal(np.float32(output["data"]).reshape(5, 5), reference)
    v1 = httpx.post(
        url + "/v1/models/cnn-image:predict", json={"instances": [{"image": {"b64": one}} for one in data]}
    )
    assert np.array_equal(np.float32(v1.json()["predictions"]), reference)
    assert v1.headers["x-model-version"] == "7"

    with tritonclient.http.InferenceServerClient(url.removeprefix("http://")) as client:
        for array, kind in ((np.array(jpegs, dtype=object), "BYTES"), (pixels, "UINT8")):
            given = tritonclient.http.InferInput("image", list(array.shape), kind)
            given.set_data_from_numpy(array)
            result = client.infer("cnn-image", [given], model_version="7", request_id="mine")
            assert np.array_equal(result.as_numpy("probs"), reference)
            assert result.get_response()["model_version"] == "7"
            assert result.get_response()["id"] == "mine"

    with grpc.insecure_channel(f"127.0.0.1:{transformer.grpc_port}") as channel:
        stub = stubs.GRPCInferenceServiceStub(channel)
        raw = b"".join(struct.pack("<I", len(image)) + image for image in jpegs)
        for datatype, shape, content in (("BYTES", [5], raw), ("UINT8", [5, 32, 32, 3], pixels.tobytes())):
            asked = pb.ModelInferRequest(model_name="cnn-image", raw_input_contents=[content])
            asked.inputs.add(name="image", datatype=datatype, shape=shape)
            response = stub.ModelInfer(asked)
            assert response.model_version == "7"
            assert np.array_equal(
                np.frombuffer(response.raw_output_contents[0], "<f4").reshape(5, 5), reference
            )
        described = stub.ModelMetadata(pb.ModelMetadataRequest(name="cnn-image"))
        assert list(described.versions) == ["7"]
        assert stub.ModelReady(pb.ModelReadyRequest(name="cnn-image", version="7")).ready
        for refused in (
            lambda: stub.ModelMetadata(pb.ModelMetadataRequest(name="cnn-image", version="6")),
            lambda: stub.ModelReady(pb.ModelReadyRequest(name="other")),
        ):
            with pytest.raises(grpc.RpcError) as raised:
                refused()
            assert raised.value.code() is grpc.StatusCode.NOT_FOUND
        with pytest.raises(grpc.RpcError) as raised:
            stub.RepositoryModelUnload(pb.RepositoryModelUnloadRequest(model_name="cnn-image"))
        assert raised.value.code() is grpc.StatusCode.UNIMPLEMENTED
    assert transformer.healthy()


def test_what_the_service_tells_of_itself(transformer: RunningTransformer) -> None:
    with httpx.Client(base_url=transformer.url) as client:
        assert client.get("/health").json() == {"status": "healthy", "model": "cnn-image", "version": "7"}
        info = client.get("/info").json()
        assert info["version"] == "7"
        assert info["lineage"] == {"version": "7", "decoder_version": DECODER_VERSION}
        assert info["classes"] == ["airplane", "automobile", "bird", "cat", "dog"]
        assert info["limits"]["max_images"] == 256
        assert info["formats"] == ["JPEG", "PNG", "WebP", "GIF", "BMP", "TIFF", "HEIC", "AVIF"]
        assert info["limits"]["by_format"]["HEIC"] == {"pixels": 50_000_000, "bytes": 20_000_000}
        described = {
            "name": "cnn-image",
            "versions": ["7"],
            "platform": "",
            "inputs": [{"name": "image", "datatype": "BYTES", "shape": [-1, 1]}],
            "outputs": [{"name": "probs", "datatype": "FP32", "shape": [-1, 5]}],
        }
        assert client.get("/v2/models/cnn-image").json() == described
        assert client.get("/v2/models/cnn-image/versions/7").json() == described
        assert client.get("/v2/models/cnn-image/versions/7/ready").json() == {
            "name": "cnn-image",
            "ready": True,
        }
        assert client.get("/v2/health/ready").json() == {"ready": True}
        assert client.get("/v1/models").json() == {"models": ["cnn-image"]}
        for path in ("/v2/models/cnn-image/versions/6", "/v2/models/other", "/v1/models/other", "/nothing"):
            answer = client.get(path)
            assert answer.status_code == 404
            assert answer.json()["request_id"] == answer.headers["x-request-id"]
        refused = client.post("/v2/repository/models/cnn-image/unload")
        assert (refused.status_code, refused.json()["code"]) == (400, "not_offered")
        assert client.post("/v2/models/other/infer", json={}).json()["code"] == "unknown_model"
        own = client.get("/info", headers={"x-request-id": "mine-1"})
        assert own.headers["x-request-id"] == "mine-1"
        foreign = client.get("/info", headers={"x-request-id": "a\tb"})
        assert foreign.headers["x-request-id"] != "a\tb"
        metrics = client.get("/metrics").text
    assert 'cnn_image_requests_total{route="/info",status="200"}' in metrics
    assert "cnn_image_triton_up 1.0" in metrics
    assert "cnn_image_decoder_mismatch 0.0" in metrics


def test_head_is_answered_as_get_without_the_body(transformer: RunningTransformer) -> None:
    model = "/v2/models/cnn-image"
    paths = ["/", "/metrics", "/health", "/info", "/v2", "/v2/health/live", "/v2/health/ready"]
    paths += [model, f"{model}/ready", f"{model}/versions/7", f"{model}/versions/7/ready", "/v2/models"]
    paths += ["/v1/models", "/v1/models/cnn-image"]
    wrong = ["/predict", f"{model}/infer", "/v2/models/other", "/nothing", "/train/20260101-000000-abcdef"]
    # With an id of our own: the others grow, and every error's body has one.
    with httpx.Client(base_url=transformer.url, headers={"x-request-id": "mine"}) as client:
        for path in [*paths, *wrong]:
            got, asked = client.get(path), client.head(path)
            assert asked.status_code == got.status_code, path
            assert (got.status_code == 200) is (path in paths), path
            assert asked.content == b""
            one, other = (
                {name: text for name, text in answer.headers.items() if name != "date"}
                for answer in (got, asked)
            )
            if path == "/metrics":  # it counts the requests
                assert int(other.pop("content-length")) > 1000 < int(one.pop("content-length"))
            assert one == other, path
        # What follows on the connection is not the body that was left out.
        assert client.get("/health").json()["status"] == "healthy"
        refused = client.head("/v2/repository/index")
        assert (refused.status_code, refused.headers["allow"]) == (405, "POST")
        assert client.post("/health").headers["allow"] == "GET, HEAD"


def test_the_fast_routes_and_kserves_own_answer_alike(
    start_transformer: StartTransformer,
    transformer: RunningTransformer,
    small_triton: RunningTriton,
    jpegs: list[bytes],
    pixels: Any,
) -> None:
    ordinary = start_transformer(small_triton.address, fast_routes="false")
    binary = {"name": "image", "datatype": "UINT8", "shape": [5, 32, 32, 3]}
    head = json.dumps({"inputs": [{**binary, "parameters": {"binary_data_size": pixels.nbytes}}]}).encode()
    data = [text(image) for image in jpegs]
    encoded = {"name": "image", "datatype": "BYTES", "shape": [5], "data": data}

    def v2(**changes: Any) -> dict[str, Any]:
        return {"json": {"id": "mine", "inputs": [{**encoded, **changes}]}}

    requests: list[tuple[str, dict[str, Any]]] = [
        (INFER, v2()),
        (INFER, v2(shape=[5, 1], data=[[one] for one in data])),
        (INFER, {"json": {"id": "mine", "inputs": [{**binary, "data": pixels.tolist()}]}}),
        (INFER, {"json": {"id": "mine", "inputs": [{**binary, "data": pixels.ravel().tolist()}]}}),
        (
            INFER,
            {
                "content": head + pixels.tobytes(),
                "headers": {"inference-header-content-length": str(len(head))},
            },
        ),
        ("/v1/models/cnn-image:predict", {"json": {"instances": [{"image": {"b64": one}} for one in data]}}),
        (INFER, v2(data=["??"] * 5)),
        (INFER, v2(data=[text(b"hello"), *data[1:]])),
        (INFER, v2(shape=[4])),
        (INFER, v2(datatype="FP32")),
        (INFER, v2(name="other")),
        (INFER, {"json": {**v2()["json"], "outputs": [{"name": "other"}]}}),
        ("/v1/models/cnn-image:predict", {"json": {"instances": []}}),
        ("/v1/models/cnn-image:predict", {"json": {"instances": [{"image": {"b64": text(b"hello")}}]}}),
    ]
    for path, request in requests:
        fast = httpx.post(transformer.url + path, **request)
        slow = httpx.post(ordinary.url + path, **request)
        assert slow.status_code == fast.status_code, (path, fast.text, slow.text)
        fast_body, slow_body = fast.json(), slow.json()
        if fast.status_code == 200:
            assert slow.headers["x-model-version"] == fast.headers["x-model-version"] == "7"
            for body in (fast_body, slow_body):  # each answers its own float's shortest form
                body.pop("id", None)
                for output in body.get("outputs", ()):
                    output["data"] = np.float32(output["data"]).tolist()
                    output.pop("parameters", None)
                if "predictions" in body:
                    body["predictions"] = np.float32(body["predictions"]).tolist()
                body.pop("parameters", None)
        else:
            fast_body.pop("request_id")
            slow_body.pop("request_id")
        assert slow_body == fast_body


def send(port: int, content: bytes) -> socket.socket:
    connection = socket.create_connection(("127.0.0.1", port), timeout=30)
    connection.sendall(content)
    return connection


def everything(connection: socket.socket) -> bytes:
    with connection:
        received = b""
        while chunk := connection.recv(65536):
            received += chunk
        return received


HEAD = b"POST /predict HTTP/1.1\r\nHost: x\r\nContent-Type: image/jpeg\r\nConnection: close\r\n"


def test_what_is_no_http_or_has_no_end(transformer: RunningTransformer) -> None:
    port = transformer.http_port
    assert b'"code":"invalid_http"' in everything(send(port, b"hello there\r\n\r\n"))
    assert b'"code":"invalid_http"' in everything(
        send(port, b"POST /predict HTTP/1.1\r\nContent-Length: x\r\n\r\n")
    )
    assert b'"code":"invalid_http"' in everything(
        send(port, b"POST /predict HTTP/1.1\r\nContent-Length: 1\r\nContent-Length: 2\r\n\r\n")
    )
    assert b'"code":"head_too_long"' in everything(send(port, HEAD + b"X: " + b"a" * 70_000))
    assert b'"code":"head_too_long"' in everything(send(port, b"GET /" + b"a" * 70_000))
    with send(port, HEAD + b"X: ") as silent:  # a head that never ends is not waited for
        assert silent.recv(100) == b""
    assert transformer.healthy()


def test_bodies_that_are_not_what_they_announce(
    start_transformer: StartTransformer, small_triton: RunningTriton
) -> None:
    limits = {"body_seconds": 1, "max_body_bytes": 100_000, "keep_alive_seconds": 1}
    limited = start_transformer(small_triton.address, **limits)
    port = limited.http_port
    kept = send(port, b"GET /health HTTP/1.1\r\nHost: x\r\n\r\n")
    assert everything(kept).startswith(b"HTTP/1.1 200"), "and closed once it was idle for its time"
    half = everything(send(port, HEAD + b"Content-Length: 1000\r\n\r\n" + b"x" * 500))
    assert half.startswith(b"HTTP/1.1 408")
    endless = send(port, HEAD + b"Transfer-Encoding: chunked\r\n\r\n")
    with pytest.raises(ConnectionError):
        endless.sendall((b"2710\r\n" + bytes(10_000) + b"\r\n") * 10_000)
    assert everything(send(port, HEAD + b"Content-Length: 100001\r\n\r\n")).startswith(b"HTTP/1.1 413")
    bomb = HEAD + b"Content-Encoding: br\r\nContent-Length: 10\r\n\r\n"
    assert everything(send(port, bomb + bytes(10))).startswith(b"HTTP/1.1 415")
    expecting = HEAD + b"Expect: 100-continue\r\nContent-Length: 100001\r\n\r\n"
    assert everything(send(port, expecting)).startswith(b"HTTP/1.1 413"), "nothing is asked to be sent"


def test_grpc_messages_out_of_bounds(transformer: RunningTransformer) -> None:
    options = (("grpc.max_send_message_length", -1),)
    with grpc.insecure_channel(f"127.0.0.1:{transformer.grpc_port}", options) as channel:
        stub = stubs.GRPCInferenceServiceStub(channel)
        large = pb.ModelInferRequest(model_name="cnn-image", raw_input_contents=[bytes(70_000_000)])
        with pytest.raises(grpc.RpcError) as raised:
            stub.ModelInfer(large)
        assert raised.value.code() is grpc.StatusCode.RESOURCE_EXHAUSTED
        with pytest.raises(grpc.RpcError) as raised:
            stub.ModelInfer(large, compression=grpc.Compression.Gzip)
        assert raised.value.code() is grpc.StatusCode.UNIMPLEMENTED
    assert transformer.healthy()


def test_who_hangs_up_leaves_nothing_behind(transformer: RunningTransformer, jpegs: list[bytes]) -> None:
    process = psutil.Process(transformer.process.pid)
    httpx.post(transformer.url + "/predict", content=jpegs[0], headers={"content-type": "image/jpeg"})
    before = process.num_fds()
    announced = HEAD + b"Content-Length: %d\r\n\r\n" % len(jpegs[0])
    for cut in range(0, len(jpegs[0]) + 1, 3):
        send(transformer.http_port, announced + jpegs[0][:cut]).close()

    def gone() -> bool:
        metrics = httpx.get(transformer.url + "/metrics").text
        return "cnn_image_requests_under_way 0.0" in metrics and process.num_fds() <= before + 2

    wait_until(gone, "what the clients held being freed")
    assert transformer.healthy()


async def test_a_bad_image_stays_alone(
    transformer: RunningTransformer, jpegs: list[bytes], probs: Any
) -> None:
    """31 good ones and a broken one at the same time, again and again."""
    async with httpx.AsyncClient(base_url=transformer.url, limits=httpx.Limits(max_connections=32)) as client:
        for _ in range(10):
            images = [jpegs[number % 5] for number in range(32)]
            images[17] = images[17][:400]
            answers = await asyncio.gather(
                *(
                    client.post("/predict", content=image, headers={"content-type": "image/jpeg"})
                    for image in images
                )
            )
            for number, answer in enumerate(answers):
                if number == 17:
                    assert answer.json()["code"] == "broken_image"
                else:
                    assert answer.json()["probabilities"] == close_to(probs[number % 5])


def test_sigterm_answers_what_is_under_way(
    start_transformer: StartTransformer, small_triton: RunningTriton, jpegs: list[bytes], probs: Any
) -> None:
    ending = start_transformer(small_triton.address)
    late = send(ending.http_port, HEAD + b"Content-Length: %d\r\n\r\n" % len(jpegs[0]) + jpegs[0][:100])
    idle = socket.create_connection(("127.0.0.1", ending.http_port))
    wait_until(
        lambda: "cnn_image_requests_under_way 1.0" in httpx.get(ending.url + "/metrics").text, "the request"
    )
    ending.process.send_signal(signal.SIGTERM)
    assert idle.recv(1) == b"", "idle connections end"
    with pytest.raises(OSError):  # noqa: PT011 - refused or reset
        socket.create_connection(("127.0.0.1", ending.http_port)).recv(1)
    late.sendall(jpegs[0][100:])
    head, _, body = everything(late).partition(b"\r\n\r\n")
    assert head.startswith(b"HTTP/1.1 200")
    assert json.loads(body)["probabilities"] == close_to(probs[0])
    assert ending.process.wait(60) == 0


def test_sigterm_does_not_wait_for_a_request_that_does_not_come_to_its_end(
    start_transformer: StartTransformer, small_triton: RunningTriton, jpegs: list[bytes]
) -> None:
    ending = start_transformer(small_triton.address, grace_seconds=3, body_seconds=600)
    late = send(ending.http_port, HEAD + b"Content-Length: %d\r\n\r\n" % len(jpegs[0]) + jpegs[0][:100])
    wait_until(
        lambda: "cnn_image_requests_under_way 1.0" in httpx.get(ending.url + "/metrics").text, "the request"
    )
    ending.process.send_signal(signal.SIGTERM)
    assert ending.process.wait(60) == 0
    late.close()


def test_what_clients_are_given_to_leave_is_part_of_the_grace() -> None:
    settings = Settings(_cli_parse_args=False, grace_seconds=20)  # type: ignore[call-arg]
    assert settings.finish_seconds == 20 - LEAVE_SECONDS


def test_sigterm_sends_clients_away_before_connections_are_closed(
    start_transformer: StartTransformer, small_triton: RunningTriton
) -> None:
    ending = start_transformer(small_triton.address)
    with httpx.Client(base_url=ending.url) as client:
        assert "connection" not in client.get("/v2/health/live").headers
        ending.process.send_signal(signal.SIGTERM)
        # Whoever asks on without a pause is told to go, and never finds a connection closed.
        wait_until(
            lambda: client.get("/v2/health/live").headers.get("connection") == "close", "to be sent away"
        )
    assert ending.process.wait(60) == 0


@pytest.mark.parametrize(
    ("flags", "sentence"),
    [
        (["--http_port={taken}"], "Port {taken} cannot be used"),
        (["--http_port={free}", "--grpc_port={taken}"], "Port {taken} cannot be used"),
        (["--htp_port=1"], "--htp_port"),
        (["--http_port=many"], "--http_port"),
    ],
)
def test_a_start_that_cannot_be_ends_in_a_sentence(
    transformer: RunningTransformer, flags: list[str], sentence: str
) -> None:
    ports = {"taken": transformer.http_port, "free": free_port()}
    command = [
        sys.executable,
        "-m",
        "image_transformer",
        "--host=127.0.0.1",
        *(flag.format(**ports) for flag in flags),
    ]
    run = subprocess.run(
        command, capture_output=True, text=True, timeout=120, check=False, env={**os.environ}
    )
    assert run.returncode != 0
    assert sentence.format(**ports) in run.stderr
    assert "Traceback" not in run.stderr


@pytest.mark.parametrize(
    ("limits", "allowed"), [((100, 13_000), 12_288), ((100, 5000), 5000), ((12_500, 13_000), 12_500)]
)
def test_a_low_limit_of_open_files_is_raised(limits: tuple[int, int], allowed: int) -> None:
    program = "import resource, image_transformer.server as server; server.allow_open_files(); "
    program += "print(resource.getrlimit(resource.RLIMIT_NOFILE)[0])"
    command = ["bash", "-c", f'ulimit -Sn {limits[0]}; ulimit -Hn {limits[1]}; exec "$0" -c "$1"']
    said = subprocess.run([*command, sys.executable, program], capture_output=True, text=True, check=True)
    assert int(said.stdout.split()[-1]) == allowed


def test_photographs_do_not_hold_up_small_images(transformer: RunningTransformer, jpegs: list[bytes]) -> None:
    """While 12 megapixels are decoded, small ones are answered: the event loop is never given away."""
    import io

    from PIL import Image

    noise = np.random.default_rng(0).integers(0, 256, (300, 400, 3), np.uint8)
    buffer = io.BytesIO()
    Image.fromarray(noise).resize((4000, 3000)).save(buffer, "JPEG", progressive=True)
    one = {"content-type": "image/png"}
    with ThreadPoolExecutor(2) as threads, httpx.Client(base_url=transformer.url) as client:
        large = [
            threads.submit(
                httpx.post, transformer.url + "/predict", content=buffer.getvalue(), headers=one, timeout=60
            )
            for _ in range(2)
        ]
        answered = 0
        while not all(future.done() for future in large):
            assert client.post("/predict", content=jpegs[0], headers=one).status_code == 200
            answered += 1
        assert [future.result().status_code for future in large] == [200, 200]
    assert answered > 5
