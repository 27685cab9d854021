"""Management, statistics and filters with real clients, and beside what Triton itself answers."""

import os
import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import grpc.aio
import httpx
import numpy as np
import pytest
import tritonclient.http as triton_http
import tritonclient.http.aio as triton_aio
from serving import RunningTransformer, RunningTriton
from tritonclient.utils import InferenceServerException

from benchmarks.perf_analyzer.program import Program, ProgramError, install
from benchmarks.perf_analyzer.ways import WAYS, Way, arguments, read_report, write_input
from kserve import InferenceGRPCClient, InferenceRESTClient, InferInput, InferRequest, RESTConfig
from model.images.decode import decode_image

pytestmark = pytest.mark.slow

ROOT = Path(__file__).parents[2]
MODELS = ["cnn-image", "cnn-image-filters"]


@pytest.fixture
def client(transformer: RunningTransformer) -> Iterator[triton_http.InferenceServerClient]:
    with triton_http.InferenceServerClient(transformer.url.removeprefix("http://")) as made:
        yield made


def encoded(images: list[bytes]) -> triton_http.InferInput:
    made = triton_http.InferInput("image", [len(images), 1], "BYTES")
    made.set_data_from_numpy(np.array([[image] for image in images], dtype=object))
    return made


def answered(client: triton_http.InferenceServerClient, model: str) -> tuple[int, int]:
    """Requests and images that the model has answered, other tests' among them: the server is theirs too."""
    (row,) = client.get_inference_statistics(model, "7")["model_stats"]
    return int(row["inference_stats"]["success"]["count"]), int(row["inference_count"])


def test_tritons_client_manages(client: triton_http.InferenceServerClient, jpegs: list[bytes]) -> None:
    for model in MODELS:
        config = client.get_model_config(model, "7")
        assert (config["max_batch_size"], config["input"][0]["data_type"]) == (256, "TYPE_STRING")
        requests, images = answered(client, model)
        for _ in range(3):
            client.infer(model, [encoded(jpegs)])
        assert answered(client, model) == (requests + 3, images + 3 * len(jpegs))
    assert [row["name"] for row in client.get_inference_statistics()["model_stats"]] == MODELS
    rows = [{"name": model, "version": "7", "state": "READY"} for model in MODELS]
    assert client.get_model_repository_index() == rows
    assert client.get_system_shared_memory_status() == client.get_cuda_shared_memory_status() == []
    assert client.get_trace_settings() == client.get_trace_settings("cnn-image") == {}
    assert client.get_log_settings() == {}
    client.unregister_system_shared_memory()
    client.unregister_cuda_shared_memory()
    inside = triton_http.InferInput("image", [1], "BYTES")
    inside.set_shared_memory("mine", 1000)
    with pytest.raises(InferenceServerException, match="Shared memory is not offered") as raised:
        client.infer("cnn-image", [inside])
    assert raised.value.status() == "422"
    for refused, word in (
        (lambda: client.load_model("cnn-image"), "promote a version"),
        (lambda: client.unload_model("cnn-image"), "promote a version"),
        (lambda: client.register_system_shared_memory("mine", "/mine", 8), "send tensors in the request"),
        (lambda: client.register_cuda_shared_memory("mine", b"handle", 0, 8), "send tensors in the request"),
        (lambda: client.update_trace_settings(settings={"trace_rate": "5"}), "Trace settings"),
        (lambda: client.update_log_settings({"log_verbose_level": 1}), "Log settings"),
    ):
        with pytest.raises(InferenceServerException, match=word) as raised:
            refused()
        assert raised.value.status() == "400"


async def test_tritons_aio_client_manages(transformer: RunningTransformer, jpegs: list[bytes]) -> None:
    async with triton_aio.InferenceServerClient(transformer.url.removeprefix("http://")) as client:
        assert (await client.get_model_config("cnn-image"))["output"][0]["dims"] == [5]
        assert len((await client.get_inference_statistics())["model_stats"]) == 2
        assert [row["name"] for row in await client.get_model_repository_index()] == MODELS
        with pytest.raises(InferenceServerException, match="promote a version"):
            await client.load_model("cnn-image")
        with pytest.raises(InferenceServerException, match="send tensors in the request"):
            await client.register_system_shared_memory("mine", "/mine", 8)
        result = await client.infer("cnn-image-filters", [encoded(jpegs)])
    pixels = np.stack([decode_image(image) for image in jpegs])
    np.testing.assert_array_equal(result.as_numpy("filtered"), np.concatenate([pixels] * 4, axis=3))


async def test_kserves_client_filters(transformer: RunningTransformer, jpegs: list[bytes]) -> None:
    client = InferenceRESTClient(RESTConfig(protocol="v2"))
    try:
        for model in MODELS:
            assert await client.is_model_ready(transformer.url, model)
        image = InferInput("image", [len(jpegs)], "BYTES")
        image.set_data_from_numpy(np.array(jpegs, dtype=object), binary_data=True)
        request = InferRequest("cnn-image-filters", [image], request_id="mine")
        answer = await client.infer(transformer.url, request, model_name="cnn-image-filters")
    finally:
        await client.close()
    assert answer.id == "mine"
    assert answer.outputs[0].shape == [len(jpegs), 32, 32, 12]


async def test_what_the_docs_say_of_kserves_clients(transformer: RunningTransformer) -> None:
    once = InferenceGRPCClient(f"127.0.0.1:{transformer.grpc_port}", retries=1)
    try:
        with pytest.raises(grpc.aio.AioRpcError, match="must be at least 2") as raised:
            await once.is_server_live()
    finally:
        await once.close()
    assert raised.value.code() is grpc.StatusCode.INVALID_ARGUMENT
    assert RESTConfig(protocol="v2", retries=3).transport is None, "its retries go nowhere"


def test_the_answers_have_tritons_form(transformer: RunningTransformer, small_triton: RunningTriton) -> None:
    """Name by name: what Triton's clients read is there, and nothing that Triton does not know."""

    def asked(path: str) -> tuple[Any, Any]:
        ours, tritons = (
            httpx.get(url + path).json() for url in (transformer.url, f"http://{small_triton.address}")
        )
        return ours, tritons

    ours, tritons = asked("/v2/models/cnn-image/stats")
    (one,), (other,) = ours["model_stats"], tritons["model_stats"]
    assert one.keys() == other.keys()
    assert one["inference_stats"].keys() == other["inference_stats"].keys()
    ours, tritons = asked("/v2/models/cnn-image/config")
    assert ours.keys() <= tritons.keys()
    assert ours["output"][0].keys() <= tritons["output"][0].keys()
    assert ours["input"][0].keys() - {"reshape"} <= tritons["input"][0].keys()
    for path in ("/v2/systemsharedmemory/status", "/v2/cudasharedmemory/status"):
        ours, tritons = asked(path)
        assert ours == tritons


@pytest.fixture(scope="session")
def perf_analyzer() -> Program:
    """Triton's load generator; skips the test where it cannot be had."""
    try:
        return install(ROOT / "var" / "tools" / "perf_analyzer", ROOT / ".venv-triton")
    except (ProgramError, OSError, subprocess.TimeoutExpired) as error:
        reason = f"PERF_ANALYZER IS MISSING: {error}"
        if os.environ.get("CNN_IMAGE_REQUIRE_ALL") == "1":
            pytest.fail(reason)
        pytest.skip(reason)


@pytest.mark.parametrize("way", WAYS, ids=lambda way: way.name)
def test_perf_analyzer_runs(
    transformer: RunningTransformer, perf_analyzer: Program, jpegs: list[bytes], tmp_path: Path, way: Way
) -> None:
    """Every answer is one: it ends at the first that is not. The service's own numbers are in its report."""
    data, report = tmp_path / "pictures.json", tmp_path / "report.csv"
    write_input(data, jpegs)
    port = transformer.http_port if way.protocol == "http" else transformer.grpc_port
    load = ("--request-rate-range", "40") if way.paced else ("--concurrency-range", "2")
    load = (*load, "--request-count", "40", "-b", "2")
    perf_analyzer.run(*arguments(way, load, f"127.0.0.1:{port}", "cnn-image", data, report), seconds=120)
    seen = read_report(report)
    assert seen.rate > 0
    assert min(seen.p50, seen.p99, seen.decode, seen.infer, seen.output) > 0
