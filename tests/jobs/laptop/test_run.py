"""`cnn-image run`: what becomes of its steps, which are commands in processes of their own."""

import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest
from machine import wait_until

STEP = """#!/bin/sh
trap '' INT
touch started
until [ -e sent ]; do sleep 0.05; done
exit {code}
"""
RUN = """
import sys
from jobs.laptop import run
from jobs.settings import Settings
sys.executable = sys.argv[1]
run._child(Settings(), "retrain")
print("the next step")
"""


@pytest.mark.parametrize(("code", "ends_with"), [(0, "KeyboardInterrupt"), (130, "")])
def test_ctrl_c_ends_it_even_where_the_step_was_done_by_then(
    tmp_path: Path, code: int, ends_with: str
) -> None:
    step = tmp_path / "step"
    step.write_text(STEP.format(code=code))
    step.chmod(0o755)
    running = subprocess.Popen(
        [sys.executable, "-c", RUN, str(step)],
        cwd=tmp_path,
        env={**os.environ, "PYTHONPATH": str(Path(__file__).parents[3])},
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        start_new_session=True,
    )
    wait_until((tmp_path / "started").exists, "the step's start")
    os.killpg(running.pid, signal.SIGINT)
    (tmp_path / "sent").touch()
    out, err = running.communicate(timeout=120)
    assert out == ""
    assert ends_with in err
    assert running.returncode == (130 if code else -signal.SIGINT)
