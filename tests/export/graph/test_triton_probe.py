"""Asking a Triton: what counts as an answer, and a published version on a real one."""

import json
import threading
from collections.abc import Callable, Iterator
from http.server import BaseHTTPRequestHandler, HTTPServer
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from export.artifact import assemble
from export.errors import NoAnswerError, ParityError
from export.graph.export import export_graphs
from export.graph.parity import onnx_outputs
from export.graph.triton_probe import compare_triton, infer, require_loaded
from export.store.lineage import Lineage
from export.store.versions import Store

IMAGES = np.random.default_rng(5).integers(0, 256, (70, 32, 32, 3), dtype=np.uint8)

Answer = Callable[[int], tuple[int, dict[str, str], bytes]]


def probabilities(count: int) -> np.ndarray:
    return np.tile(np.array([0.5, 0.2, 0.1, 0.1, 0.1], np.float32), (count, 1))


def v2_answer(count: int, *, version: str = "7", **changes: Any) -> tuple[int, dict[str, str], bytes]:
    """What Triton says to `count` images."""
    tensor = {"name": "probs", "datatype": "FP32", "shape": [count, 5], **changes}
    header = json.dumps({"model_version": version, "outputs": [tensor]}).encode()
    return 200, {"Inference-Header-Content-Length": str(len(header))}, header + probabilities(count).tobytes()


@pytest.fixture
def server() -> Iterator[Callable[[Answer], str]]:
    """Serves what a test says in Triton's place; the answer may depend on the number of images."""
    running: list[HTTPServer] = []

    def serve(answer: Answer) -> str:
        class Handler(BaseHTTPRequestHandler):
            def do_POST(self) -> None:
                body = self.rfile.read(int(self.headers["Content-Length"]))
                length = int(self.headers["Inference-Header-Content-Length"])
                count = json.loads(body[:length])["inputs"][0]["shape"][0]
                assert len(body) - length == count * 32 * 32 * 3
                status, headers, content = answer(count)
                self.send_response(status)
                for name, value in {**headers, "Content-Length": str(len(content))}.items():
                    self.send_header(name, value)
                self.end_headers()
                self.wfile.write(content)

            def log_message(self, *_: object) -> None:
                pass

        running.append(HTTPServer(("127.0.0.1", 0), Handler))
        threading.Thread(target=running[-1].serve_forever, args=(0.01,), daemon=True).start()
        return f"http://127.0.0.1:{running[-1].server_port}"

    yield serve
    for one in running:
        one.shutdown()
        one.server_close()


def test_images_go_in_several_calls_and_come_back_in_order(server: Callable[[Answer], str]) -> None:
    counts: list[int] = []

    def answer(count: int) -> tuple[int, dict[str, str], bytes]:
        counts.append(count)
        return v2_answer(count)

    answered = infer(server(answer), IMAGES)
    assert counts == [64, 6]
    assert answered.version == 7
    assert np.array_equal(answered.outputs, probabilities(70))


@pytest.mark.parametrize(
    ("answer", "sentence"),
    [
        (lambda count: (400, {}, b'{"error":"no such model"}'), "refused known images .400: .*no such model"),
        (lambda count: (200, {}, b"{}"), "a form that is not v2's binary one"),
        (lambda count: v2_answer(count, datatype="FP64"), "a form that is not v2's binary one"),
        (lambda count: v2_answer(count, shape=[count + 1, 5]), "a form that is not v2's binary one"),
        (lambda count: v2_answer(count, shape=[count, 4]), "a form that is not v2's binary one"),
        (lambda count: v2_answer(count, version="newest"), "a form that is not v2's binary one"),
        (lambda count: v2_answer(count, version=str(count)), r"answered with versions \[6, 64\]"),
    ],
)
def test_what_is_no_answer_is_said(server: Callable[[Answer], str], answer: Answer, sentence: str) -> None:
    with pytest.raises(ParityError, match=sentence):
        infer(server(answer), IMAGES)


def test_nobody_there(server: Callable[[Answer], str]) -> None:
    with pytest.raises(NoAnswerError, match=r"Triton at http://127.* does not answer"):
        infer("http://127.0.0.1:1", IMAGES)
    with pytest.raises(NoAnswerError, match=r"Triton at http://127.* does not list its models"):
        require_loaded("http://127.0.0.1:1")


def test_the_version_and_the_answers_must_be_the_due_ones(server: Callable[[Answer], str]) -> None:
    url = server(v2_answer)
    due = probabilities(len(IMAGES))
    assert compare_triton(url, due, IMAGES, 7).max_difference == 0
    with pytest.raises(ParityError, match="serves version 7, not 8"):
        compare_triton(url, due, IMAGES, 8)
    with pytest.raises(ParityError, match="differs from the trained model"):
        compare_triton(url, due[:, ::-1].copy(), IMAGES, 7)


@pytest.mark.slow
def test_a_published_version_on_a_real_triton(
    store: Store, lineage: Lineage, tmp_path: Path, start_triton: Callable[..., Any]
) -> None:
    from model.network.cnn import build_network

    graphs = export_graphs(build_network(seed=3), 1.3, tmp_path / "graphs")
    store.publish(lambda number, folder: assemble(graphs, lineage, number, folder))
    version = store.publish(lambda number, folder: assemble(graphs, lineage, number, folder)).version
    repository = store.fetch(version, tmp_path / "fetched")
    triton = start_triton(repository, "--config-variant", "cpu-1")
    url = f"http://{triton.address}"
    parity = compare_triton(url, onnx_outputs(graphs.classifier, IMAGES), IMAGES, version)
    assert parity.images == len(IMAGES)
    filtered = infer(url, IMAGES[:2], model="cnn-image-filters", output="filtered")
    assert filtered.version == version
    assert np.allclose(filtered.outputs, onnx_outputs(graphs.filters, IMAGES[:2]), atol=1e-5)


@pytest.mark.slow
def test_a_model_that_a_real_triton_cannot_load_is_named_with_its_reason(
    store: Store, lineage: Lineage, tmp_path: Path, start_triton: Callable[..., Any]
) -> None:
    import grpc
    import onnx

    from model.network.cnn import build_network

    graphs = export_graphs(build_network(seed=3), 1.3, tmp_path / "graphs")
    graph = onnx.load(graphs.classifier)
    graph.graph.node[0].op_type = "Unheard"
    onnx.save(graph, graphs.classifier)
    version = store.publish(lambda number, folder: assemble(graphs, lineage, number, folder)).version
    repository = store.fetch(version, tmp_path / "fetched")
    triton = start_triton(repository, "--model-control-mode", "explicit")
    triton.load("cnn-image-filters")
    with pytest.raises(grpc.RpcError):
        triton.load()
    with pytest.raises(ParityError, match=r"Triton cannot load cnn-image: .*Unheard"):
        require_loaded(f"http://{triton.address}")
