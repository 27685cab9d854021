"""What the benchmark in a cluster brings along for its competitor."""

import os
import subprocess
import sys
from pathlib import Path

from benchmarks.cluster.objects import script

# As in the transformer's image, which has no ONNX Runtime, and of our packages only the product's.
_PROGRAM = """
import sys
sys.modules["onnxruntime"] = None
import benchmarks.competitors.kserve_stock as stock
print(stock.__file__, callable(stock.decoder()))
"""


def test_the_competitor_finds_all_that_it_imports_in_its_config_map(tmp_path: Path) -> None:
    folder = tmp_path / "benchmarks/competitors"  # as the pod mounts it
    folder.mkdir(parents=True)
    for name, text in script()["data"].items():
        (folder / name).write_text(text)
    environment = os.environ | {"PYTHONPATH": str(tmp_path), "PYTHONSAFEPATH": "1"}
    done = subprocess.run(
        [sys.executable, "-c", _PROGRAM], env=environment, capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr
    assert done.stdout == f"{folder / 'kserve_stock.py'} True\n"
