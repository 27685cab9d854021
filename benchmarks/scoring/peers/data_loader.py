"""A torch DataLoader with ONNX Runtime: see `peers` for the arguments; `simplejpeg` may follow.

Pillow decodes, or simplejpeg. As torch's notes on performance have it: a worker a core, `prefetch_factor`,
batches put together by the workers, and the graph in the process that reads them. Objects are brought by
AWS's own connector for torch.
"""

import io
import os
import sys
from pathlib import Path
from typing import Any

import numpy as np
import onnxruntime
import pyarrow as pa
import pyarrow.parquet as pq
import torch  # type: ignore[import-not-found]  # of a Python of its own
from PIL import Image
from torch.utils.data import DataLoader, Dataset  # type: ignore[import-not-found]

_BATCH = 64


def by_pillow(data: bytes, side: int) -> Any:
    image = Image.open(io.BytesIO(data))
    image.draft("RGB", (side, side))
    return np.array(image.convert("RGB").resize((side, side), reducing_gap=3))


def by_simplejpeg(data: bytes, side: int) -> Any:
    import simplejpeg

    pixels = simplejpeg.decode_jpeg(data, "RGB", min_height=side, min_width=side)
    if pixels.shape[:2] == (side, side):
        return pixels
    return np.array(Image.fromarray(pixels).resize((side, side), reducing_gap=3))


class Files(Dataset):  # type: ignore[misc] # torch is not there for mypy
    """Files of a folder."""

    def __init__(self, folder: str, side: int, decode: Any) -> None:
        self._paths = sorted(str(path) for path in Path(folder).rglob("*.jpg"))
        self._side, self._decode = side, decode

    def __len__(self) -> int:
        return len(self._paths)

    def __getitem__(self, number: int) -> tuple[str, Any]:
        path = self._paths[number]
        with open(path, "rb") as file:  # noqa: PTH123 # as torch's documentation reads
            return path, self._decode(file.read(), self._side)


class Rows(Dataset):  # type: ignore[misc] # as Files
    """Rows of a Parquet, in memory."""

    def __init__(self, path: str, side: int, decode: Any) -> None:
        self._table = pq.read_table(path, columns=["image", "name"])
        self._side, self._decode = side, decode

    def __len__(self) -> int:
        return len(self._table)

    def __getitem__(self, number: int) -> tuple[str, Any]:
        data = self._table["image"][number].as_py()
        return self._table["name"][number].as_py(), self._decode(data, self._side)


def objects(source: str, side: int, decode: Any) -> Any:
    """Objects below a prefix."""
    from s3torchconnector import S3ClientConfig, S3MapDataset  # type: ignore[import-not-found]

    return S3MapDataset.from_prefix(
        source,
        region=os.environ["AWS_REGION"],
        endpoint=os.environ["AWS_ENDPOINT_URL"],
        transform=lambda reader: (reader.key, decode(reader.read(), side)),
        s3client_config=S3ClientConfig(force_path_style=True),
    )


def together(items: list[tuple[str, Any]]) -> tuple[list[str], Any]:
    return [name for name, _ in items], torch.from_numpy(np.stack([pixels for _, pixels in items]))


def main() -> None:
    graph, source, out, processes = sys.argv[1], sys.argv[2], sys.argv[3], int(sys.argv[4])
    decode = by_simplejpeg if "simplejpeg" in sys.argv[5:] else by_pillow
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = 1
    session = onnxruntime.InferenceSession(graph, options, providers=["CPUExecutionProvider"])
    side = session.get_inputs()[0].shape[1]
    if source.startswith("s3://"):
        pictures = objects(source, side, decode)
    else:
        pictures = (Rows if source.endswith(".parquet") else Files)(source, side, decode)
    loader = DataLoader(
        pictures, batch_size=_BATCH, num_workers=processes, prefetch_factor=4, collate_fn=together
    )
    names: list[str] = []
    found = []
    for batch, pixels in loader:
        names += batch
        found.append(session.run(["probs"], {"image": pixels.numpy()})[0])
    Path(out).mkdir(parents=True)
    table = pa.table({"image": names, "probabilities": list(np.concatenate(found))})
    pq.write_table(table, Path(out) / "answers.parquet")


if __name__ == "__main__":
    main()
