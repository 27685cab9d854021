"""Images a second of the exported graph in ONNX Runtime on CUDA, by batch size."""

import time
from pathlib import Path
from typing import Final

import numpy as np

from model.contract import IMAGE_SHAPE, INPUT_NAME

BATCHES: Final = (1, 8, 64, 512)
SECONDS: Final = 3.0


def measure(graph: Path) -> list[str]:
    """Return a line a measurement, or one that says why there is none."""
    try:
        import onnxruntime
    except ImportError:
        return ["inference: not measured, this environment has no ONNX Runtime (extra `ort-gpu`)"]
    if not graph.is_file():
        return ["inference: not measured, there is no graph; name one with --graph (a version's model.onnx)"]
    if "CUDAExecutionProvider" not in onnxruntime.get_available_providers():
        return ["inference: not measured, this ONNX Runtime is built without CUDA (extra `ort-gpu`)"]
    session = onnxruntime.InferenceSession(str(graph), providers=["CUDAExecutionProvider"])
    # Only the session tells the truth: a CUDA that cannot be loaded falls back to the CPU without an error.
    if "CUDAExecutionProvider" not in session.get_providers():
        return ["inference: not measured, ONNX Runtime could not load CUDA (driver or libraries are missing)"]
    lines = []
    for batch in BATCHES:
        images = np.random.default_rng(0).integers(0, 256, (batch, *IMAGE_SHAPE), np.uint8)
        session.run(None, {INPUT_NAME: images})
        runs, began = 0, time.perf_counter()
        while (elapsed := time.perf_counter() - began) < SECONDS:
            session.run(None, {INPUT_NAME: images})
            runs += 1
        lines.append(f"inference: CUDA, batch {batch}: {runs * batch / elapsed:,.0f} images/s")
    return lines
