"""Real servers for tests: a small model of the contract's signature, Triton on it, a transformer in front."""

import json
import os
import signal
import subprocess
import sys
import urllib.error
import urllib.request
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from types import MappingProxyType

import grpc
import httpx
import numpy as np
import pytest
from machine import free_port, wait_until
from numpy.typing import NDArray

from export.graph.triton_config import CPU_1, filters_config
from model.contract import DEFAULT_CONTRACT, FILTERED_NAME, INPUT_NAME, MODEL_NAME, OUTPUT_NAME, Contract
from model.images.decode import DECODER_VERSION

ROOT = Path(__file__).parent.parent


@dataclass(frozen=True)
class SmallModel:
    """One linear layer and a softmax with a contract's names and shapes; other version, other weights.

    Attributes:
        version: Its number.
        written: The contract in its configuration; None as in layout 1, which has none there.
        outputs: Of the graph, in this order.
    """

    version: int
    written: Contract | None = None
    outputs: tuple[str, ...] = (OUTPUT_NAME,)

    @property
    def contract(self) -> Contract:
        return self.written or DEFAULT_CONTRACT

    @property
    def weights(self) -> NDArray[np.float32]:
        shape = (self.contract.image_bytes, len(self.contract.classes))
        scale = 2000 * self.contract.size / DEFAULT_CONTRACT.size
        return (np.random.default_rng(self.version).standard_normal(shape) / scale).astype(np.float32)

    def probs(self, images: NDArray[np.uint8]) -> NDArray[np.float32]:
        """What the model answers, computed by numpy."""
        logits = images.reshape(len(images), -1).astype(np.float64) @ self.weights
        powers = np.exp(logits - logits.max(axis=1, keepdims=True))
        return (powers / powers.sum(axis=1, keepdims=True)).astype(np.float32)

    def write(self, folder: Path) -> None:
        """Writes `<folder>/<model>`, as the contract names it, as a whole model of a Triton repository."""
        import onnx
        from onnx import TensorProto, helper, numpy_helper

        promised = self.contract
        graph = helper.make_graph(
            [
                helper.make_node("Cast", [INPUT_NAME], ["real"], to=TensorProto.FLOAT),
                helper.make_node("Reshape", ["real", "flat_shape"], ["flat"]),
                helper.make_node("MatMul", ["flat", "weights"], ["logits"]),
                helper.make_node("Softmax", ["logits"], [OUTPUT_NAME], axis=1),
            ],
            "small",
            [helper.make_tensor_value_info(INPUT_NAME, TensorProto.UINT8, ["batch", *promised.image_shape])],
            [
                helper.make_tensor_value_info(name, TensorProto.FLOAT, ["batch", len(promised.classes)])
                for name in self.outputs
            ],
            [
                numpy_helper.from_array(np.array([-1, promised.image_bytes], np.int64), "flat_shape"),
                numpy_helper.from_array(self.weights, "weights"),
            ],
        )
        made = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 18)], ir_version=10)
        onnx.checker.check_model(made)
        model = folder / promised.model
        (model / str(self.version)).mkdir(parents=True)
        onnx.save(made, model / str(self.version) / "model.onnx")
        (model / "labels.txt").write_text("\n".join(promised.classes) + "\n")
        (model / "config.pbtxt").write_text(self.config(instances=1))
        (model / "configs").mkdir()
        (model / "configs" / "cpu-2.pbtxt").write_text(self.config(instances=2))

    def config(self, instances: int) -> str:
        shape = ", ".join(map(str, self.contract.image_shape))
        classes = len(self.contract.classes)
        label = {OUTPUT_NAME: 'label_filename: "labels.txt"'}
        outputs = ", ".join(
            f'{{ name: "{name}" data_type: TYPE_FP32 dims: [{classes}] {label.get(name, "")} }}'
            for name in self.outputs
        )
        parameters = {
            "intra_op_thread_count": "1",
            "version": str(self.version),
            "decoder_version": DECODER_VERSION,
            "session.intra_op.allow_spinning": "0",
        }
        if self.written is not None:
            parameters["contract"] = self.written.to_json()
        return f"""
            name: "{self.contract.model}"
            backend: "onnxruntime"
            max_batch_size: 64
            input [{{ name: "{INPUT_NAME}" data_type: TYPE_UINT8 dims: [{shape}] }}]
            output [{outputs}]
            instance_group [{{ count: {instances} kind: KIND_CPU }}]
            version_policy {{ latest {{ num_versions: 1 }} }}
        """ + "\n".join(
            f'parameters {{ key: "{key}" value {{ string_value: {json.dumps(text, ensure_ascii=False)} }} }}'
            for key, text in parameters.items()
        )


def write_filters(path: Path, contract: Contract = DEFAULT_CONTRACT) -> None:
    """Writes a graph with the filter model's signature: the image, four times."""
    import onnx
    from onnx import TensorProto, helper

    shape = ["batch", *contract.image_shape]
    graph = helper.make_graph(
        [
            helper.make_node("Cast", [INPUT_NAME], ["real"], to=TensorProto.FLOAT),
            helper.make_node("Concat", ["real"] * 4, [FILTERED_NAME], axis=3),
        ],
        "filters",
        [helper.make_tensor_value_info(INPUT_NAME, TensorProto.UINT8, shape)],
        [helper.make_tensor_value_info(FILTERED_NAME, TensorProto.FLOAT, [*shape[:3], 12])],
    )
    onnx.save(helper.make_model(graph, opset_imports=[helper.make_opsetid("", 18)], ir_version=10), path)


def write_filters_model(folder: Path, model: SmallModel) -> None:
    """Writes the filters of a version beside it, as a whole model of a Triton repository."""
    filters = folder / model.contract.filters_model
    (filters / str(model.version)).mkdir(parents=True)
    write_filters(filters / str(model.version) / "model.onnx", model.contract)
    contract = {} if model.written is None else {"contract": model.written.to_json()}
    config = filters_config(CPU_1, {"version": str(model.version), **contract}, model.contract)
    (filters / "config.pbtxt").write_text(config.to_pbtxt())


def versions(folder: Path, *models: SmallModel) -> Path:
    """Writes folders `v7`, `v8`, … and a repository whose model is a link to the first of them."""
    for model in models:
        model.write(folder / f"v{model.version}")
    (folder / "serving").mkdir()
    point_to(folder, models[0].version)
    return folder / "serving"


def point_to(folder: Path, version: int) -> None:
    """Lets the repository that `versions` has written hold another version, as the laptop's service does."""
    # Triton loads again only what is newer than what it has.
    os.utime(folder / f"v{version}" / MODEL_NAME / "config.pbtxt")
    link = folder / "serving" / "new"
    link.symlink_to(folder / f"v{version}" / MODEL_NAME)
    link.rename(folder / "serving" / MODEL_NAME)


@dataclass
class RunningTriton:
    """A Triton that a test started."""

    process: subprocess.Popen[bytes]
    http_port: int
    grpc_port: int
    metrics_port: int
    repository: Path
    log: Path
    host: str = "127.0.0.1"

    @property
    def address(self) -> str:
        return f"{self.host}:{self.http_port}"

    def ready(self) -> bool:
        if self.process.poll() is not None:
            pytest.fail(f"Triton ended with {self.process.returncode}:\n{self.log.read_text()[-3000:]}")
        try:
            with urllib.request.urlopen(f"http://{self.address}/v2/health/ready", timeout=1) as answer:
                return bool(answer.status == 200)
        except OSError:
            return False

    def load(self, model: str = MODEL_NAME) -> None:
        """Loads what the repository holds now; over gRPC, as over HTTP it holds up inferences meanwhile."""
        with grpc.insecure_channel(f"{self.host}:{self.grpc_port}") as channel:
            call = channel.unary_unary("/inference.GRPCInferenceService/RepositoryModelLoad")
            # A RepositoryModelLoadRequest whose field 2, the model's name, is set: the classes that kserve
            # and tritonclient have for it exclude each other in one process.
            call(b"\x12" + bytes([len(model)]) + model.encode(), timeout=60)

    def stop(self) -> None:
        if self.process.poll() is None:
            self.process.send_signal(signal.SIGCONT)
            self.process.terminate()
            try:
                self.process.wait(60)
            except subprocess.TimeoutExpired:
                self.process.kill()
                self.process.wait()


StartTriton = Callable[..., RunningTriton]


@contextmanager
def tritons(logs: Path) -> Iterator[StartTriton]:
    """Gives a function that starts a real Triton on a repository; all it started end with the block."""
    started: list[RunningTriton] = []

    def start(
        repository: Path,
        *flags: str,
        host: str = "127.0.0.1",
        http_port: int | None = None,
        wait: bool = True,
        program: Sequence[str] = ("-m", "triton_server"),
    ) -> RunningTriton:
        ports = [http_port or free_port(), free_port(), free_port()]
        names = ("--http-port", "--grpc-port", "--metrics-port")
        log = logs / f"triton-{len(started)}.log"
        with log.open("wb") as sink:
            process = subprocess.Popen(
                [
                    *(sys.executable, *program, "--model-repository", str(repository)),
                    *("--address", host),
                    *(part for pair in zip(names, map(str, ports), strict=True) for part in pair),
                    *flags,
                ],
                cwd=ROOT,
                env={**os.environ, "PYTHONPATH": str(ROOT / "kserve")},
                stdout=sink,
                stderr=subprocess.STDOUT,
            )
        running = RunningTriton(process, ports[0], ports[1], ports[2], repository, log, host)
        started.append(running)
        if wait:
            wait_until(running.ready, "Triton's start")
        return running

    try:
        yield start
    finally:
        for running in started:
            running.stop()


@dataclass
class RunningTransformer:
    """A transformer in a process of its own."""

    process: subprocess.Popen[bytes]
    http_port: int
    grpc_port: int
    log: Path

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.http_port}"

    def healthy(self) -> bool:
        if self.process.poll() is not None:
            pytest.fail(
                f"the transformer ended with {self.process.returncode}:\n{self.log.read_text()[-3000:]}"
            )
        try:
            return httpx.get(self.url + "/health", timeout=5).status_code == 200
        except httpx.TransportError:
            return False


StartTransformer = Callable[..., RunningTransformer]


@contextmanager
def transformers(logs: Path) -> Iterator[StartTransformer]:
    """Gives a function that starts a transformer in front of an address, settings by name.

    All it started are killed with the block: one that is told to end gives its clients two seconds to leave.
    """
    started: list[RunningTransformer] = []

    def start(
        predictor_host: str,
        *,
        wait: bool = True,
        host: str = "127.0.0.1",
        program: Sequence[str] = ("-m", "image_transformer"),
        environment: Mapping[str, str] = MappingProxyType({}),
        **settings: object,
    ) -> RunningTransformer:
        http, grpc = free_port(), free_port()
        log = logs / f"transformer-{len(started)}.log"
        with log.open("wb") as sink:
            process = subprocess.Popen(
                [
                    *(sys.executable, *program, f"--predictor_host={predictor_host}"),
                    *(f"--http_port={http}", f"--grpc_port={grpc}", f"--host={host}"),
                ],
                env={
                    **os.environ,
                    **environment,
                    **{f"CNN_IMAGE_{name.upper()}": str(text) for name, text in settings.items()},
                },
                stdout=sink,
                stderr=subprocess.STDOUT,
            )
        running = RunningTransformer(process, http, grpc, log)
        started.append(running)
        if wait:
            wait_until(running.healthy, "the transformer's start")
        return running

    try:
        yield start
    finally:
        for running in started:
            running.process.kill()
            running.process.wait()
