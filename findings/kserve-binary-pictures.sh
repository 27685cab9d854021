#!/usr/bin/env bash
# KServe 0.21.0's Python model server: a picture's bytes as a binary tensor over v2 REST.
#
# Expected: a tensor of BYTES that comes after the JSON, as `binary_data_size` says (Open Inference Protocol's binary data
#           extension; Triton takes it), reaches the model as it is, as UINT8 does, and as BYTES do over gRPC.
# Seen: reading the request turns each element into text in UTF-8, so a JPEG is refused before any code of the model runs, with
#       advice to the server's own code: "Please use binary_data=True, if you want to pass a byte array.", which the
#       client did. Elements that happen to be UTF-8 arrive as str, not as bytes. Send base64 in JSON, or gRPC, or have a server
#       that reads such a request itself.
set -euo pipefail
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
python3.11 -m venv "$work/venv"
"$work/venv/bin/pip" install -q --disable-pip-version-check kserve==0.21.0 fastapi==0.165.0 httpx==0.28.1 pillow==13.0.0
"$work/venv/bin/python" -W ignore - <<'PY'
import asyncio
import io
import json
import logging

import httpx
import numpy as np
from fastapi import FastAPI
from kserve import InferOutput, InferRequest, InferResponse, Model
from kserve.errors import InferenceError
from kserve.model_repository import ModelRepository
from kserve.protocol.dataplane import DataPlane
from kserve.protocol.model_repository_extension import ModelRepositoryExtension
from kserve.protocol.rest.server import inference_error_handler
from kserve.protocol.rest.v2_endpoints import register_v2_endpoints
from PIL import Image

logging.disable()  # the server's trace of the last request


class Length(Model):
    """Answers how many elements came, and of what kind the first is."""

    def __init__(self) -> None:
        super().__init__("model")
        self.ready = True

    def predict(self, payload: InferRequest, headers: dict | None = None) -> InferResponse:
        values = payload.inputs[0].as_numpy().ravel()
        kind = InferOutput("kind", [1], "BYTES", data=[f"{len(values)} of {type(values[0]).__name__}"])
        return InferResponse("1", "model", [kind])


async def answer(datatype: str, content: bytes, elements: int) -> tuple[int, str]:
    models = ModelRepository()
    models.update(Length())
    app = FastAPI()
    app.add_exception_handler(InferenceError, inference_error_handler)
    register_v2_endpoints(app, DataPlane(model_registry=models), ModelRepositoryExtension(models))
    tensor = {"name": "x", "shape": [elements], "datatype": datatype}
    head = json.dumps({"inputs": [tensor | {"parameters": {"binary_data_size": len(content)}}]}).encode()
    async with httpx.AsyncClient(transport=httpx.ASGITransport(app), base_url="http://service.example") as client:
        got = await client.post(
            "/v2/models/model/infer",
            content=head + content,
            headers={
                "Inference-Header-Content-Length": str(len(head)),
                "Content-Type": "application/octet-stream",
            },
        )
    return got.status_code, got.json()["outputs"][0]["data"][0] if got.status_code == 200 else got.json()["error"]


def element(data: bytes) -> bytes:
    return len(data).to_bytes(4, "little") + data


jpeg = io.BytesIO()
Image.fromarray(np.zeros((8, 8, 3), np.uint8)).save(jpeg, "JPEG")
seen = {
    "UINT8": asyncio.run(answer("UINT8", bytes(3), 3)),
    "BYTES, text": asyncio.run(answer("BYTES", element(b"text"), 1)),
    "BYTES, a JPEG": asyncio.run(answer("BYTES", element(jpeg.getvalue()), 1)),
}
for name, (status, said) in seen.items():
    print(f"{name}: {status}, {said if status == 200 else '… ' + said[said.index('using UTF-8'):]}")
as_seen = seen["UINT8"][0] == 200 and seen["BYTES, text"] == (200, "1 of str")
as_seen = as_seen and seen["BYTES, a JPEG"][0] == 500 and "Please use binary_data=True" in seen["BYTES, a JPEG"][1]
raise SystemExit(0 if as_seen else "CHANGED")
PY
echo "As seen before."
