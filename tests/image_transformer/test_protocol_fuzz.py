"""Anything at all on both ports of a real transformer: never a fault of ours, never a hang, memory flat."""

import asyncio
import contextlib
import gzip
import os
import random
import re
import socket
import struct
import time
from collections import Counter
from collections.abc import Awaitable, Callable
from typing import Any

import grpc
import httpx
import psutil
import pytest
from grpc import aio
from kserve.protocol.grpc import grpc_predict_v2_pb2 as pb
from machine import wait_until
from serving import RunningTransformer, RunningTriton, StartTransformer

pytestmark = pytest.mark.slow

FUZZ_SECONDS = float(os.environ.get("FUZZ_SECONDS", "10"))
CLIENTS = 24
PATIENCE = 40
FAULT = re.compile(rb'"level":"error","logger":"(image_transformer|kserve|uvicorn)')
STATUS = re.compile(rb"HTTP/1\.1 (\d{3}) ")
SERVICE = "/inference.GRPCInferenceService/"


@pytest.fixture
def target(start_transformer: StartTransformer, small_triton: RunningTriton) -> RunningTransformer:
    return start_transformer(small_triton.address, body_seconds=2, triton_seconds=30)


async def keep_at(
    target: RunningTransformer, attack: Callable[[random.Random], Awaitable[None]], seconds: float
) -> None:
    """Clients attack for a while; the service answers others all the time, and is as before at the end."""
    process = psutil.Process(target.process.pid)
    deadline = time.monotonic() + seconds
    memory: list[int] = []

    async def client(seed: int) -> None:
        rng = random.Random(seed)
        while time.monotonic() < deadline:
            await attack(rng)

    async def others() -> None:
        async with httpx.AsyncClient(base_url=target.url, timeout=60) as client:
            while time.monotonic() < deadline:
                assert (await client.get("/health")).status_code == 200
                memory.append(process.memory_info().rss >> 20)
                await asyncio.sleep(0.2)

    async with asyncio.TaskGroup() as tasks:
        tasks.create_task(others())
        for seed in range(CLIENTS):
            tasks.create_task(client(seed))
    assert max(memory[len(memory) // 2 :]) < max(memory[: len(memory) // 2]) + 40, memory
    wait_until(lambda: process.num_fds() < 60, "the end of what the attackers opened")
    log = target.log.read_bytes()
    assert not (found := FAULT.search(log)), log[found.start() : found.start() + 3000].decode()


def changed(rng: random.Random, data: bytes, most: int = 6) -> bytes:
    """A few bytes written over, put in, taken out, repeated or swapped with others."""
    made = bytearray(data)
    for _ in range(rng.randrange(most)):
        at = rng.randrange(len(made) + 1)
        match rng.randrange(5):
            case 0:
                made[at : at + 1] = rng.randbytes(1)
            case 1:
                made[at:at] = rng.choice((b"\r\n", b"\r\n\r\n", b"\0", b":", b" ", b"0", b"\xff" * 4, b","))
            case 2:
                del made[at : at + rng.randrange(12)]
            case 3:
                made[at:at] = made[at : at + rng.randrange(200)]
            case 4:
                end = rng.randrange(len(made) + 1)
                made[at : at + 8], made[end : end + 8] = made[end : end + 8], made[at : at + 8]
    return bytes(made)


def chunked(rng: random.Random, body: bytes) -> bytes:
    parts = []
    while body:
        size = rng.randrange(1, 300)
        extension = rng.choice((b"", b"", b";a=b", b";" + b"x" * 5000))
        parts.append(b"%x%s\r\n%s\r\n" % (len(body[:size]), extension, body[:size]))
        body = body[size:]
    return b"".join(parts) + rng.choice(
        (b"0\r\n\r\n", b"0\r\nX: y\r\n\r\n", b"", b"ffffffffffffffff\r\n", b"-1\r\n")
    )


def http_request(rng: random.Random, image: bytes) -> bytes:
    """Something like a request."""
    paths = [b"/predict", b"/v2/models/cnn-image/infer", b"/v1/models/cnn-image:predict", b"/train", b"/info"]
    paths += [
        b"/metrics",
        b"/v2",
        b"/v1/models",
        b"*",
        b"http://x/predict",
        b"//predict",
        b"/%00%ff/../predict",
    ]
    paths += [
        b"/v2/models/cnn-image/versions/7/infer",
        b"/train/../../etc/passwd",
        b"/docs",
        b"/openapi.json",
    ]
    method = rng.choice((b"POST",) * 6 + (b"GET", b"HEAD", b"OPTIONS", b"CONNECT", b"TRACE", b"PUT", b"PRI"))
    kinds = (b"image/jpeg", b"application/json", b"multipart/form-data; boundary=b", b'\xe9;="')
    lines = [
        b"%s %s HTTP/1.1" % (method, rng.choice(paths)),
        b"Host: x",
        b"Content-Type: " + rng.choice(kinds),
    ]
    bodies = (
        image,
        b'{"instances": [{"image": {"b64": "/9g="}}]}',
        b"--b\r\n\r\n\r\n--b--",
        b"",
        b"[" * 20_000,
    )
    body = rng.choice(bodies)
    oddities = [
        b"Content-Encoding: gzip", b"Expect: 100-continue",
        b"Upgrade: h2c\r\nConnection: Upgrade, HTTP2-Settings",
        b"Upgrade: websocket\r\nConnection: Upgrade\r\nSec-WebSocket-Key: x\r\nSec-WebSocket-Version: 13",
        b"Content-Length: 5", b"Content-Length: 99999999999999999999", b"Transfer-Encoding: gzip, chunked",
        b"Inference-Header-Content-Length: " + rng.choice((b"0", b"9" * 30, b"-1", b"\xb2", b"3")),
        b"X-Request-ID: " + rng.choice((b"a\tb", b'"}\x1b[31m', b"x" * 500, b"\xff")), b"X: " + b"a" * 30_000,
        b"\r\n".join(b"X%d: y" % number for number in range(2000)), b" folded: x", b"No-Colon",
        b"Prefer: respond-async", b"Range: bytes=0-", b"Connection: close", b"Authorization: Bearer \xff",
    ]  # fmt: skip
    lines += rng.sample(oddities, rng.choice((0, 0, 1, 2, 4)))
    if rng.random() < 0.4:
        lines.append(b"Transfer-Encoding: chunked")
        body = chunked(rng, body)
    else:
        lines.append(b"Content-Length: %d" % len(body))
    whole = b"\r\n".join(lines) + b"\r\n\r\n" + body
    return changed(rng, whole) if rng.random() < 0.7 else whole


async def test_http(target: RunningTransformer, jpegs: list[bytes]) -> None:
    """Every conversation comes to its end by itself, whatever was said in it and however it broke off."""
    statuses: Counter[int] = Counter()

    async def converse(rng: random.Random) -> None:
        said = b"".join(http_request(rng, jpegs[0]) for _ in range(rng.choice((1, 1, 2, 8))))
        if rng.random() < 0.1:
            said = rng.randbytes(rng.randrange(2000))
        if rng.random() < 0.2:
            said = said[: rng.randrange(len(said) + 1)]
        reader, writer = await asyncio.open_connection("127.0.0.1", target.http_port)
        try:
            async with asyncio.timeout(PATIENCE):
                writer.write(said)
                if rng.random() < 0.5:
                    writer.write_eof()
                heard = await reader.read(-1)
        except OSError:  # it was cut off, as is due to what is no HTTP
            return
        finally:
            writer.transport.abort()
        found = [int(status) for status in STATUS.findall(heard)]
        statuses.update(found)
        assert all(status < 500 for status in found), (said[:3000], heard[:3000])

    await keep_at(target, converse, FUZZ_SECONDS)
    assert {200, 400, 404, 405, 415, 422} <= statuses.keys(), statuses


def frame(kind: int, flags: int, stream: int, payload: bytes) -> bytes:
    """An HTTP/2 frame (RFC 9113, section 4.1)."""
    return struct.pack(">I", len(payload))[1:] + bytes([kind, flags]) + struct.pack(">I", stream) + payload


def fields(*pairs: tuple[bytes, bytes]) -> bytes:
    """A header block of literals without indexing (RFC 7541, section 6.2.2)."""
    return b"".join(bytes([0, len(name)]) + name + bytes([len(text)]) + text for name, text in pairs)


def http2(rng: random.Random, messages: list[bytes]) -> bytes:
    """Something like a client's side of an HTTP/2 connection with gRPC calls in it."""
    said = [b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n", frame(4, 0, 0, b"")]
    for number in range(rng.randrange(1, 6)):
        stream = 2 * number + 1
        method = rng.choice((b"ModelInfer", b"ModelInfer", b"ServerReady", b"ModelMetadata", b"Nothing"))
        head = fields(
            (b":method", b"POST"), (b":scheme", b"http"), (b":path", SERVICE.encode() + method),
            (b":authority", b"x"), (b"te", b"trailers"), (b"content-type", b"application/grpc"),
            (b"grpc-timeout", rng.choice((b"1S", b"1n", b"x"))), (b"x-request-id", b"a\tb"),
            (b"grpc-encoding", rng.choice((b"identity", b"gzip", b"x"))),
        )  # fmt: skip
        said.append(frame(1, rng.choice((4, 4, 4, 0, 5)), stream, head))
        message = rng.choice(messages)
        length = rng.choice((len(message),) * 4 + (0, 2**31, 2**32 - 1))
        said.append(
            frame(
                0,
                rng.choice((0, 1, 8)),
                stream,
                bytes([rng.choice((0, 0, 1))]) + struct.pack(">I", length) + message,
            )
        )
        oddities = [
            frame(3, 0, stream, bytes(4)), frame(6, 0, 0, bytes(8)) * 500, frame(2, 0, stream, bytes(5)),
            frame(8, 0, 0, b"\x7f\xff\xff\xff"), frame(4, 0, 0, struct.pack(">HI", 4, 0)) * 200,
            frame(9, 0, stream, bytes(100)) * 50,
            frame(7, 0, 0, bytes(8)), frame(0, 0, 99, b"x"), frame(255, 255, 2**31 - 1, bytes(20)),
            frame(1, 5, stream, b"\xff" * 40), frame(0, 1, stream, b""),
        ]  # fmt: skip
        said += rng.sample(oddities, rng.randrange(3))
    whole = b"".join(said)
    return changed(rng, whole) if rng.random() < 0.6 else whole


def messages(image: bytes) -> list[bytes]:
    """Requests for ModelInfer as they go over the wire, and what is none."""
    good = pb.ModelInferRequest(model_name="cnn-image", id="mine")
    good.inputs.add(name="image", datatype="BYTES", shape=[1])
    good.raw_input_contents.append(struct.pack("<I", len(image)) + image)
    typed = pb.ModelInferRequest(model_name="cnn-image")
    tensor = typed.inputs.add(name="image", datatype="UINT8", shape=[1, 32, 32, 3])
    tensor.contents.uint_contents.extend([7] * 3072)
    return [
        good.SerializeToString(),
        typed.SerializeToString(),
        gzip.compress(bytes(1_000_000)),
        b"",
        b"\xff" * 50,
    ]


async def test_http2_frames(target: RunningTransformer, jpegs: list[bytes]) -> None:
    """Whatever frames come, others are served meanwhile and afterwards, and nothing is left of them."""
    requests = messages(jpegs[0])

    async def converse(rng: random.Random) -> None:
        said = http2(rng, requests) if rng.random() < 0.9 else rng.randbytes(rng.randrange(2000))
        _, writer = await asyncio.open_connection("127.0.0.1", target.grpc_port)
        with contextlib.suppress(OSError):
            writer.write(said)
            await writer.drain()
            await asyncio.sleep(rng.choice((0, 0.05, 0.3)))
        writer.transport.abort()

    await keep_at(target, converse, FUZZ_SECONDS)
    async with aio.insecure_channel(f"127.0.0.1:{target.grpc_port}") as channel:
        assert await channel.unary_unary(SERVICE + "ModelInfer")(requests[0], timeout=60, wait_for_ready=True)


PREFACE = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n" + frame(4, 0, 0, b"")


def call(path: bytes) -> bytes:
    """The head of a gRPC call, the first on its connection."""
    head = fields(
        (b":method", b"POST"), (b":scheme", b"http"), (b":path", path), (b":authority", b"x"),
        (b"te", b"trailers"), (b"content-type", b"application/grpc"),
    )  # fmt: skip
    return PREFACE + frame(1, 4, 1, head)


async def test_a_path_that_is_no_text_does_not_end_grpc(
    target: RunningTransformer, jpegs: list[bytes]
) -> None:
    """It ends grpcio's own server, and after some hundred of them the process."""
    (good, *_) = messages(jpegs[0])
    message = frame(0, 1, 1, b"\0" + struct.pack(">I", len(good)) + good)
    address = ("127.0.0.1", target.grpc_port)
    async with aio.insecure_channel(f"127.0.0.1:{target.grpc_port}") as channel:
        infer = channel.unary_unary(SERVICE + "ModelInfer")
        with contextlib.ExitStack() as held:
            half = held.enter_context(socket.create_connection(address, timeout=60))
            half.sendall(call(SERVICE.encode() + b"ModelInfer") + message[:-100])
            for _ in range(600):
                bad = held.enter_context(socket.create_connection(address, timeout=60))
                bad.sendall(call(b"/\xff"))
                heard = b""
                while b"Method not found!" not in heard:
                    heard += (chunk := bad.recv(4096))
                    assert chunk, heard
            assert await infer(good, timeout=60)
            half.sendall(message[-100:])
            heard = b""
            while b"probs" not in heard:
                heard += (chunk := half.recv(65536))
                assert chunk, heard
        assert await infer(good, timeout=60)
        with pytest.raises(aio.AioRpcError) as raised:
            await channel.unary_unary("/other.Service/Nothing")(b"", timeout=60)
        assert raised.value.code() is grpc.StatusCode.UNIMPLEMENTED
    assert b'"level":"error"' not in target.log.read_bytes()
    target.process.terminate()
    assert target.process.wait(30) == 0


async def test_grpc_messages(target: RunningTransformer, jpegs: list[bytes]) -> None:
    """Whatever bytes are sent for a request, the status blames them, and not the service."""
    statuses: Counter[grpc.StatusCode] = Counter()
    requests = messages(jpegs[0])
    methods = ("ModelInfer",) * 8 + (
        "ModelMetadata",
        "ModelReady",
        "ServerLive",
        "ServerReady",
        "ServerMetadata",
    )
    methods += ("RepositoryModelLoad", "RepositoryModelUnload", "Nothing")
    options = (("grpc.max_send_message_length", -1),)
    async with aio.insecure_channel(f"127.0.0.1:{target.grpc_port}", options) as channel:

        async def call(rng: random.Random) -> None:
            request = rng.choice(requests)
            request = changed(rng, request) if rng.random() < 0.8 else request
            request = rng.randbytes(rng.randrange(200)) if rng.random() < 0.1 else request
            metadata = (
                (("x-request-id", rng.choice(("mine", '"}', "x" * 500))),) if rng.random() < 0.3 else ()
            )
            compression = grpc.Compression.Gzip if rng.random() < 0.05 else None
            method: Any = channel.unary_unary(SERVICE + rng.choice(methods))
            try:
                await method(request, timeout=PATIENCE, metadata=metadata, compression=compression)
                code, said = grpc.StatusCode.OK, None
            except aio.AioRpcError as error:
                code, said = error.code(), error.details()
            statuses[code] += 1
            assert code.name in {"OK", "INVALID_ARGUMENT", "NOT_FOUND", "UNIMPLEMENTED"}, (
                said,
                request[:500],
            )

        await keep_at(target, call, FUZZ_SECONDS)
    assert {grpc.StatusCode.OK, grpc.StatusCode.INVALID_ARGUMENT} <= statuses.keys(), statuses
