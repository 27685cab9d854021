"""The original service: FastAPI, an upload, Pillow, `keras.Model.predict` for each request.

Environment: COMPETITOR_NETWORK, the Keras model (`.keras`) that answers probabilities for uint8 images.
"""

import io
import os
from typing import Annotated

import keras
import numpy as np
from fastapi import FastAPI, File, UploadFile
from PIL import Image

from model.contract import CLASSES, FILTER_NAMES, IMAGE_SIZE

network = keras.saving.load_model(os.environ["COMPETITOR_NETWORK"], compile=False)
network.predict(np.zeros((1, IMAGE_SIZE, IMAGE_SIZE, 3), np.uint8), verbose=0)
app = FastAPI()


@app.get("/health")
async def health() -> dict[str, str]:
    return {"status": "healthy"}


@app.post("/predict")
def predict(file: Annotated[UploadFile, File()]) -> dict[str, object]:
    image = Image.open(io.BytesIO(file.file.read())).convert("RGB").resize((IMAGE_SIZE, IMAGE_SIZE))
    probabilities = network.predict(np.asarray(image)[np.newaxis], verbose=0)[0]
    best = int(np.argmax(probabilities))
    return {
        "class_id": best,
        "class_name": CLASSES[best],
        "confidence": float(probabilities[best]),
        "probabilities": probabilities.tolist(),
        "filters_applied": list(FILTER_NAMES),
    }
