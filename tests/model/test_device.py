import os
from pathlib import Path

import pytest

from model.device import multiplies_bfloat16, usable_cores


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
