"""What every competitor does with a request: decode, ask ONNX Runtime, write JSON.

A request's body is one image, or several, each after its length (`benchmarks.serving.payloads`), so that
nobody spends time on an envelope. The answer is `{"probabilities": …}`.

Environment: COMPETITOR_GRAPH, the ONNX file; COMPETITOR_THREADS, ONNX Runtime's, by default 1;
COMPETITOR_SETTINGS, what a competitor's own settings are, as JSON; and what `decoders` reads.
"""

import json
import os
import struct
from collections.abc import Sequence
from typing import Any

import numpy as np
import onnxruntime
import orjson

from benchmarks.competitors.decoders import Pixels, decoder
from model.contract import INPUT_NAME, OUTPUT_NAME


def settings() -> dict[str, Any]:
    """The competitor's own settings."""
    return dict(json.loads(os.environ.get("COMPETITOR_SETTINGS", "{}")))


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
        self._decode = decoder()

    def pixels(self, body: bytes) -> Pixels:
        """The images of one request, `[n, size, size, 3]`."""
        return np.stack([self._decode(one) for one in images(body)])

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
