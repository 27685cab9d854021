"""Daft as its guide to images has it: see `peers` for the arguments.

Bytes are downloaded, decoded and resized by its own expressions; a class with one instance a core, each a
process, holds the graph.
"""

import os
import sys
from typing import Any

import daft  # type: ignore[import-not-found]  # of a Python of its own
import numpy as np
import onnxruntime
from daft import DataType, col

# As above.
from daft.functions import decode_image, download, resize  # type: ignore[import-not-found]
from daft.io import IOConfig, S3Config  # type: ignore[import-not-found]


def answers(graph: str, side: int, processes: int) -> Any:
    """The expression that answers a column of images."""

    @daft.cls(max_concurrency=processes, use_process=True)
    class Answer:
        def __init__(self) -> None:
            options = onnxruntime.SessionOptions()
            options.intra_op_num_threads = 1
            self._session = onnxruntime.InferenceSession(graph, options, providers=["CPUExecutionProvider"])

        # Daft is not there for mypy.
        @daft.method.batch(return_dtype=DataType.list(DataType.float32()), batch_size=64)  # type: ignore[untyped-decorator]
        def __call__(self, images: Any) -> Any:
            pixels = np.stack(images.to_pylist()).reshape(-1, side, side, 3)
            return list(self._session.run(["probs"], {"image": pixels})[0])

    return Answer()


def settings() -> Any:
    """The S3 of the environment, with the connections that its documentation gives many small files."""
    if "AWS_ENDPOINT_URL" not in os.environ:
        return None
    s3 = S3Config(
        endpoint_url=os.environ["AWS_ENDPOINT_URL"],
        key_id=os.environ["AWS_ACCESS_KEY_ID"],
        access_key=os.environ["AWS_SECRET_ACCESS_KEY"],
        region_name=os.environ["AWS_REGION"],
        use_ssl=False,
    )
    return IOConfig(s3=s3)


def main() -> None:
    graph, source, out, processes = sys.argv[1], sys.argv[2], sys.argv[3], int(sys.argv[4])
    side = onnxruntime.InferenceSession(graph, providers=["CPUExecutionProvider"]).get_inputs()[0].shape[1]
    if source.endswith(".parquet"):
        pictures = daft.read_parquet(source).select(col("name").alias("path"), col("image").alias("data"))
    else:
        pictures = daft.from_glob_path(f"{source}/**/*.jpg", io_config=settings())
        pictures = pictures.with_column("data", download(col("path"), io_config=settings()))
    pixels = resize(decode_image(col("data"), mode="RGB"), side, side)
    probabilities = answers(graph, side, processes)(pixels)
    pictures.select(col("path").alias("image"), probabilities.alias("probabilities")).write_parquet(out)


if __name__ == "__main__":
    main()
