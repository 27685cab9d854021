"""The lock protects: a package that is not what was locked is refused before it is installed."""

import re
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent.parent
UV = Path(sys.executable).with_name("uv")
LOCKS = [ROOT / "constraints.txt", ROOT / "kserve/triton_server/requirements.txt"]


@pytest.mark.parametrize("lock", LOCKS, ids=lambda path: path.name)
def test_every_package_is_pinned_with_hashes_and_no_index_is_named(lock: Path) -> None:
    text = lock.read_text()
    packages = re.findall(r"^[a-z0-9][^ ]*==[^ ]+.*?(?=^[a-z0-9]|\Z)", text, re.MULTILINE | re.DOTALL)
    assert len(packages) > 4
    assert [package.split()[0] for package in packages if "--hash=sha256:" not in package] == []
    assert "://" not in text


@pytest.mark.slow
def test_a_package_with_another_hash_is_refused(tmp_path: Path) -> None:
    forged = tmp_path / "constraints.txt"
    block = re.search(r"^numpy==.*?(?=^[a-z])", LOCKS[0].read_text(), re.MULTILINE | re.DOTALL)
    assert block
    forged.write_text(re.sub(r"sha256:[0-9a-f]{8}", "sha256:00000000", block[0]))
    wanted = tmp_path / "requirements.txt"
    wanted.write_text("numpy\n")
    done = subprocess.run(
        [UV, "pip", "install", "--require-hashes", "--target", tmp_path / "site", "-r", wanted, "-c", forged],
        capture_output=True,
        text=True,
        check=False,
        timeout=300,
    )
    assert done.returncode != 0
    assert "hash" in done.stderr.lower()
    assert not (tmp_path / "site" / "numpy").exists()
