"""Triton's Python backend as the first step of an ensemble: encoded images in, pixels out.

Triton loads this file in a process of its own for each instance. The model's parameter `python_path` names
the folder where the product's decoder and what it needs can be imported from.
"""

import json
import sys
from typing import Any

import numpy as np
import triton_python_backend_utils as pb_utils


class TritonPythonModel:
    """One instance of the decoding step."""

    def initialize(self, args: dict[str, str]) -> None:
        sys.path.insert(0, json.loads(args["model_config"])["parameters"]["python_path"]["string_value"])
        from model.images.decode import decode_image

        self._decode = decode_image

    def execute(self, requests: list[Any]) -> list[Any]:
        """Answers each request's `[N, 1]` images with `[N, 32, 32, 3]` pixels."""
        return [self._answer(request) for request in requests]

    def _answer(self, request: Any) -> Any:
        encoded = pb_utils.get_input_tensor_by_name(request, "encoded").as_numpy()
        try:
            pixels = np.stack([self._decode(image) for image in encoded.ravel()])
        except ValueError as error:
            return pb_utils.InferenceResponse(error=pb_utils.TritonError(str(error)))
        return pb_utils.InferenceResponse([pb_utils.Tensor("image", pixels)])
