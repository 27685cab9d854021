"""SIGTERM to `cnn-image retrain`, as a pod deleted by hand gets it: 143 in every phase, and it goes on."""

import signal
import subprocess
from pathlib import Path
from threading import Thread

import pytest
from laptop import Laptop
from machine import wait_until

from export.store.lease import lease_state
from jobs.gate.judge import judging

pytestmark = pytest.mark.slow

SENTENCE = "Stopped by SIGTERM; the same command goes on from what is done."
PHASES = ("Data:", "epoch 1/2", "Writing the report", "Exporting to ONNX", "Quantizing version 1", "the gate")


@pytest.fixture
def laptop(tmp_path: Path) -> Laptop:
    return Laptop(tmp_path, epochs=2)


def is_judging(laptop: Laptop) -> bool:
    store = laptop.store
    return any(lease_state(store.blobs, judging(number)) is not None for number in store.numbers())


def terminate(laptop: Laptop, phase: str) -> str:
    """Start a retrain, send SIGTERM once the phase has begun, and return what it said."""
    process = laptop.start("retrain", CNN_IMAGE_INT8="true")
    lines: list[str] = []

    def listen(process: subprocess.Popen[str] = process) -> None:
        assert process.stderr is not None
        for line in process.stderr:
            lines.append(line)

    listener = Thread(target=listen)
    listener.start()

    def begun() -> bool:
        assert process.poll() is None, "".join(lines)
        return is_judging(laptop) if phase == "the gate" else any(line.startswith(phase) for line in lines)

    wait_until(begun, phase)
    process.send_signal(signal.SIGTERM)
    code = process.wait(60)
    listener.join()
    assert code == 143, f"{phase}: {lines}"
    return "".join(lines)


def test_it_ends_with_143_in_every_phase_and_the_same_command_goes_on(laptop: Laptop) -> None:
    for phase in PHASES:
        said = terminate(laptop, phase)
        assert said.strip().splitlines()[-1] == SENTENCE
        assert "Traceback" not in said
    assert "is trained already; going on with it" in said
    assert "refused as the first version" in laptop.run("retrain", code=3, CNN_IMAGE_INT8="true")
    (run,) = laptop.runs
    assert (run / "report.html").is_file()  # which was being written when the third try ended
    assert laptop.store.numbers() in ([1], [1, 2])
