"""The benchmark in the cluster: right answers under load in both layouts, and nothing of it stays behind."""

import json
import subprocess
from pathlib import Path

import pytest
from cluster.kube import ROOT
from cluster.release import Release

pytestmark = [pytest.mark.cluster, pytest.mark.timeout(900)]


@pytest.mark.parametrize("mode", ["separate", "collocated"])
def test_the_benchmark_measures_what_is_installed(serving: Release, mode: str, tmp_path: Path) -> None:
    serving.upgrade("--set", f"serving.mode={mode}")
    try:
        command = [
            ROOT / ".venv/bin/python",
            "-m",
            "benchmarks.cluster",
            "--namespace",
            serving.namespace.name,
        ]
        command += ["--rounds", "1", "--seconds", "1", "--work", tmp_path, "--results", tmp_path]
        done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, timeout=600, check=False)
        assert done.returncode == 0, done.stderr
        report = (tmp_path / f"cluster-{mode}.md").read_text()
        assert "2 transformer and 2 Triton pods" in report
        # ours, the stock transformer and the limit, in each of four scenarios
        assert report.count("| stock KServe transformer") == report.count("| **ours**") == 4
        assert "| Triton's backend, which runs the network | " in report
        label = "app.kubernetes.io/part-of=cnn-image-benchmark"
        kinds = "services,configmaps,deployments"
        left = json.loads(serving.namespace.kubectl("get", kinds, "-l", label, "-o", "json"))
        assert left["items"] == []
    finally:
        serving.upgrade()


def test_a_namespace_without_the_product_is_said_to_be_one(cluster: None) -> None:
    command = [ROOT / ".venv/bin/python", "-m", "benchmarks.cluster", "--namespace", "default"]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, timeout=60, check=False)
    assert done.returncode == 1
    assert "No transformer runs in the namespace default: install the product" in done.stderr
