"""A transformer as KServe's own examples write it: `preprocess` decodes, Triton is called over gRPC v2.

Every request is one call to the predictor. Run it with KServe's flags (`--predictor_host`, `--http_port`,
…); the benchmark switches its access and latency logs off.

Environment: COMPETITOR_DECODER and COMPETITOR_SIZE, see `decoders`.
"""

import base64
from typing import Any

import numpy as np
from kserve.model import Model
from kserve.model_server import ModelServer
from kserve.protocol.infer_type import InferInput, InferRequest, InferResponse

from benchmarks.competitors.decoders import decoder
from model.contract import INPUT_NAME, MODEL_NAME


class StockTransformer(Model):
    """v1 JSON with base64 images in, v2 gRPC to the predictor, v1 JSON out."""

    def __init__(self, name: str) -> None:
        super().__init__(name)
        self._decode = decoder()

    async def preprocess(
        self, payload: dict[str, Any] | InferRequest, headers: dict[str, str] | None = None
    ) -> InferRequest:
        assert isinstance(payload, dict)
        pixels = np.stack(
            [self._decode(base64.b64decode(instance["image"]["b64"])) for instance in payload["instances"]]
        )
        tensor = InferInput(INPUT_NAME, list(pixels.shape), "UINT8")
        tensor.set_data_from_numpy(pixels, binary_data=True)
        return InferRequest(self.name, [tensor])

    async def postprocess(
        self,
        result: dict[str, Any] | InferResponse,
        headers: dict[str, str] | None = None,
        response_headers: dict[str, str] | None = None,
    ) -> dict[str, Any]:
        assert isinstance(result, InferResponse)
        return {"predictions": result.outputs[0].as_numpy().tolist()}


if __name__ == "__main__":
    transformer = StockTransformer(MODEL_NAME)
    transformer.load()
    ModelServer().start([transformer])
