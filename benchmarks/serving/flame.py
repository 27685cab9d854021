"""A flame graph of the transformer while it is loaded, by py-spy."""

import subprocess
import sys
from pathlib import Path

from benchmarks.serving.contenders import Contender
from benchmarks.serving.measure import Bench

SECONDS = 6
SAMPLES_A_SECOND = 250
CONNECTIONS = 32


def draw(bench: Bench, contender: Contender, pid: int, path: Path) -> str:
    """Samples the process while it serves small images and writes an SVG.

    Args:
        bench: Makes the load.
        contender: The route that is loaded.
        pid: The process to sample.
        path: The SVG file.

    Returns:
        An empty text, or in one sentence why there is no flame graph.
    """
    py_spy = Path(sys.executable).with_name("py-spy")
    if not py_spy.exists():
        return "There is no flame graph: install the dev extra, which brings py-spy."
    line = [
        str(py_spy),
        "record",
        "--pid",
        str(pid),
        "--duration",
        str(SECONDS),
        "--rate",
        str(SAMPLES_A_SECOND),
    ]
    line += ["--output", str(path), "--format", "flamegraph"]
    sampler = subprocess.Popen(line, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True)
    bench.run(contender, CONNECTIONS, SECONDS + 1)
    said, _ = sampler.communicate(timeout=60)
    if sampler.returncode:
        last = said.strip().splitlines()[-1:]
        return (
            f"There is no flame graph: py-spy may need root or kernel.yama.ptrace_scope=0 ({' '.join(last)})."
        )
    return ""
