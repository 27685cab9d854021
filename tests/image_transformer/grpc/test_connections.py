"""How long a client's gRPC connection lives, and how often it may ping."""

import asyncio
import socket
import struct
import time

import grpc
import pytest
from grpc import aio
from kserve.protocol.grpc import grpc_predict_v2_pb2 as pb
from kserve.protocol.grpc import grpc_predict_v2_pb2_grpc as stubs
from serving import RunningTransformer, RunningTriton, StartTransformer

pytestmark = pytest.mark.slow

# RFC 9113: the preface, then frames of a 24-bit length, a type, flags and a stream.
PREFACE = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n"
SETTINGS, PING, GOAWAY = 4, 6, 7
ACK = 1


def frame(kind: int, flags: int = 0, payload: bytes = b"") -> bytes:
    return struct.pack(">I", len(payload))[1:] + struct.pack(">BBI", kind, flags, 0) + payload


def read_exactly(connection: socket.socket, count: int) -> bytes:
    data = b""
    while len(data) < count:
        got = connection.recv(count - len(data))
        if not got:
            raise ConnectionError("closed")
        data += got
    return data


def read_frame(connection: socket.socket) -> tuple[int, int, bytes]:
    head = read_exactly(connection, 9)
    return head[3], head[4], read_exactly(connection, int.from_bytes(head[:3]))


def ping(port: int, times: int, seconds: float) -> tuple[int, bytes]:
    """Pings on a connection without any call.

    Returns:
        How many were answered, and why the server sent the client away, if it did.
    """
    answered = 0
    with socket.create_connection(("127.0.0.1", port), timeout=30) as connection:
        connection.sendall(PREFACE + frame(SETTINGS))
        for number in range(times):
            due = time.monotonic() + seconds
            connection.sendall(frame(PING, payload=number.to_bytes(8)))
            while True:
                kind, flags, payload = read_frame(connection)
                if kind == SETTINGS and not flags & ACK:
                    connection.sendall(frame(SETTINGS, ACK))
                elif kind == GOAWAY:
                    return answered, payload[8:]
                elif kind == PING and flags & ACK:
                    assert payload == number.to_bytes(8)
                    answered += 1
                    break
            time.sleep(max(0.0, due - time.monotonic()))  # a client's own clock
    return answered, b""


def test_a_client_that_pings_as_often_as_it_may_is_kept(
    small_triton: RunningTriton, start_transformer: StartTransformer
) -> None:
    # A connection without end, in the two ways that people write it.
    running = start_transformer(
        small_triton.address,
        grpc_ping_seconds=0.05,
        grpc_connection_seconds="inf",
        grpc_connection_grace_seconds="1e12",
    )
    assert ping(running.grpc_port, times=12, seconds=0.06) == (12, b"")


def test_a_client_that_pings_more_often_is_sent_away(transformer: RunningTransformer) -> None:
    answered, reason = ping(transformer.grpc_port, times=12, seconds=0.0)
    assert reason == b"too_many_pings"
    assert answered < 5


async def test_an_old_connection_is_ended_and_no_call_notices(
    small_triton: RunningTriton, start_transformer: StartTransformer
) -> None:
    running = start_transformer(small_triton.address, grpc_connection_seconds=0.5)
    target = f"127.0.0.1:{running.grpc_port}"
    request = pb.ModelMetadataRequest(name="cnn-image")
    left = 0
    async with aio.insecure_channel(target) as channel:
        stub = stubs.GRPCInferenceServiceStub(channel)
        connected = False
        async with asyncio.timeout(60):
            while left < 3:
                assert list((await stub.ModelMetadata(request)).versions) == ["7"]
                ready = channel.get_state() is grpc.ChannelConnectivity.READY
                left += connected and not ready
                connected = ready
