import os
import subprocess
import sys
from pathlib import Path

import pytest
from serving import ROOT

from model.training.device import multiplies_bfloat16, usable_cores


@pytest.mark.parametrize(
    ("limit", "cores"),
    [("100000 100000", 1), ("150000 100000", 2), ("50000 100000", 1), ("max 100000", 64), ("", 64)],
)
def test_the_containers_limit_counts(
    limit: str, cores: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(os, "sched_getaffinity", lambda _: set(range(64)))
    (tmp_path / "cpu.max").write_text(limit)
    assert usable_cores(tmp_path / "cpu.max") == cores


def test_without_a_limit_the_affinity_counts(tmp_path: Path) -> None:
    assert usable_cores(tmp_path / "nothing") == len(os.sched_getaffinity(0))


@pytest.mark.parametrize(
    ("flags", "does"),
    [
        ("fpu avx512f avx512_bf16", True),
        ("amx_bf16 amx_tile", True),
        ("fpu avx2 avx512f", False),
        ("", False),
    ],
)
def test_only_cpus_that_multiply_bfloat16_are_given_it(flags: str, does: bool, tmp_path: Path) -> None:
    (tmp_path / "cpuinfo").write_text(f"processor\t: 0\nflags\t\t: {flags}\n")
    assert multiplies_bfloat16(tmp_path / "cpuinfo") is does
    assert not multiplies_bfloat16(tmp_path / "nothing")


def test_tensorflow_loads_without_its_notes_and_with_everything_else() -> None:
    module = "import os; os.write(2, b'I0000 00:00 a note\\nW0000 a warning\\n')"
    code = (
        "import importlib.abc, importlib.util, sys\n"
        "class Finder(importlib.abc.MetaPathFinder, importlib.abc.Loader):\n"
        "    def find_spec(self, name, path, target=None):\n"
        "        return importlib.util.spec_from_loader(name, self) if name == 'tensorflow' else None\n"
        f"    def exec_module(self, module): exec({module!r})\n"
        "sys.meta_path.insert(0, Finder())\n"
        "from model.training.device import load_tensorflow\n"
        "load_tensorflow()\n"
        "print('afterwards', file=sys.stderr)\n"
    )
    ran = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, cwd=ROOT, check=True)
    assert ran.stderr.splitlines() == ["W0000 a warning", "afterwards"]


@pytest.mark.slow
def test_the_real_one_is_silent() -> None:
    load = "from model.training.device import load_tensorflow"
    code = f"{load}; load_tensorflow(); load_tensorflow(); import keras"
    environment = {**os.environ, "TF_CPP_MIN_LOG_LEVEL": "1"}  # as the command line has it
    ran = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, cwd=ROOT, env=environment, check=True
    )
    assert ran.stderr == ""
