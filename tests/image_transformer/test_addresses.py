"""On which addresses the service listens, and on which it finds Triton: IPv4, IPv6, both."""

import socket
from pathlib import Path

import grpc
import httpx
import pytest
from kserve.protocol.grpc import grpc_predict_v2_pb2 as pb
from kserve.protocol.grpc import grpc_predict_v2_pb2_grpc as stubs
from serving import RunningTransformer, RunningTriton, SmallModel, StartTransformer, StartTriton, wait_until

from image_transformer import server
from model import addresses

LOCAL = {4: "127.0.0.1", 6: "[::1]"}


@pytest.mark.parametrize(
    ("host", "port", "joined"),
    [
        ("0.0.0.0", 80, "0.0.0.0:80"),
        ("::", 8081, "[::]:8081"),
        ("[::1]", 8081, "[::1]:8081"),
        ("transformer.images", 80, "transformer.images:80"),
    ],
)
def test_an_address_of_ipv6_stands_in_brackets(host: str, port: int, joined: str) -> None:
    assert addresses.joined(host, port) == joined


def test_without_ipv6_in_the_kernel_every_address_is_one_of_ipv4(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(socket, "has_dualstack_ipv6", lambda: False)
    with server.listen("::", 0, "PORT") as listening:
        assert listening.family is socket.AF_INET
        with socket.create_connection(("127.0.0.1", listening.getsockname()[1])):
            pass


@pytest.mark.parametrize("host", ["nowhere.invalid", "203.0.113.9", "fe80::1"])
def test_an_address_of_another_machine_is_said_to_be_one(host: str) -> None:
    with pytest.raises(server.PortTakenError, match=f"CNN_IMAGE_HOST is '{host}', no address"):
        server.listen(host, 0, "PORT")


def over_http(address: str, port: int, jpeg: bytes) -> int | None:
    """The class that is answered, or None where nobody listens."""
    try:
        answer = httpx.post(
            f"http://{address}:{port}/predict",
            content=jpeg,
            headers={"content-type": "image/jpeg"},
            timeout=30,
        )
    except httpx.ConnectError:
        return None
    return int(answer.json()["class_id"])


def over_grpc(address: str, port: int) -> str | None:
    """The version that is answered, or None where nobody listens."""
    with grpc.insecure_channel(f"{address}:{port}") as channel:
        call = stubs.GRPCInferenceServiceStub(channel).ModelMetadata.future(
            pb.ModelMetadataRequest(name="cnn-image"), timeout=30
        )
        if (code := call.code()) is grpc.StatusCode.UNAVAILABLE:
            return None
        assert code is grpc.StatusCode.OK
        return str(call.result().versions[0])


@pytest.mark.slow
@pytest.mark.parametrize(("host", "families"), [("::", {4, 6}), ("[::1]", {6}), ("127.0.0.1", {4})])
def test_it_listens_on_the_families_it_is_told_to_by_http_and_grpc_alike(
    host: str,
    families: set[int],
    small_triton: RunningTriton,
    start_transformer: StartTransformer,
    jpegs: list[bytes],
    small_model: SmallModel,
) -> None:
    running = start_transformer(small_triton.address, host=host, wait=False)
    address = LOCAL[max(families)]

    def ready() -> bool:
        assert running.process.poll() is None, running.log.read_text()
        try:
            return httpx.get(f"http://{address}:{running.http_port}/health").status_code == 200
        except httpx.TransportError:
            return False

    wait_until(ready, "the transformer's start")
    right = over_http(address, running.http_port, jpegs[0])
    assert right is not None
    for family, local in LOCAL.items():
        assert over_http(local, running.http_port, jpegs[0]) == (right if family in families else None)
        assert over_grpc(local, running.grpc_port) == ("7" if family in families else None)


@pytest.mark.slow
def test_a_port_that_is_taken_on_one_family_is_said_to_be(
    transformer: RunningTransformer,
) -> None:
    """`transformer` listens on IPv4 alone."""
    with pytest.raises(server.PortTakenError, match=f"Port {transformer.http_port} cannot be used"):
        server.listen("::", transformer.http_port, "PORT")


@pytest.mark.slow
def test_a_triton_that_listens_on_ipv6_alone_is_found(
    start_triton: StartTriton,
    start_transformer: StartTransformer,
    small_model: SmallModel,
    tmp_path: Path,
    jpegs: list[bytes],
    transformer: RunningTransformer,
) -> None:
    small_model.write(tmp_path)
    triton = start_triton(tmp_path, "--address=::1", wait=False)
    running = start_transformer(f"[::1]:{triton.http_port}")
    right = over_http("127.0.0.1", transformer.http_port, jpegs[0])
    assert over_http("127.0.0.1", running.http_port, jpegs[0]) == right
    triton.stop()
