"""What every competitor does with a request: decode, ask ONNX Runtime, write JSON.

A request's body is one image, or several, each after its length (`benchmarks.serving.payloads`), so that
nobody spends time on an envelope. The answer is `{"probabilities": …}`.

Environment: COMPETITOR_GRAPH, the ONNX file; COMPETITOR_SIZE, the side of its input, by default 32;
COMPETITOR_DECODER, one of `DECODERS`, by default ours; COMPETITOR_THREADS, ONNX Runtime's, by default 1;
COMPETITOR_SETTINGS, what a competitor's own settings are, as JSON.
"""

import io
import json
import os
import struct
from collections.abc import Callable, Mapping, Sequence
from typing import Any, Final

import numpy as np
import onnxruntime
import orjson
from numpy.typing import NDArray
from PIL import Image

from model.contract import INPUT_NAME, OUTPUT_NAME
from model.images.decode import decode_image

Pixels = NDArray[np.uint8]


def ours(data: bytes, size: int) -> Pixels:
    """This product's decoder."""
    return decode_image(data, size=size)


def pillow(data: bytes, size: int) -> Pixels:
    """Pillow as tutorials have it: the whole picture is decoded."""
    return np.asarray(Image.open(io.BytesIO(data)).convert("RGB").resize((size, size)))


def pillow_draft(data: bytes, size: int) -> Pixels:
    """Pillow as who has read its documentation has it: a large JPEG is decoded at a fraction of its size."""
    image = Image.open(io.BytesIO(data))
    image.draft("RGB", (size, size))
    return np.asarray(image.convert("RGB").resize((size, size), reducing_gap=3))


DECODERS: Final[Mapping[str, Callable[[bytes, int], Pixels]]] = {
    "ours": ours,
    "pillow": pillow,
    "pillow-draft": pillow_draft,
}


def settings() -> dict[str, Any]:
    """The competitor's own settings."""
    return dict(json.loads(os.environ.get("COMPETITOR_SETTINGS", "{}")))


def size() -> int:
    """The side of the graph's input."""
    return int(os.environ.get("COMPETITOR_SIZE", "32"))


def decode(data: bytes) -> Pixels:
    """Decodes one image as the environment says, `[size, size, 3]`."""
    return DECODERS[os.environ.get("COMPETITOR_DECODER", "ours")](data, size())


def images(body: bytes) -> list[bytes]:
    """The images of a request: a JPEG's first bytes would be a length of 16 megabytes."""
    if body[:3] == b"\xff\xd8\xff":
        return [body]
    found, start = [], 0
    while start < len(body):
        (length,) = struct.unpack_from("<I", body, start)
        found.append(body[start + 4 : start + 4 + length])
        start += 4 + length
    return found


class Model:
    """One ONNX Runtime session, and all of a request around it."""

    def __init__(self) -> None:
        options = onnxruntime.SessionOptions()
        options.intra_op_num_threads = int(os.environ.get("COMPETITOR_THREADS", "1"))
        self._session = onnxruntime.InferenceSession(
            os.environ["COMPETITOR_GRAPH"], options, providers=["CPUExecutionProvider"]
        )
        name, side = os.environ.get("COMPETITOR_DECODER", "ours"), size()
        self._decode, self._size = DECODERS[name], side

    def pixels(self, body: bytes) -> Pixels:
        """The images of one request, `[n, size, size, 3]`."""
        return np.stack([self._decode(one, self._size) for one in images(body)])

    def probabilities(self, pixels: Sequence[Pixels]) -> list[bytes]:
        """Asks the network once for the images of several requests; returns an answer for each."""
        together = pixels[0] if len(pixels) == 1 else np.concatenate(pixels)
        [found] = self._session.run([OUTPUT_NAME], {INPUT_NAME: together})
        answers, start = [], 0
        for one in pixels:
            of_one = found[start : start + len(one)]
            answers.append(
                orjson.dumps(
                    {"probabilities": of_one[0] if len(one) == 1 else of_one},
                    option=orjson.OPT_SERIALIZE_NUMPY,
                )
            )
            start += len(one)
        return answers

    def answers(self, bodies: Sequence[bytes]) -> list[bytes]:
        """Answers several requests at once."""
        return self.probabilities([self.pixels(body) for body in bodies])

    def answer(self, body: bytes) -> bytes:
        """Answers one."""
        return self.answers([body])[0]
