"""FastAPI with ONNX Runtime in process: the short way to serve a model without a model server.

One process a core, each with one ONNX Runtime thread; decoding and the network run in the event loop, without
a thread pool. The body is the image itself; `/predict_many` takes base64 in JSON. Responses skip FastAPI's
serialization. These are choices from experience: variants of it were not measured against each other.

Environment: COMPETITOR_GRAPH, the ONNX file.
"""

import base64
import os

import numpy as np
import onnxruntime
import orjson
from fastapi import FastAPI, Request, Response

from model.contract import CLASSES, INPUT_NAME, OUTPUT_NAME
from model.images.decode import decode_image

options = onnxruntime.SessionOptions()
options.intra_op_num_threads = 1
session = onnxruntime.InferenceSession(
    os.environ["COMPETITOR_GRAPH"], options, providers=["CPUExecutionProvider"]
)
app = FastAPI()


@app.get("/health")
async def health() -> dict[str, str]:
    return {"status": "ok"}


@app.post("/predict")
async def predict(request: Request) -> Response:
    """One image as the body."""
    pixels = decode_image(await request.body())
    [probabilities] = session.run([OUTPUT_NAME], {INPUT_NAME: pixels[np.newaxis]})
    best = int(probabilities[0].argmax())
    return Response(
        orjson.dumps(
            {"class_id": best, "class_name": CLASSES[best], "probabilities": probabilities[0]},
            option=orjson.OPT_SERIALIZE_NUMPY,
        ),
        media_type="application/json",
    )


@app.post("/predict_many")
async def predict_many(request: Request) -> Response:
    """`{"images": ["base64", …]}`."""
    images = orjson.loads(await request.body())["images"]
    pixels = np.stack([decode_image(base64.b64decode(image)) for image in images])
    [probabilities] = session.run([OUTPUT_NAME], {INPUT_NAME: pixels})
    return Response(
        orjson.dumps({"probabilities": probabilities}, option=orjson.OPT_SERIALIZE_NUMPY),
        media_type="application/json",
    )
