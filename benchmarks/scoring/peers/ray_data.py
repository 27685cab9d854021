"""Ray Data as its guide to batch inference has it: see `peers` for the arguments.

Files by `read_images`; a Parquet by `read_parquet` and Pillow. One actor a core holds the graph; the
guide's advice for many small files is followed: as many blocks as keep the tasks few
(`override_num_blocks`).
"""

import io
import os
import sys
from typing import Any

import numpy as np
import onnxruntime
import ray  # type: ignore[import-not-found]  # of a Python of its own
from PIL import Image


class Answer:
    """One actor: a session with one thread."""

    def __init__(self, graph: str) -> None:
        options = onnxruntime.SessionOptions()
        options.intra_op_num_threads = 1
        self._session = onnxruntime.InferenceSession(graph, options, providers=["CPUExecutionProvider"])

    def __call__(self, batch: dict[str, Any]) -> dict[str, Any]:
        pixels = np.ascontiguousarray(batch["image"], np.uint8)
        return {"image": batch["path"], "probabilities": self._session.run(["probs"], {"image": pixels})[0]}


def decoded(batch: dict[str, Any], side: int) -> dict[str, Any]:
    """Bytes to pixels by Pillow."""
    images = []
    for data in batch["image"]:
        image = Image.open(io.BytesIO(data))
        image.draft("RGB", (side, side))
        images.append(np.asarray(image.convert("RGB").resize((side, side), reducing_gap=3)))
    return {"image": np.stack(images), "path": batch["name"]}


def filesystem() -> Any:
    """The S3 of the environment."""
    from pyarrow.fs import S3FileSystem

    scheme, _, server = os.environ["AWS_ENDPOINT_URL"].partition("://")
    return S3FileSystem(endpoint_override=server, scheme=scheme, region=os.environ["AWS_REGION"])


def main() -> None:
    graph, source, out, processes = sys.argv[1], sys.argv[2], sys.argv[3], int(sys.argv[4])
    side = onnxruntime.InferenceSession(graph, providers=["CPUExecutionProvider"]).get_inputs()[0].shape[1]
    ray.init(num_cpus=processes * 2, include_dashboard=False, log_to_driver=False)
    if source.endswith(".parquet"):
        pictures = ray.data.read_parquet(source, columns=["image", "name"])
        pictures = pictures.map_batches(decoded, batch_size=256, fn_args=(side,))
    else:
        pictures = ray.data.read_images(
            source.removeprefix("s3://"),
            filesystem=filesystem() if source.startswith("s3://") else None,
            size=(side, side),
            mode="RGB",
            include_paths=True,
            override_num_blocks=processes * 4,
        )
    answers = pictures.map_batches(
        Answer, fn_constructor_args=(graph,), batch_size=64, concurrency=processes, num_cpus=1
    )
    answers.write_parquet(out)


if __name__ == "__main__":
    main()
