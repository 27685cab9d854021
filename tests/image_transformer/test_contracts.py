"""Versions of other sizes, fits and classes on real Tritons, in turn and side by side, under load.

Every answer is held against ONNX Runtime's for the version that it names.
"""

import asyncio
import base64
from collections import Counter
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import grpc.aio
import httpx
import numpy as np
import onnxruntime
import pytest
from kserve.protocol.grpc import grpc_predict_v2_pb2 as pb
from kserve.protocol.grpc import grpc_predict_v2_pb2_grpc as stubs
from numpy.typing import NDArray
from other_contracts import CROPPED, MODELS, SEVEN, STRETCHED, decoded, picture
from senders import SENDERS, raw_elements
from serving import RunningTransformer, RunningTriton, StartTransformer, StartTriton, point_to, versions

from model.contract import MODEL_NAME

pytestmark = pytest.mark.slow

PICTURES = [picture(seed) for seed in range(8)]
ENOUGH = 20
"""Answers of each version by each route before the next version comes."""

Due = dict[tuple[str, int], NDArray[np.float32]]
Seen = Counter[tuple[str, str]]
"""Right answers by route and version."""


@pytest.fixture(scope="module")
def due(tmp_path_factory: pytest.TempPathFactory) -> Due:
    """What ONNX Runtime makes of each picture, by version and the picture's number."""
    folder = tmp_path_factory.mktemp("graphs")
    found: Due = {}
    for version, model in MODELS.items():
        model.write(folder / version)
        graph = folder / version / model.contract.model / version / "model.onnx"
        session = onnxruntime.InferenceSession(graph, providers=["CPUExecutionProvider"])
        for number, image in enumerate(PICTURES):
            (probs,) = session.run(["probs"], {"image": decoded(model, image)})
            found[version, number] = probs[0]
    return found


def check(due: Due, version: str, number: int, probs: Any) -> None:
    wanted = due[version, number]
    got = np.asarray(probs, np.float32)
    assert got.shape == wanted.shape
    assert np.allclose(got, wanted, atol=1e-5), f"version {version} has another answer to picture {number}"


async def predict(client: httpx.AsyncClient, due: Due, number: int) -> str:
    kind = {"content-type": "image/png"}
    answer = await client.post("/predict", content=PICTURES[number], headers=kind)
    assert answer.status_code == 200, answer.text
    version, body = answer.headers["x-model-version"], answer.json()
    check(due, version, number, body["probabilities"])
    contract = MODELS[version].contract
    assert body["class_name"] == contract.classes[int(due[version, number].argmax())]
    assert body["filters_applied"] == list(contract.filters)
    return str(version)


async def v2(client: httpx.AsyncClient, due: Due, number: int) -> str:
    data = [base64.b64encode(PICTURES[number]).decode()]
    tensor = {"name": "image", "datatype": "BYTES", "shape": [1], "data": data}
    answer = await client.post("/v2/models/cnn-image/infer", json={"inputs": [tensor]})
    assert answer.status_code == 200, answer.text
    body = answer.json()
    (output,) = body["outputs"]
    check(due, body["model_version"], number, np.reshape(output["data"], output["shape"])[0])
    return str(body["model_version"])


async def v1(client: httpx.AsyncClient, due: Due, number: int) -> str:
    instance = {"image": {"b64": base64.b64encode(PICTURES[number]).decode()}}
    answer = await client.post("/v1/models/cnn-image:predict", json={"instances": [instance]})
    assert answer.status_code == 200, answer.text
    version = answer.headers["x-model-version"]
    check(due, version, number, answer.json()["predictions"][0])
    return str(version)


async def over_grpc(stub: Any, due: Due, number: int) -> str:
    asked = pb.ModelInferRequest(
        model_name="cnn-image", raw_input_contents=[raw_elements([PICTURES[number]])]
    )
    asked.inputs.add(name="image", datatype="BYTES", shape=[1])
    answer = await stub.ModelInfer(asked)
    probs = np.frombuffer(answer.raw_output_contents[0], "<f4").reshape(answer.outputs[0].shape)
    check(due, answer.model_version, number, probs[0])
    return str(answer.model_version)


ROUTES = (predict, v2, v1, over_grpc)


@asynccontextmanager
async def load(transformer: RunningTransformer, due: Due) -> AsyncIterator[Seen]:
    """Two clients of each route ask for single images as long as the block runs; every answer is right."""
    seen: Seen = Counter()

    async def ask(route: str, way: Callable[..., Any], through: Any, first: int) -> None:
        number = first
        while True:
            number = (number + 1) % len(PICTURES)
            seen[route, await way(through, due, number)] += 1

    channel = grpc.aio.insecure_channel(f"127.0.0.1:{transformer.grpc_port}")
    async with httpx.AsyncClient(base_url=transformer.url, timeout=60) as client, channel:
        stub = stubs.GRPCInferenceServiceStub(channel)
        tasks = [
            asyncio.create_task(ask(way.__name__, way, through, first))
            for way, through in zip(ROUTES, (client, client, client, stub), strict=True)
            for first in (0, 4)
        ]
        try:
            yield seen
        finally:
            for task in tasks:
                task.cancel()
            results = await asyncio.gather(*tasks, return_exceptions=True)
    for result in results:
        if not isinstance(result, asyncio.CancelledError):
            raise AssertionError("a client failed") from result  # noqa: TRY004


async def until(happened: Callable[[], bool]) -> None:
    async with asyncio.timeout(120):
        while not happened():  # noqa: ASYNC110
            await asyncio.sleep(0.02)


async def test_promotions_and_a_rollback_between_other_contracts(
    start_triton: StartTriton, start_transformer: StartTransformer, tmp_path: Path, due: Due
) -> None:
    """32 pixels and five classes, 64 and ten, another fit and order of the classes, and back."""
    folder = versions(tmp_path, SEVEN, STRETCHED, CROPPED)
    triton = start_triton(folder, "--model-control-mode=explicit", "--load-model=cnn-image")
    transformer = start_transformer(triton.address)
    async with load(transformer, due) as seen, httpx.AsyncClient(base_url=transformer.url) as client:
        for number, version in enumerate(("7", "8", "9", "7")):
            if number:
                point_to(tmp_path, int(version))
                await asyncio.to_thread(triton.load)
                seen.clear()
            await until(lambda: all(seen[route.__name__, version] >= ENOUGH for route in ROUTES))  # noqa: B023
            info = (await client.get("/info")).json()
            contract = MODELS[version].contract
            assert (info["version"], info["classes"]) == (version, list(contract.classes))
            assert (info["input_shape"], info["fit"]) == (list(contract.image_shape), contract.fit)
            described = (await client.get("/v2/models/cnn-image")).json()
            assert described["versions"] == [version]
            assert described["outputs"][0]["shape"] == [-1, len(contract.classes)]


async def test_pods_of_two_contracts_at_once(
    start_service: Any, small_triton: RunningTriton, start_triton: StartTriton, tmp_path: Path, due: Due
) -> None:
    """One Triton has version 7, the other 9; then the other is killed under load."""
    CROPPED.write(tmp_path)
    triton = start_triton(tmp_path)
    service = await start_service(predictor_host=small_triton.address)
    endpoints = service.triton.endpoints
    endpoints._resolved_at = float("inf")  # the name is an address, which leads to one of them alone
    endpoints.add(("127.0.0.1", triton.http_port))
    await service.triton.probe()
    assert (await service.inference.catalogue.metadata(MODEL_NAME))["versions"] == ["7", "9"]
    seen: Counter[str] = Counter()

    async def ask(first: int) -> None:
        number = first
        while True:
            number = (number + 1) % len(PICTURES)
            answer = await SENDERS["raw"](service).send([PICTURES[number]])
            assert answer.status == 200, answer.body
            version, body = answer.headers["x-model-version"], answer.json()
            check(due, version, number, body["probabilities"])
            assert body["class_name"] == MODELS[version].contract.classes[body["class_id"]]
            seen[version] += 1

    clients = [asyncio.create_task(ask(first)) for first in range(8)]
    await until(lambda: min(seen["7"], seen["9"]) >= 50)
    for version in ("7", "9"):
        asked = await SENDERS["v2"](service).send(
            PICTURES[:1], path=f"/v2/models/cnn-image/versions/{version}/infer"
        )
        assert asked.json()["model_version"] == version
        check(due, version, 0, asked.json()["outputs"][0]["data"])
    triton.process.kill()
    await asyncio.to_thread(triton.process.wait)
    seen.clear()
    await until(lambda: seen["7"] >= 50)
    await service.triton.probe()
    assert (await service.inference.catalogue.metadata(MODEL_NAME))["versions"] == ["7"]
    assert not any(client.done() for client in clients)
    for client in clients:
        client.cancel()
    await asyncio.gather(*clients, return_exceptions=True)
    assert not service.metrics.errors
