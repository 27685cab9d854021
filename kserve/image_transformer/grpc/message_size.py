"""How large a gRPC message becomes when it is parsed: told from its bytes, before that is done.

A protobuf message of thirty megabytes can take gigabytes: an empty element of a repeated field has two bytes
on the wire and a hundred in memory. Pixels and encoded images, of which a large request consists, stay as
they are; what is counted is everything else (https://protobuf.dev/programming-guides/encoding/).
"""

from typing import Final

from image_transformer.grpc import inference_pb2 as pb

# 256 images of typed contents are 786,432 values, each up to two bytes long.
MOST: Final = 2_000_000
_PER_FIELD: Final = 16

_VARINT, _FIXED64, _BYTES, _FIXED32 = 0, 1, 2, 5
_RAW: Final = (pb.ModelInferRequest.RAW_INPUT_CONTENTS_FIELD_NUMBER,)
_IMAGES: Final = (
    pb.ModelInferRequest.INPUTS_FIELD_NUMBER,
    pb.ModelInferRequest.InferInputTensor.CONTENTS_FIELD_NUMBER,
    pb.InferTensorContents.BYTES_CONTENTS_FIELD_NUMBER,
)


class _TooMuchError(Exception):
    """It has more than may be."""


def is_modest(message: bytes, *, infer: bool) -> bool:
    """Tells whether a message takes little more memory parsed than it has bytes.

    Args:
        message: As it came. What is no protobuf counts as modest: the parser refuses it soon enough.
        infer: Whether it is one of ModelInfer or ModelStreamInfer, whose images do not count.
    """
    if len(message) <= MOST // _PER_FIELD:
        return True
    try:
        _weigh(message, 0, len(message), 0, _IMAGES if infer else (), _RAW if infer else ())
    except _TooMuchError:
        return False
    except IndexError:
        return True
    return True


def _weigh(data: bytes, at: int, end: int, weight: int, way: tuple[int, ...], free: tuple[int, ...]) -> int:
    """Adds the weight of a message's fields from `at` to `end`.

    Args:
        data: What the message lies in.
        at: Where it begins.
        end: Where it ends.
        weight: Of what came before.
        way: Fields that lead to what weighs nothing, the outermost first; the last is that field itself.
        free: Further fields whose bytes weigh nothing.
    """
    while at < end:
        weight += _PER_FIELD
        tag, at = _varint(data, at)
        number, kind = tag >> 3, tag & 7
        size = 0
        if kind == _VARINT:
            _, at = _varint(data, at)
        elif kind == _BYTES:
            size, at = _varint(data, at)
        elif kind in (_FIXED64, _FIXED32):
            at += 8 if kind == _FIXED64 else 4
        else:
            raise IndexError("a kind of field that the parser refuses")
        if kind == _BYTES and way and number == way[0]:
            if len(way) > 1:
                weight = _weigh(data, at, min(at + size, end), weight, way[1:], ())
        elif number not in free:
            weight += size
        at += size
        if weight > MOST:
            raise _TooMuchError
    return weight


def _varint(data: bytes, at: int) -> tuple[int, int]:
    """The number that begins at `at`, and where the next thing begins."""
    value = shift = 0
    while True:
        byte = data[at]
        at += 1
        value |= (byte & 127) << shift
        if byte < 128:
            return value, at
        shift += 7
        if shift > 63:
            raise IndexError("a number that the parser refuses")
