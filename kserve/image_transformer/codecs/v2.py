"""Open Inference Protocol v2 over REST: requests to images, probabilities to answers, and no I/O."""

import binascii
import functools
import math
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final

import numpy as np
import orjson
from numpy.typing import NDArray

from image_transformer.codecs.outputs import (
    OUTPUTS,
    Asked,
    Datatype,
    check_memory,
    check_output,
    check_top,
    once,
    tensor,
)
from image_transformer.codecs.tensors import Filtered, Images, Probabilities, Shape
from image_transformer.errors import ServiceError
from model.contract import DEFAULT_CONTRACT, INPUT_NAME, OUTPUT_NAME

_TAKEN: Final = (DEFAULT_CONTRACT.image_shape,)
# 256 images of 32 x 32 pixels are 786,432 numbers in 270,593 lists; of 256 encoded ones v1 has 513 objects.
# Of larger pixels fewer fit; docs/errors.md says how many.
_MOST: Final = {b",": 1_000_000, b"[": 300_000, b"{": 10_000, b'"': 40_000}
_FEW_BYTES: Final = min(_MOST.values())
# A single letter beyond Latin-1 makes a text take four bytes for each of its letters.
_WIDE: Final = re.compile(rb"[\xc4-\xff]|\\u(?!00)")
_LARGE_TEXT: Final = 1_000_000
_LENGTH: Final = re.compile(r"[0-9]{1,20}")  # Python makes no number of more than 4,300 digits


@dataclass(slots=True)
class InferRequest:
    """A v2 request.

    Attributes:
        images: What is to be classified.
        id: The client's, to be given back.
        outputs: What it wants, in its order.
    """

    images: Images
    id: str | None
    outputs: tuple[Asked, ...] = (Asked(),)


def invalid(sentence: str) -> ServiceError:
    """A body of the wrong form."""
    return ServiceError("invalid_request", sentence)


def parse_json(body: bytes) -> dict[str, Any]:
    """Reads a JSON object.

    Raises:
        ServiceError: it is none, or has more values than are taken at once.
    """
    # Lists, objects and texts of next to nothing take thirty times their length in memory before anybody can
    # look at their shape.
    if len(body) > _FEW_BYTES and any(body.count(sign) > most for sign, most in _MOST.items()):
        raise ServiceError(
            "too_many_bytes",
            "The JSON has more values than are taken at once; send fewer images, or pixels as raw bytes.",
        )
    if len(body) > _LARGE_TEXT and _WIDE.search(body):
        raise ServiceError("too_many_bytes", "So large a JSON has to be of ASCII, as base64 is; send that.")
    try:
        content = orjson.loads(body)
    except orjson.JSONDecodeError as error:
        raise invalid(f"The body is not JSON ({error}); send a JSON object.") from None
    if not isinstance(content, dict):
        raise invalid("The body is not a JSON object; send one.")
    return content


def parse_request(
    body: bytes,
    json_length: str | None,
    version: str | None,
    max_images: int,
    taken: Sequence[Shape] = _TAKEN,
    offered: Mapping[str, Datatype] = OUTPUTS,
) -> InferRequest:
    """Reads a request in JSON, or with the binary extension.

    Args:
        body: The whole body.
        json_length: The header Inference-Header-Content-Length, if any.
        version: The version in the route, if any.
        max_images: How many images it may have.
        taken: Shapes of pixels; see `check_shape`.
        offered: The model's outputs; see `outputs.check_output`.

    Raises:
        ServiceError: it is not of the protocol's form, or not of the model's.
    """
    tail = b""
    if json_length is not None:
        if not _LENGTH.fullmatch(json_length) or int(json_length) > len(body):
            raise invalid(
                "Inference-Header-Content-Length is not the length of the JSON in the body; send that."
            )
        if int(json_length) == 0 and body:
            # Triton's raw request: no JSON, the one element's bytes alone, and all of the answer in binary.
            return InferRequest(
                Images([body], version=version), None, (Asked(next(iter(offered)), binary=True),)
            )
        body, tail = body[: int(json_length)], body[int(json_length) :]
    content = parse_json(body)
    request_id = content.get("id")
    if not isinstance(request_id, str | None):
        raise invalid("The field `id` is not a string; send one, or none.")
    tensor = the_input(content.get("inputs"))
    datatype, shape = check_shape(tensor.get("datatype"), tensor.get("shape"), max_images, taken)
    raw = _binary(tensor, tail)
    if raw is not None:
        images = from_raw(datatype, raw, shape, version)
    else:
        images = json_images(datatype, tensor.get("data"), shape, version)
    return InferRequest(images, request_id or None, _outputs(content, offered))


def the_input(inputs: object) -> dict[str, Any]:
    """Returns the one input there has to be."""
    if not isinstance(inputs, list) or len(inputs) != 1 or not isinstance(inputs[0], dict):
        raise invalid(f"The field `inputs` has to be a list of one tensor named {INPUT_NAME!r}.")
    tensor: dict[str, Any] = inputs[0]
    check_input(tensor.get("name"))
    parameters = tensor.get("parameters")
    if not isinstance(parameters, dict | None):
        raise invalid("The input's `parameters` have to be an object.")
    check_memory(parameters or ())
    return tensor


def wrong_shape(shape: object, taken: Sequence[Shape]) -> ServiceError:
    """Images of a shape that is not taken: says what came and what is expected."""
    return invalid(f"The input's shape is {str(_plain(shape))[:80]}; send {_expected(taken)}.")


def _plain(shape: object) -> object:
    return list(shape) if isinstance(shape, tuple) else shape


def _expected(taken: Sequence[Shape]) -> str:
    pixels = " or ".join(f"[N, {', '.join(map(str, shape))}]" for shape in taken or _TAKEN)
    return f"[N] or [N, 1] for BYTES, {pixels} for UINT8"


def check_shape(
    datatype: object, shape: object, max_images: int, taken: Sequence[Shape] = _TAKEN
) -> tuple[str, list[int]]:
    """Returns a tensor's datatype and shape when the model takes them; `shape[0]` is the number of images.

    Args:
        datatype: The tensor's.
        shape: The tensor's.
        max_images: How many images it may have.
        taken: Shapes of one image's pixels in the versions that are served; while none is known, any will do.

    Raises:
        ServiceError: they are not taken.
    """
    if not isinstance(datatype, str) or datatype not in {"BYTES", "UINT8"}:
        raise invalid(
            f"The input's datatype is {str(datatype)[:20]!r}; send BYTES (encoded images) or UINT8 (pixels)."
        )
    if not isinstance(shape, list) or not all(type(size) is int for size in shape):
        raise invalid(f"The input's `shape` has to be a list of integers: {_expected(taken)}.")
    if datatype == "BYTES":
        fits = len(shape) == 1 or shape[1:] == [1]
    else:
        fits = tuple(shape[1:]) in taken or (not taken and len(shape) == 4 and min(shape) > 0)
    if not fits or len(shape) == 0:
        raise wrong_shape(shape, taken)
    count: int = shape[0]
    if count < 1:
        raise invalid("The input has no image; send at least one.")
    if count > max_images:
        raise ServiceError(
            "too_many_images", f"The request has {count} images; send at most {max_images} at once."
        )
    return datatype, shape


def check_input(name: object) -> None:
    """Refuses an input the model does not have."""
    if name != INPUT_NAME:
        raise invalid(f"The input is named {str(name)[:80]!r}; name it {INPUT_NAME!r}.")


def from_raw(datatype: str, raw: bytes, shape: Sequence[int], version: str | None) -> Images:
    """Reads a tensor's raw bytes, as binary REST and gRPC have them.

    Raises:
        ServiceError: the length does not fit the shape.
    """
    count = shape[0]
    if datatype == "UINT8":
        if len(raw) != math.prod(shape):
            raise invalid(f"{count} images are {math.prod(shape)} bytes of pixels; {len(raw)} came.")
        return Images(pixels=np.frombuffer(raw, np.uint8).reshape(shape), version=version)
    encoded: list[bytes] = []
    position = 0
    while position < len(raw) and len(encoded) <= count:
        if position + 4 > len(raw):
            break
        length = int.from_bytes(raw[position : position + 4], "little")
        position += 4
        encoded.append(raw[position : position + length])
        position += length
    if len(encoded) != count or position != len(raw):
        raise invalid(
            f"The input is not {count} elements, each after its length in four bytes; send them so."
        )
    return Images(encoded, version=version)


def _binary(tensor: dict[str, Any], tail: bytes) -> bytes | None:
    size = (tensor.get("parameters") or {}).get("binary_data_size")
    if size is None:
        if tail:
            raise invalid("Bytes follow the JSON, but the input has no parameter `binary_data_size`.")
        return None
    if type(size) is not int or size != len(tail):
        raise invalid(
            f"{len(tail)} bytes follow the JSON, but `binary_data_size` says {str(size)[:20]}; send as many."
        )
    if "data" in tensor:
        raise invalid("The input has both `data` and `binary_data_size`; send one of them.")
    return tail


def json_images(datatype: str, data: object, shape: list[int], version: str | None) -> Images:
    """Reads a tensor whose values stand in the JSON.

    Raises:
        ServiceError: they are not of its datatype and shape.
    """
    if not isinstance(data, list):
        raise invalid("The input's `data` has to be a list, or follow the JSON as binary data.")
    if datatype == "BYTES":
        if data and all(isinstance(row, list) and len(row) == 1 for row in data):
            data = [row[0] for row in data]
        if len(data) != shape[0]:
            raise invalid(f"The input's `data` has {len(data)} elements; its shape says {shape[0]}.")
        return Images([from_base64(text, index) for index, text in enumerate(data)], version=version)
    try:
        values: NDArray[Any] = np.asarray(data)
    except ValueError:
        values = np.empty(0)
    # `asarray` turns booleans into integers only beside integers, and then they are 0 and 1 as JSON has them.
    if values.dtype.kind not in "iu" or values.size != math.prod(shape):
        raise invalid(
            f"The input's `data` has to be {math.prod(shape)} integers, flat or in the shape's rows."
        )
    if values.min() < 0 or values.max() > 255:
        raise invalid("The input's `data` has values outside 0 to 255; send 8-bit pixels.")
    return Images(pixels=values.astype(np.uint8).reshape(shape), version=version)


def from_base64(text: object, index: int) -> bytes:
    """Decodes one image of a JSON body.

    Raises:
        ServiceError: it is not base64; a data URI is named as such.
    """
    if not isinstance(text, str):
        raise ServiceError("invalid_request", "The element is not a string; send the image in base64.", index)
    if text[:5].lower() == "data:":
        raise ServiceError(
            "invalid_request", "Leave the prefix 'data:…;base64,' out; send base64 alone.", index
        )
    try:
        return binascii.a2b_base64(text, strict_mode=True)
    except ValueError:
        raise ServiceError(
            "invalid_request", "This is not base64 (RFC 4648, padded, no line breaks); encode it so.", index
        ) from None


def _outputs(content: dict[str, Any], offered: Mapping[str, Datatype]) -> tuple[Asked, ...]:
    parameters = content.get("parameters")
    if not isinstance(parameters, dict | None):
        raise invalid("The request's `parameters` have to be an object.")
    binary = bool((parameters or {}).get("binary_data_output", False))
    outputs = content.get("outputs")
    if not outputs and isinstance(outputs, list | None):
        return (_plainly(next(iter(offered)), binary),)
    if not isinstance(outputs, list) or not all(isinstance(item, dict) for item in outputs):
        raise invalid("The field `outputs` has to be a list of objects with a `name`, or left out.")
    if len(outputs) == 1:
        return (_asked(outputs[0], binary, offered),)
    return once(_asked(output, binary, offered) for output in outputs)


@functools.lru_cache(maxsize=16)
def _plainly(name: str, binary: bool) -> Asked:
    return Asked(name, binary)


def _asked(output: dict[str, Any], binary: bool, offered: Mapping[str, Datatype]) -> Asked:
    parameters = output.get("parameters")
    if not isinstance(parameters, dict | None):
        raise invalid("The output's `parameters` have to be an object.")
    parameters = parameters or {}
    name = check_output(output.get("name"), tuple(parameters), offered)
    binary = bool(parameters.get("binary_data", binary))
    if "classification" in parameters:
        return Asked(name, binary, check_top(name, parameters["classification"]))
    return _plainly(name, binary)


def answer(model: str, request: InferRequest, result: Probabilities | Filtered) -> tuple[bytes, int | None]:
    """Writes the answer to a request.

    Returns:
        The body, and the length of its JSON where raw tensors follow.
    """
    if len(request.outputs) == 1 and isinstance(result, Probabilities):
        (asked,) = request.outputs
        if asked.name == OUTPUT_NAME and not asked.top:
            return _probs(model, request.id, result, binary=asked.binary)
    outputs, tail = [], []
    for asked in request.outputs:
        made = tensor(asked, result)
        output: dict[str, Any] = {"name": made.name, "datatype": made.datatype, "shape": list(made.shape)}
        if asked.binary:
            tail.append(made.raw())
            output["parameters"] = {"binary_data_size": len(tail[-1])}
        elif isinstance(made.values, list):
            output["data"] = made.values
        else:
            output["data"] = np.ascontiguousarray(made.values).ravel()
        outputs.append(output)
    content: dict[str, Any] = {"model_name": model, "model_version": result.version, "outputs": outputs}
    if request.id is not None:
        content["id"] = request.id
    head = orjson.dumps(content, option=orjson.OPT_SERIALIZE_NUMPY)
    return (b"".join([head, *tail]), len(head)) if tail else (head, None)


def _probs(
    model: str, request_id: str | None, result: Probabilities, *, binary: bool
) -> tuple[bytes, int | None]:
    """The answer to who wants the probabilities alone, as nearly all do: only the numbers are new."""
    head = _before_numbers(model, result.version, result.probs.shape)
    end = b"]}" if request_id is None else b'],"id":%b}' % orjson.dumps(request_id)
    if binary:
        raw = result.probs.tobytes()
        head += b'"parameters":{"binary_data_size":%d}}%b' % (len(raw), end)
        return head + raw, len(head)
    if result.written is not None and len(result.probs) == 1:
        return b'%b"data":[%b]}%b' % (head, result.written.row(result.first), end), None
    numbers = orjson.dumps(np.ascontiguousarray(result.probs).ravel(), option=orjson.OPT_SERIALIZE_NUMPY)
    return b'%b"data":%b}%b' % (head, numbers, end), None


@functools.lru_cache(maxsize=1024)
def _before_numbers(model: str, version: str, shape: tuple[int, ...]) -> bytes:
    output = {"name": OUTPUT_NAME, "datatype": "FP32", "shape": shape}
    return orjson.dumps({"model_name": model, "model_version": version, "outputs": [output]})[:-3] + b","


def metadata(model: str, versions: Sequence[str], output: str, shape: Sequence[int]) -> dict[str, Any]:
    """Describes a model as v2 has it.

    Args:
        model: Its name.
        versions: Those that are served.
        output: Its output, FP32.
        shape: Of one image's, in the newest version.
    """
    return {
        "name": model,
        "versions": list(versions),
        "platform": "",
        "inputs": [{"name": INPUT_NAME, "datatype": "BYTES", "shape": [-1, 1]}],
        "outputs": [{"name": output, "datatype": "FP32", "shape": [-1, *shape]}],
    }
