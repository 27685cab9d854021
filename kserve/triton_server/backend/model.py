"""Triton's `onnxruntime` backend on ONNX Runtime's Python package, for the embedded server.

Triton's Python stub loads this file once for each model instance, in a process of its own. It takes a model
folder written for the C++ backend as it is: `config.pbtxt` with `backend: "onnxruntime"`, `N/model.onnx`, and
the `parameters` that backend documents (`intra_op_thread_count`, `session.intra_op.allow_spinning`, …).
"""

import json
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np
import onnxruntime
import triton_python_backend_utils as pb_utils


def session_options(config: dict[str, Any]) -> onnxruntime.SessionOptions:
    """Returns the session's options as the C++ backend would set them from a model configuration."""
    parameters = {name: value["string_value"] for name, value in config.get("parameters", {}).items()}
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = int(parameters.get("intra_op_thread_count", 0))
    options.inter_op_num_threads = int(parameters.get("inter_op_thread_count", 0))
    for name, value in parameters.items():
        if name.startswith("session."):  # ONNX Runtime's own configuration keys
            options.add_session_config_entry(name, value)
    return options


class TritonPythonModel:
    """One instance of a model; Triton finds the class by this name."""

    def initialize(self, args: dict[str, str]) -> None:
        """Loads the graph of the version Triton asks for.

        Args:
            args: Triton's: the configuration as JSON, the model's folder and version, the instance's kind.

        Raises:
            TritonModelException: an instance on a GPU was asked for.
        """
        if args["model_instance_kind"] == "GPU":
            raise pb_utils.TritonModelException(
                "The embedded Triton runs on the CPU alone: choose a cpu-N config variant, "
                "or serve with NVIDIA's image for a GPU."
            )
        config = json.loads(args["model_config"])
        graph = Path(args["model_repository"]) / args["model_version"]
        graph /= config.get("default_model_filename") or "model.onnx"
        self._session = onnxruntime.InferenceSession(
            graph, session_options(config), providers=["CPUExecutionProvider"]
        )
        self._batched = config["max_batch_size"] > 0
        self._inputs = [tensor["name"] for tensor in config["input"]]
        self._outputs = [tensor["name"] for tensor in config["output"]]

    def execute(self, requests: list[Any]) -> list[Any]:
        """Answers requests; those that Triton batched together go through the graph as one."""
        if self._batched and len(requests) > 1:
            return self._together(requests)
        return [self._alone(request) for request in requests]

    def _tensor(self, request: Any, name: str) -> Any:
        # A view of Triton's shared memory: nothing is copied on the way to ONNX Runtime.
        return pb_utils.get_input_tensor_by_name(request, name).as_numpy()

    def _alone(self, request: Any) -> Any:
        try:
            results = self._session.run(
                self._outputs, {name: self._tensor(request, name) for name in self._inputs}
            )
        except Exception as error:  # whatever ONNX Runtime says is this request's answer
            return pb_utils.InferenceResponse(error=pb_utils.TritonError(str(error)))
        return self._response(results)

    def _together(self, requests: list[Any]) -> list[Any]:
        parts = {name: [self._tensor(request, name) for request in requests] for name in self._inputs}
        ends = np.cumsum([0, *(len(part) for part in parts[self._inputs[0]])])
        try:
            results = self._session.run(
                self._outputs, {name: np.concatenate(part) for name, part in parts.items()}
            )
        except Exception:  # one of them may be to blame: each gets its own answer
            return [self._alone(request) for request in requests]
        return [self._response([result[start:end] for result in results]) for start, end in pairwise(ends)]

    def _response(self, results: list[Any]) -> Any:
        tensors = [pb_utils.Tensor(name, result) for name, result in zip(self._outputs, results, strict=True)]
        return pb_utils.InferenceResponse(tensors)
