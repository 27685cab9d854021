"""The real programs, started in a folder, and with a PYTHONPATH, full of modules that are named as ours."""

import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest

COMMAND = str(Path(sys.executable).with_name("cnn-image"))
NAMES = ("model", "export", "jobs/__init__", "kserve/__init__", "numpy", "typer", "signal", "cnn_image")


@pytest.fixture
def theirs(tmp_path: Path) -> Path:
    """Modules that leave a trace when they are executed, in a folder without one."""
    folder = tmp_path / "theirs"
    for name in NAMES:
        module = folder / f"{name}.py"
        module.parent.mkdir(parents=True, exist_ok=True)
        module.write_text(f"open({str(tmp_path / 'executed')!r}, 'a').write(__name__)\nraise ImportError\n")
    return folder


@pytest.mark.parametrize("pythonpath", [False, True])
@pytest.mark.parametrize(
    "program",
    [(COMMAND,), (sys.executable, "-m", "image_transformer"), (sys.executable, "-m", "triton_server")],
    ids=["cnn-image", "image_transformer", "triton_server"],
)
def test_nothing_of_theirs_is_imported(program: tuple[str, ...], pythonpath: bool, theirs: Path) -> None:
    given = {"PYTHONPATH": f"{theirs}:."} if pythonpath else {}
    done = subprocess.run(
        [*program, "--help"],
        cwd=theirs,
        env={"PATH": os.environ["PATH"], **given},
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    assert "--help" in done.stdout
    assert not (theirs.parent / "executed").exists()


def test_what_it_starts_leaves_them_out_too(theirs: Path) -> None:
    """Children inherit the environment: neither PYTHONPATH nor the folder they are started in counts."""
    ask = "import os, sys; from cnn_image_entry import own_modules_only\n"
    ask += "own_modules_only(); import subprocess\n"
    ask += "print(sys.path[0] != '', 'PYTHONPATH' in os.environ, flush=True)\n"
    ask += "subprocess.run([sys.executable, '-m', 'model'])\n"
    done = subprocess.run(
        [sys.executable, "-c", ask],
        cwd=theirs,
        env={"PATH": os.environ["PATH"], "PYTHONPATH": str(theirs)},
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert done.stdout == "True False\n"
    assert (
        "'model' is a package and cannot be directly executed" in done.stderr
    )  # ours, which has no __main__
    assert not (theirs.parent / "executed").exists()


@pytest.mark.parametrize("held_back", [False, True])
def test_ctrl_c_at_its_very_beginning_is_no_traceback(held_back: bool) -> None:
    begin = """
import signal, sys, cnn_image_entry

class Finder:
    def find_spec(self, name, path, target=None):
        signal.raise_signal(signal.SIGINT)

if {held_back}:
    signal.pthread_sigmask(signal.SIG_BLOCK, {{signal.SIGINT}})
    signal.raise_signal(signal.SIGINT)
sys.meta_path.insert(0, Finder())
cnn_image_entry.cnn_image()
"""
    env = {name: value for name, value in os.environ.items() if name != "PYTHONPATH"}
    program = [sys.executable, "-c", begin.format(held_back=held_back)]
    done = subprocess.run(program, env=env, capture_output=True, text=True, timeout=60, check=False)
    assert (done.returncode, done.stderr) == (-signal.SIGINT, "")
