"""The live service asked for known images: what is its answer, and what is something else's."""

import io
import json
import threading
import zipfile
from collections.abc import Callable, Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import numpy as np
import onnx
import pytest
from numpy.typing import NDArray
from onnx import TensorProto, helper, numpy_helper

from export.artifact import assemble
from export.graph.export import Graphs
from export.store.lineage import DataLineage, Lineage
from export.store.versions import KNOWN, Store
from jobs import known
from jobs.errors import FaultError, RefusedError
from jobs.known import KnownImages, known_evidence, known_images, make_known, verify_service
from model.contract import FITS, Contract
from model.data.dataset import Split
from model.data.sources import example_images
from model.images.decode import decode_image

PROBABILITIES = [0.2, 0.2, 0.2, 0.2, 0.2]
RIGHT = (200, json.dumps({"probabilities": PROBABILITIES}))
NO_ROUTE = (404, "")
OWN_ERROR = (404, json.dumps({"error": "There is no such route.", "code": "unknown_route"}))


class Service(ThreadingHTTPServer):
    """Gives the answers it was told, the last one again and again."""

    def __init__(self) -> None:
        super().__init__(("127.0.0.1", 0), Answering)
        self.answers: list[tuple[int, str]] = []
        self.asked = 0
        self.bodies: list[bytes] = []


class Answering(BaseHTTPRequestHandler):
    server: Service

    def do_POST(self) -> None:
        self.server.bodies.append(self.rfile.read(int(self.headers["Content-Length"])))
        status, body = self.server.answers[min(self.server.asked, len(self.server.answers) - 1)]
        self.server.asked += 1
        self.send_response(status)
        self.send_header("X-Model-Version", "7")
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body.encode())

    def log_message(self, *_: object) -> None:
        pass


@pytest.fixture
def service() -> Iterator[Service]:
    with Service() as server:
        thread = threading.Thread(target=server.serve_forever, args=(0.01,))
        thread.start()
        yield server
        server.shutdown()
        thread.join()


def verify(service: Service, *answers: tuple[int, str]) -> None:
    service.answers = list(answers)
    file = example_images()["dog"]
    due = np.array([PROBABILITIES], np.float32)
    verify_service(
        f"http://127.0.0.1:{service.server_port}",
        KnownImages(7, (file,), np.zeros((1, 32, 32, 3), np.uint8), due),
    )


def test_an_answer_from_before_the_way_was_there_is_asked_for_again(service: Service) -> None:
    verify(service, NO_ROUTE, RIGHT)
    assert service.asked == 2


def test_a_way_that_never_comes_is_a_fault_that_names_it(
    service: Service, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(known, "RETRY_SECONDS", 0.01)
    with pytest.raises(FaultError, match="answered by something else, with 404"):
        verify(service, NO_ROUTE)


def test_an_error_of_the_service_itself_is_a_refusal_at_once(service: Service) -> None:
    with pytest.raises(RefusedError, match="no such route"):
        verify(service, OWN_ERROR, RIGHT)
    assert service.asked == 1


def test_a_picture_that_is_refused_as_unlike_training_is_sent_twice_and_judged(service: Service) -> None:
    refused = (422, json.dumps({"error": "The picture is unlike …", "code": "unlike_training"}))
    verify(service, refused, (200, json.dumps([json.loads(RIGHT[1])] * 2)))
    sent = example_images()["dog"].read_bytes()
    assert [body.count(sent) for body in service.bodies] == [1, 2]
    service.asked = 0
    wrong = [{"probabilities": [1, 0, 0, 0, 0]}] * 2
    with pytest.raises(RefusedError, match="it is not the model that was published"):
        verify(service, refused, (200, json.dumps(wrong)))
    service.asked = 0
    with pytest.raises(RefusedError, match="unlike_training"):
        verify(service, refused)


FLOWERS = Contract(classes=("daisy", "rose, wild", "дерево"), size=48, fit="pad", model="flowers")


def a_split(counts: dict[int, int], contract: Contract = FLOWERS) -> Split:
    """So many noisy pictures of each class, in a mixed order."""
    generator = np.random.default_rng(0)
    labels = generator.permutation(np.repeat(list(counts), list(counts.values()))).astype(np.int64)
    images = generator.integers(0, 256, (len(labels), *contract.image_shape), dtype=np.uint8)
    return Split(images, labels, contract.classes)


def opened(data: bytes) -> dict[str, bytes]:
    with zipfile.ZipFile(io.BytesIO(data)) as files:
        return {name: files.read(name) for name in files.namelist()}


def brightness(images: NDArray[np.uint8]) -> NDArray[np.float32]:
    """What `publish_flowers`' graph answers: the softmax of the mean colours."""
    powers = np.exp(images.astype(np.float64).mean(axis=(1, 2)) / 8)
    return (powers / powers.sum(axis=1, keepdims=True)).astype(np.float32)


@pytest.fixture
def publish_flowers(
    store: Store, lineage: Callable[..., Lineage], tmp_path: Path
) -> Callable[[dict[str, bytes]], Path]:
    """Publishes a version with a graph of one's own images' contract, and fetches it."""

    def publish(evidence: dict[str, bytes]) -> Path:
        image = helper.make_tensor_value_info("image", TensorProto.UINT8, ["batch", *FLOWERS.image_shape])
        probs = helper.make_tensor_value_info("probs", TensorProto.FLOAT, ["batch", 3])
        nodes = [
            helper.make_node("Cast", ["image"], ["real"], to=TensorProto.FLOAT),
            helper.make_node("ReduceMean", ["real", "axes"], ["means"], keepdims=0),
            helper.make_node("Div", ["means", "eight"], ["logits"]),
            helper.make_node("Softmax", ["logits"], ["probs"], axis=1),
        ]
        constants = [
            numpy_helper.from_array(np.array([1, 2], np.int64), "axes"),
            numpy_helper.from_array(np.array(8, np.float32), "eight"),
        ]
        graph = helper.make_graph(nodes, "flowers", [image], [probs], constants)
        path = tmp_path / "graph.onnx"
        onnx.save(helper.make_model(graph, opset_imports=[helper.make_opsetid("", 18)], ir_version=10), path)
        made = lineage(contract=FLOWERS, data=DataLineage(digest="d", source="here", kind="images"))
        version = store.publish(
            lambda number, folder: assemble(Graphs(path, path), made, number, folder), evidence
        ).version
        return store.fetch(version, tmp_path / "fetched")

    return publish


def test_known_images_are_some_of_each_class_with_the_pixels_of_the_split() -> None:
    test = a_split({0: 5, 1: 1, 2: 3})
    made = make_known(test)
    assert made == make_known(test)
    files = opened(made)
    assert list(files) == [
        "class-0-1.png", "class-0-2.png", "class-1-1.png", "class-2-1.png", "class-2-2.png",
    ]  # fmt: skip
    first_of_two = test.images[np.flatnonzero(test.labels == 2)[0]]
    for fit in FITS:
        assert np.array_equal(decode_image(files["class-2-1.png"], size=48, fit=fit), first_of_two)


def test_known_images_of_many_classes_are_few() -> None:
    contract = Contract(classes=tuple(f"class {number}" for number in range(40)))
    made = make_known(a_split(dict.fromkeys(range(2, 40), 3), contract))
    labels = [int(name.split("-")[1]) for name in opened(made)]
    assert len(labels) == 16
    assert (labels[0], labels[-1], len(set(labels))) == (2, 39, 8)
    with pytest.raises(ValueError, match="a test split with images"):
        make_known(a_split({}))


def test_a_version_of_own_images_is_asked_for_its_own(
    store: Store, publish_flowers: Callable[[dict[str, bytes]], Path]
) -> None:
    test = a_split({0: 2, 1: 2, 2: 2})
    folder = publish_flowers({KNOWN: make_known(test)})
    evidence = known_evidence(store, 1)
    found = known_images(folder, 1, known=evidence)
    assert [file.name for file in found.files] == [
        f"class-{n}-{count}.png" for n in range(3) for count in (1, 2)
    ]
    assert (found.version, found.contract) == (1, FLOWERS)
    assert np.array_equal(np.sort(found.pixels, axis=0), np.sort(test.images, axis=0))
    assert np.allclose(found.probabilities, brightness(found.pixels), atol=1e-5)
    more = known_images(folder, 1, known=evidence, more=30)
    assert more.pixels.shape == (36, 48, 48, 3)
    assert len(np.unique(more.pixels.reshape(36, -1), axis=0)) == 36
    assert len(known_images(folder, 1, known=evidence, more=500).pixels) == 48  # no more than there are


@pytest.mark.parametrize("given", [None, b"another zip"])
def test_known_images_that_are_not_the_versions_are_refused(
    publish_flowers: Callable[[dict[str, bytes]], Path], given: bytes | None
) -> None:
    folder = publish_flowers({KNOWN: make_known(a_split({0: 1, 1: 1}))})
    with pytest.raises(RefusedError, match=r"Version 1 has lost its known images, known\.zip; publish"):
        known_images(folder, 1, known=given)


def test_a_version_of_own_images_without_any_is_refused(
    store: Store, publish_flowers: Callable[[dict[str, bytes]], Path]
) -> None:
    folder = publish_flowers({})
    assert known_evidence(store, 1) is None
    with pytest.raises(RefusedError, match="Version 1 has lost its known images"):
        known_images(folder, 1)


def test_the_service_is_asked_for_the_versions_own_and_answers_by_its_classes(
    service: Service, publish_flowers: Callable[[dict[str, bytes]], Path]
) -> None:
    evidence = make_known(a_split({1: 1, 2: 1}))
    found = known_images(publish_flowers({KNOWN: evidence}), 1, known=evidence)
    due = [{"probabilities": row.tolist()} for row in found.probabilities]
    url = f"http://127.0.0.1:{service.server_port}"
    as_seven = KnownImages(7, found.files, found.pixels, found.probabilities, FLOWERS)
    service.answers = [(200, json.dumps(answer)) for answer in due]
    verify_service(url, as_seven)
    pictures = opened(evidence).values()
    assert all(picture in body for picture, body in zip(pictures, service.bodies, strict=True))
    names = [FLOWERS.classes[row.argmax()] for row in found.probabilities]
    service.asked, service.answers = 0, [(200, json.dumps({"probabilities": [0, 0, 1]}))]
    with pytest.raises(
        RefusedError, match=f"asked for class-1-1.png, answered дерево in place of {names[0]},"
    ):
        verify_service(url, as_seven)
    service.asked, service.answers = 0, [RIGHT]
    with pytest.raises(RefusedError, match=f"answered 5 probabilities in place of {names[0]}"):
        verify_service(url, as_seven)
