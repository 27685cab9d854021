"""The real server on a real repository."""

import json
import os
import signal
import subprocess
import sys
import tempfile
from pathlib import Path

import numpy as np
import psutil
import pytest
import tritonclient.http
from serving import ROOT, RunningTriton, SmallModel, StartTriton, free_port, wait_until

from triton_server.leftovers import stubs

pytestmark = pytest.mark.slow

PIXELS = np.random.default_rng(3).integers(0, 256, (64, 32, 32, 3), np.uint8)


def infer(triton: RunningTriton, pixels: np.ndarray) -> tuple[np.ndarray, str]:
    with tritonclient.http.InferenceServerClient(triton.address) as client:
        given = tritonclient.http.InferInput("image", list(pixels.shape), "UINT8")
        given.set_data_from_numpy(pixels)
        result = client.infer("cnn-image", [given])
        return result.as_numpy("probs"), result.get_response()["model_version"]


@pytest.mark.parametrize("count", [1, 8, 64])
def test_the_graphs_numbers_come_back(
    small_triton: RunningTriton, small_model: SmallModel, count: int
) -> None:
    probs, version = infer(small_triton, PIXELS[:count])
    np.testing.assert_allclose(probs, small_model.probs(PIXELS[:count]), atol=1e-5)
    assert version == "7"


def test_batches_that_triton_joins_are_cut_apart_again(
    start_triton: StartTriton, small_model: SmallModel, tmp_path: Path
) -> None:
    small_model.write(tmp_path)
    config = tmp_path / "cnn-image" / "config.pbtxt"
    config.write_text(config.read_text() + "dynamic_batching { max_queue_delay_microseconds: 100000 }")
    triton = start_triton(tmp_path)
    with tritonclient.http.InferenceServerClient(triton.address, concurrency=8) as client:
        requests = []
        for start in range(8):
            pixels = PIXELS[start : start + 1 + start % 3]
            given = tritonclient.http.InferInput("image", list(pixels.shape), "UINT8")
            given.set_data_from_numpy(pixels)
            requests.append((pixels, client.async_infer("cnn-image", [given])))
        for pixels, request in requests:
            np.testing.assert_allclose(
                request.get_result().as_numpy("probs"), small_model.probs(pixels), atol=1e-5
            )
        (statistics,) = client.get_inference_statistics("cnn-image")["model_stats"]
    assert statistics["execution_count"] < statistics["inference_count"]
    triton.stop()


def test_the_variant_is_taken(small_model: SmallModel, start_triton: StartTriton, tmp_path: Path) -> None:
    small_model.write(tmp_path)
    triton = start_triton(tmp_path, "--config-variant=cpu-2")
    with tritonclient.http.InferenceServerClient(triton.address) as client:
        (group,) = client.get_model_config("cnn-image")["instance_group"]
    assert group["count"] == 2
    triton.stop()


def test_folders_with_signs_that_a_shell_reads(
    start_triton: StartTriton, small_model: SmallModel, tmp_path: Path
) -> None:
    """Models and environment: as they are, they would be a part of the stub's command line."""
    odd = tmp_path / "My Projects; $HOME & 'more' \"ü"
    small_model.write(odd / "models")
    (odd / "venv").symlink_to(ROOT / ".venv-triton")
    triton = start_triton(odd / "models", "--venv", str(odd / "venv"))
    np.testing.assert_allclose(infer(triton, PIXELS)[0], small_model.probs(PIXELS), atol=1e-5)
    (links,) = Path(tempfile.gettempdir()).glob(f"cnn-image-triton-{triton.process.pid}-*")
    triton.stop()
    wait_until(lambda: not links.exists(), "the end of the links")
    assert (odd / "models" / "cnn-image" / "config.pbtxt").is_file()  # links go, not what they lead to


def children(process: psutil.Process) -> list[psutil.Process]:
    return process.children(recursive=True)


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_nothing_stays_behind(
    start_triton: StartTriton, small_model: SmallModel, tmp_path: Path, number: signal.Signals
) -> None:
    small_model.write(tmp_path)
    triton = start_triton(tmp_path)
    family = children(psutil.Process(triton.process.pid))
    assert stubs(triton.process.pid)
    triton.process.send_signal(number)
    triton.process.wait(30)
    wait_until(lambda: not any(process.is_running() for process in family), "the stubs' end")
    assert not list(Path("/dev/shm").glob(f"cnn-image-triton-{triton.process.pid}-*"))


def test_a_hung_stub_ends_after_its_server(
    start_triton: StartTriton, small_model: SmallModel, tmp_path: Path
) -> None:
    small_model.write(tmp_path)
    triton = start_triton(tmp_path)
    server = triton.process.pid
    for stub in stubs(server):
        os.kill(stub, signal.SIGSTOP)
    triton.process.kill()
    triton.process.wait()
    wait_until(lambda: not stubs(server), "the hung stub's end")
    wait_until(lambda: not list(Path("/dev/shm").glob(f"cnn-image-triton-{server}-*")), "a clean /dev/shm")


def test_it_ends_with_its_parent(small_model: SmallModel, tmp_path: Path) -> None:
    small_model.write(tmp_path)
    ports = [free_port() for _ in range(3)]
    flags = [f"--{name}-port={port}" for name, port in zip(("http", "grpc", "metrics"), ports, strict=True)]
    command = [sys.executable, "-m", "triton_server", f"--model-repository={tmp_path}", *flags]
    parent = subprocess.Popen(
        [
            sys.executable,
            "-c",
            "import json, subprocess, sys; subprocess.run(json.loads(sys.argv[1]))",
            json.dumps(command),
        ],
        cwd=ROOT,
        env={**os.environ, "PYTHONPATH": str(ROOT / "kserve")},
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
    )
    family: list[psutil.Process] = []

    def grown() -> bool:
        family[:] = children(psutil.Process(parent.pid))
        return len(family) > 2  # the server, what clears up after it, and a stub that just starts

    wait_until(grown, "the stub's start", 60)
    parent.kill()
    parent.wait()
    wait_until(lambda: not any(process.is_running() for process in family), "the server's end")
