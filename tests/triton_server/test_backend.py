"""The backend with a stand-in for the module that Triton's stub gives it."""

import importlib
import json
import sys
from dataclasses import dataclass
from pathlib import Path
from types import ModuleType, SimpleNamespace
from typing import Any

import numpy as np
import pytest
from serving import SmallModel

PIXELS = np.random.default_rng(3).integers(0, 256, (6, 32, 32, 3), np.uint8)


@dataclass
class Tensor:
    name: str
    array: Any

    def as_numpy(self) -> Any:
        return self.array


@dataclass
class Response:
    tensors: list[Tensor] | None = None
    error: str | None = None


@pytest.fixture
def backend(monkeypatch: pytest.MonkeyPatch) -> ModuleType:
    utils = SimpleNamespace(
        Tensor=Tensor,
        TritonError=str,
        TritonModelException=RuntimeError,
        InferenceResponse=Response,
        get_input_tensor_by_name=lambda request, name: next(t for t in request if t.name == name),
    )
    monkeypatch.setitem(sys.modules, "triton_python_backend_utils", utils)
    monkeypatch.delitem(sys.modules, "triton_server.backend.model", raising=False)
    return importlib.import_module("triton_server.backend.model")


def arguments(repository: Path, kind: str = "CPU", **changes: Any) -> dict[str, str]:
    config = {
        "max_batch_size": 64,
        "input": [{"name": "image"}],
        "output": [{"name": "probs"}],
        "parameters": {"intra_op_thread_count": {"string_value": "1"}},
        **changes,
    }
    return {
        "model_config": json.dumps(config),
        "model_repository": str(repository / "cnn-image"),
        "model_version": "7",
        "model_instance_kind": kind,
    }


@pytest.fixture
def repository(small_model: SmallModel, tmp_path: Path) -> Path:
    small_model.write(tmp_path)
    return tmp_path


def test_one_request_and_several_get_their_own_rows(
    backend: ModuleType, repository: Path, small_model: SmallModel
) -> None:
    model = backend.TritonPythonModel()
    model.initialize(arguments(repository))
    for cuts in ([6], [1, 2, 3], [3, 3]):
        parts = np.split(PIXELS, np.cumsum(cuts)[:-1])
        responses = model.execute([[Tensor("image", part)] for part in parts])
        for part, response in zip(parts, responses, strict=True):
            (tensor,) = response.tensors
            assert tensor.name == "probs"
            np.testing.assert_allclose(tensor.array, small_model.probs(part), atol=1e-5)


def test_a_request_that_fails_fails_alone(
    backend: ModuleType, repository: Path, small_model: SmallModel
) -> None:
    model = backend.TritonPythonModel()
    model.initialize(arguments(repository))
    wrong = Tensor("image", PIXELS[:1, :16])
    bad, good = model.execute([[wrong], [Tensor("image", PIXELS[:2])]])
    assert bad.error
    np.testing.assert_allclose(good.tensors[0].array, small_model.probs(PIXELS[:2]), atol=1e-5)


def test_parameters_of_the_cpp_backend_reach_the_session(backend: ModuleType) -> None:
    parameters = {
        "intra_op_thread_count": "3",
        "inter_op_thread_count": "2",
        "session.intra_op.allow_spinning": "0",
        "version": "7",
    }
    options = backend.session_options(
        {"parameters": {name: {"string_value": text} for name, text in parameters.items()}}
    )
    assert options.intra_op_num_threads == 3
    assert options.inter_op_num_threads == 2
    assert options.get_session_config_entry("session.intra_op.allow_spinning") == "0"


def test_a_gpu_is_refused_in_a_sentence(backend: ModuleType, repository: Path) -> None:
    with pytest.raises(RuntimeError, match="choose a cpu-N config variant"):
        backend.TritonPythonModel().initialize(arguments(repository, kind="GPU"))
