"""The score of what is unlike anything learned, inside the graph: proved, quantized, really served."""

import io
from base64 import b64encode
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING

import grpc.aio
import httpx
import numpy as np
import onnx
import pytest
from kserve.protocol.grpc import grpc_predict_v2_pb2 as pb
from kserve.protocol.grpc import grpc_predict_v2_pb2_grpc as stubs
from PIL import Image
from senders import raw_elements
from serving import StartTransformer, StartTriton

from export.artifact import assemble
from export.errors import ParityError
from export.graph.export import Graphs, export_graphs
from export.graph.parity import onnx_outputs, prove
from export.graph.quantize import quantize_graphs
from export.store.lineage import Lineage
from export.store.unlike import unlike_of
from model.contract import DEFAULT_CONTRACT, MODEL_NAME, SCORE_NAME, Contract
from model.data.sources import example_images, load_sample

if TYPE_CHECKING:
    import keras

    from model.network.unlike import Score

pytestmark = pytest.mark.slow

TEMPERATURE = 1.3
NOISE = np.random.default_rng(0).integers(0, 256, (64, 32, 32, 3)).astype(np.uint8)


@dataclass
class Made:
    """An untrained network of a contract with its score, exported."""

    network: "keras.Model"
    contract: Contract
    score: "Score"
    graphs: Graphs


def make(folder: Path, contract: Contract = DEFAULT_CONTRACT) -> Made:
    from model.network.cnn import build_network
    from model.network.unlike import fit_score

    sample, network = load_sample(), build_network(3, contract)
    score = fit_score(network, TEMPERATURE, contract, sample.train.images[:500], sample.validation.images)
    return Made(network, contract, score, export_graphs(network, TEMPERATURE, folder, contract, score))


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> Made:
    return make(tmp_path_factory.mktemp("float"))


@pytest.fixture(scope="module")
def twin(made: Made, tmp_path_factory: pytest.TempPathFactory) -> Graphs:
    return quantize_graphs(made.graphs, load_sample().train.images[:128], tmp_path_factory.mktemp("int8"))[0]


def scores(graphs: Graphs, images: np.ndarray) -> np.ndarray:
    return onnx_outputs(graphs.classifier, images, output=SCORE_NAME)[:, 0]


def test_it_is_a_second_output_and_as_the_model_has_it(made: Made, tmp_path: Path) -> None:
    assert [output.name for output in onnx.load(made.graphs.classifier).graph.output] == [
        "probs",
        "ood_score",
    ]
    images = np.concatenate([load_sample().test.images[:100], NOISE])
    prove(made.network, TEMPERATURE, made.graphs, images, made.contract, made.score)
    other = replace(made.score, energy=(made.score.energy[0] + 1, made.score.energy[1]))
    with pytest.raises(ParityError, match="differs from the trained model"):
        prove(made.network, TEMPERATURE, made.graphs, images, made.contract, other)


def test_usual_pictures_score_around_nothing_and_noise_far_above(made: Made) -> None:
    usual = scores(made.graphs, load_sample().validation.images)
    assert abs(usual.mean()) < 0.3
    assert np.quantile(usual, 0.99) < np.median(scores(made.graphs, NOISE))


def test_unlearned_classes_have_no_part_in_it(tmp_path: Path) -> None:
    contract = replace(DEFAULT_CONTRACT, unlearned=(1, 3))
    made = make(tmp_path, contract)
    images = load_sample().test.images[:50]
    prove(made.network, TEMPERATURE, made.graphs, images, contract, made.score)
    assert np.isfinite(scores(made.graphs, images)).all()
    assert abs(scores(made.graphs, load_sample().validation.images).mean()) < 0.3


def test_the_twin_scores_alike_and_its_probabilities_are_what_they_are_without(
    made: Made, twin: Graphs, tmp_path: Path
) -> None:
    sample = load_sample()
    images = sample.test.images[:200]
    assert np.corrcoef(scores(made.graphs, images), scores(twin, images))[0, 1] > 0.98
    without = export_graphs(made.network, TEMPERATURE, tmp_path / "float")
    plain, _ = quantize_graphs(without, sample.train.images[:128], tmp_path / "int8")
    assert (onnx_outputs(plain.classifier, images) == onnx_outputs(twin.classifier, images)).all()


def test_nothing_of_the_twins_network_goes_back_to_float_for_it(twin: Graphs) -> None:
    """Its pooling reads what int8 has, and gives int8."""
    nodes = onnx.load(twin.classifier).graph.node
    made_by = {name: node for node in nodes for name in node.output}
    (pooling,) = (node for node in nodes if node.op_type == "GlobalAveragePool")
    assert made_by[pooling.input[0]].op_type == "DequantizeLinear"
    assert [node.op_type for node in nodes if pooling.output[0] in node.input] == ["QuantizeLinear"]
    assert [node.op_type for node in nodes].count("Sqrt") == 1


def test_it_is_kept_with_the_run(made: Made, tmp_path: Path) -> None:
    from model.network.unlike import Score

    made.score.save(tmp_path / "score.npz")
    read = Score.load(tmp_path / "score.npz")
    assert (read.energy, read.distance) == (made.score.energy, made.score.distance)
    assert (read.whitening == made.score.whitening).all()
    assert (read.middle == made.score.middle).all()


async def test_a_real_triton_and_transformer_mark_and_refuse(
    twin: Graphs,
    lineage: Lineage,
    tmp_path: Path,
    start_triton: StartTriton,
    start_transformer: StartTransformer,
) -> None:
    usual = example_images()["dog"].read_bytes()
    noise, due = png(NOISE[0]), scores(twin, NOISE[:1])[0]
    limits = unlike_of(scores(twin, load_sample().validation.images))
    assert due > limits.refuse_at
    assemble(twin, lineage, 3, tmp_path, limits)
    triton = start_triton(tmp_path, "--config-variant", "cpu-1")
    marking, refusing = (
        start_transformer(triton.address),
        start_transformer(triton.address, refuse_unlike="true"),
    )
    form = [("file", ("a.jpg", usual)), ("file", ("b.png", noise))]
    async with httpx.AsyncClient() as client:
        for url in (marking.url, refusing.url):
            answer = await client.post(f"{url}/predict", files=form)
            assert (answer.status_code, answer.headers["x-out-of-distribution"]) == (200, "false, true")
        answer = await client.post(f"{refusing.url}/predict", files=form[1:])
        assert (answer.status_code, answer.json()["code"]) == (422, "unlike_training")
        tensor = {"name": "image", "datatype": "BYTES", "shape": [1], "data": [b64encode(noise).decode()]}
        asked = {"inputs": [tensor], "outputs": [{"name": SCORE_NAME}]}
        answer = await client.post(f"{marking.url}/v2/models/{MODEL_NAME}/infer", json=asked)
        (output,) = answer.json()["outputs"]
        assert (output["name"], output["shape"]) == (SCORE_NAME, [1])
        assert output["data"] == pytest.approx([due], abs=1e-4)
        info = (await client.get(f"{marking.url}/info")).json()
        assert info["lineage"]["unlike"] == limits.model_dump(mode="json")
    request = pb.ModelInferRequest(model_name=MODEL_NAME, raw_input_contents=[raw_elements([usual, noise])])
    request.inputs.add(name="image", datatype="BYTES", shape=[2])
    request.outputs.add(name=SCORE_NAME)
    async with grpc.aio.insecure_channel(marking.grpc_address) as channel:
        response = await stubs.GRPCInferenceServiceStub(channel).ModelInfer(request)
    got = np.frombuffer(response.raw_output_contents[0], "<f4")
    assert got[0] < limits.mark_at < limits.refuse_at < got[1]


def png(pixels: np.ndarray) -> bytes:
    buffer = io.BytesIO()
    Image.fromarray(pixels).save(buffer, "PNG")
    return buffer.getvalue()
