"""Messages that would become far larger when they are parsed are told from those that would not."""

import struct

import grpc
import psutil
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from kserve.protocol.grpc import grpc_predict_v2_pb2 as pb
from serving import RunningTransformer

from image_transformer.grpc.message_size import is_modest

INFER = "/inference.GRPCInferenceService/ModelInfer"


def varint(number: int) -> bytes:
    written = b""
    while number > 127:
        written += bytes([number & 127 | 128])
        number >>= 7
    return written + bytes([number])


def field(number: int, content: bytes) -> bytes:
    return varint(number << 3 | 2) + varint(len(content)) + content


def bombs(size: int) -> dict[str, bytes]:
    """A message for each thing that takes much more memory than bytes."""
    names = ("model_name", "model_version", "id", "parameters", "inputs", "outputs", "raw_input_contents")
    empty = {f"empty {name}": field(number, b"") * (size // 2) for number, name in enumerate(names, 1)}
    zeros = {
        f"numbers of the field {number} of contents": field(5, field(5, field(number, bytes(size))))
        for number in range(1, 8)
    }
    return {
        **empty,
        **zeros,
        "a shape": field(5, field(3, bytes(size))),
        "empty images": field(5, field(5, field(8, b"") * (size // 2))),
        "parameters of the input": field(5, field(4, b"") * (size // 2)),
        "unknown fields": (varint(999 << 3) + b"\0") * (size // 3),
    }


def requests() -> dict[str, pb.ModelInferRequest]:
    """The largest of each form that are taken."""
    made = {
        name: pb.ModelInferRequest(model_name="cnn-image", id="mine") for name in ("raw", "images", "typed")
    }
    made["raw"].inputs.add(name="image", datatype="BYTES", shape=[1])
    made["raw"].raw_input_contents.append(struct.pack("<I", 20_000_000) + bytes(20_000_000))
    tensor = made["images"].inputs.add(name="image", datatype="BYTES", shape=[256])
    tensor.contents.bytes_contents.extend([bytes(100_000)] * 256)
    tensor = made["typed"].inputs.add(name="image", datatype="UINT8", shape=[256, 32, 32, 3])
    tensor.contents.uint_contents.extend([255] * 256 * 3072)
    return made


@pytest.mark.parametrize("name", bombs(0))
def test_what_would_grow_is_not_modest(name: str, small_limit: int) -> None:
    message = bombs(small_limit * 3 // 2)[name]
    assert not is_modest(message, infer=True)
    assert not is_modest(message, infer=False)


@pytest.mark.parametrize("name", ["raw", "images", "typed"])
def test_what_is_taken_is_modest(name: str) -> None:
    message = requests()[name].SerializeToString()
    assert is_modest(message, infer=True)
    assert is_modest(message, infer=False) is (name == "typed"), "no other method takes images"


@settings(
    max_examples=200, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture]
)  # the limit is the same for all of them
@given(start=st.binary(max_size=60), rest=st.binary(min_size=1, max_size=60))
def test_anything_can_be_asked(small_limit: int, start: bytes, rest: bytes) -> None:
    message = start + rest * (small_limit // 15 // len(rest) + 1)
    assert isinstance(is_modest(message, infer=True), bool)


@pytest.mark.slow
def test_a_message_that_would_take_gigabytes_takes_none(transformer: RunningTransformer) -> None:
    process = psutil.Process(transformer.process.pid)
    before = process.memory_info().rss
    options = (("grpc.max_send_message_length", -1),)
    with grpc.insecure_channel(f"127.0.0.1:{transformer.grpc_port}", options) as channel:
        for name, message in bombs(30_000_000).items():
            with pytest.raises(grpc.RpcError) as raised:
                channel.unary_unary(INFER)(message, timeout=60)
            assert raised.value.code() is grpc.StatusCode.INVALID_ARGUMENT, name
            assert dict(raised.value.trailing_metadata())["code"] == "too_many_bytes"
            assert process.memory_info().rss - before < 300 * 2**20, name
    assert transformer.healthy()
