"""Ray Data as its guide to batch inference has it: `python ray_data.py GRAPH SOURCE OUT PROCESSES`.

SOURCE is a folder, read by `read_images`, or a Parquet with the column `image` of bytes. Run by a Python of
its own, which needs ray[data], onnxruntime and Pillow; nothing of the product is imported.
"""

import io
import sys
from typing import Any

import numpy as np
import onnxruntime
import ray  # type: ignore[import-not-found]  # of a Python of its own


class Answer:
    """One actor: a session with one thread."""

    def __init__(self, graph: str) -> None:
        options = onnxruntime.SessionOptions()
        options.intra_op_num_threads = 1
        self._session = onnxruntime.InferenceSession(graph, options, providers=["CPUExecutionProvider"])

    def __call__(self, batch: dict[str, Any]) -> dict[str, Any]:
        probs = self._session.run(["probs"], {"image": np.ascontiguousarray(batch["image"], np.uint8)})[0]
        return {"class_id": probs.argmax(axis=1), "confidence": probs.max(axis=1), "probabilities": probs}


def decoded(batch: dict[str, Any]) -> dict[str, Any]:
    """Bytes to pixels by Pillow."""
    from PIL import Image

    images = [Image.open(io.BytesIO(data)).convert("RGB").resize((32, 32)) for data in batch["image"]]
    return {"image": np.stack([np.asarray(image) for image in images])}


def main() -> None:
    graph, source, out, processes = sys.argv[1], sys.argv[2], sys.argv[3], int(sys.argv[4])
    ray.init(num_cpus=processes * 2, include_dashboard=False, log_to_driver=False)
    if source.endswith(".parquet"):
        pictures = ray.data.read_parquet(source, columns=["image"]).map_batches(decoded, batch_size=256)
    else:
        pictures = ray.data.read_images(source, size=(32, 32), mode="RGB")
    answers = pictures.map_batches(
        Answer, fn_constructor_args=(graph,), batch_size=64, concurrency=processes, num_cpus=1
    )
    answers.write_parquet(out)


if __name__ == "__main__":
    main()
