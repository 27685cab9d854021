"""FastAPI with ONNX Runtime in process as tutorials write it: upload, Pillow, one process, default threads.

Environment: COMPETITOR_GRAPH, the ONNX file; COMPETITOR_SIZE, the side of its input, by default 32.
"""

import io
import os
from typing import Annotated

import numpy as np
import onnxruntime
from fastapi import FastAPI, File, UploadFile
from PIL import Image

from model.contract import CLASSES, INPUT_NAME, OUTPUT_NAME

session = onnxruntime.InferenceSession(os.environ["COMPETITOR_GRAPH"], providers=["CPUExecutionProvider"])
size = int(os.environ.get("COMPETITOR_SIZE", "32"))
app = FastAPI()


@app.get("/health")
async def health() -> dict[str, str]:
    return {"status": "ok"}


@app.post("/predict")
def predict(file: Annotated[UploadFile, File()]) -> dict[str, object]:
    image = Image.open(io.BytesIO(file.file.read())).convert("RGB").resize((size, size))
    [probabilities] = session.run([OUTPUT_NAME], {INPUT_NAME: np.asarray(image)[np.newaxis]})
    best = int(probabilities[0].argmax())
    return {"class_id": best, "class_name": CLASSES[best], "probabilities": probabilities[0].tolist()}
