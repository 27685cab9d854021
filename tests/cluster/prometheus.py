"""A real Prometheus on this machine that finds a namespace's pods by their annotations and scrapes them."""

import json
import math
import os
import shutil
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import httpx
import pytest
from cluster.kube import wait_for

from jobs.laptop.processes import free_ports

# Pods are reached through the API server, so that this works wherever the cluster is.
_CONFIG = """
global: {{scrape_interval: 2s, evaluation_interval: 2s}}
rule_files: ["{rules}"]
scrape_configs:
  - job_name: pods
    kubernetes_sd_configs:
      - {{role: pod, kubeconfig_file: "{kubeconfig}", namespaces: {{names: [{namespace}]}}}}
    relabel_configs:
      - source_labels: [__meta_kubernetes_pod_annotation_prometheus_io_scrape]
        action: keep
        regex: "true"
      - source_labels:
          - __meta_kubernetes_namespace
          - __meta_kubernetes_pod_name
          - __meta_kubernetes_pod_annotation_prometheus_io_port
          - __meta_kubernetes_pod_annotation_prometheus_io_path
        regex: (.+);(.+);(.+);(.+)
        target_label: __metrics_path__
        replacement: /api/v1/namespaces/$1/pods/$2:$3/proxy$4
      - {{target_label: __address__, replacement: "127.0.0.1:{proxy}"}}
      - {{source_labels: [__meta_kubernetes_namespace], target_label: namespace}}
      - {{source_labels: [__meta_kubernetes_pod_name], target_label: pod}}
"""


def program(name: str) -> str:
    """`prometheus` or `promtool`; the test is skipped without, except where CI asks for everything."""
    folder = Path.home() / ".cache" / "cnn-image" / "bin"
    found = shutil.which(name, path=f"{os.environ['PATH']}:{folder}")
    if found is None:
        reason = f"{name} is neither on the PATH nor in {folder}; tests/cluster/build-prometheus builds it"
        if os.environ.get("CNN_IMAGE_REQUIRE_ALL") == "1":
            pytest.fail(reason)
        pytest.skip(reason)
    return found


class Prometheus:
    """A running one."""

    def __init__(self, url: str) -> None:
        self.url = url

    def get(self, path: str, **query: str) -> Any:
        """The data that an address of its API answers with."""
        answer = httpx.get(f"{self.url}/api/v1/{path}", params=query, timeout=30)
        content = answer.json()
        assert content["status"] == "success", content
        return content["data"]

    def values(self, query: str) -> list[float]:
        """What a query yields, without what is no number."""
        found = [float(each["value"][1]) for each in self.get("query", query=query)["result"]]
        return [value for value in found if not math.isnan(value)]

    def healthy(self) -> bool:
        """Whether it is up."""
        try:
            return httpx.get(f"{self.url}/-/ready", timeout=5).is_success
        except httpx.TransportError:
            return False


@contextmanager
def scraping(namespace: str, rules: Path, folder: Path) -> Iterator[Prometheus]:
    """Run Prometheus on a namespace while the block runs."""
    prometheus = program("prometheus")
    proxy, port = free_ports(2)
    kubeconfig = os.environ.get("KUBECONFIG", str(Path.home() / ".kube" / "config"))
    config = _CONFIG.format(rules=rules, kubeconfig=kubeconfig, namespace=namespace, proxy=proxy)
    (folder / "prometheus.yml").write_text(config)
    commands = (
        ("kubectl", "proxy", f"--port={proxy}"),
        (
            prometheus,
            f"--config.file={folder / 'prometheus.yml'}",
            f"--storage.tsdb.path={folder / 'tsdb'}",
            f"--web.listen-address=127.0.0.1:{port}",
        ),
    )
    log = (folder / "log").open("w")
    running = [subprocess.Popen(command, stdout=log, stderr=log) for command in commands]
    try:
        started = Prometheus(f"http://127.0.0.1:{port}")
        wait_for(started.healthy, f"Prometheus (its log: {folder / 'log'})", 60)
        yield started
    finally:
        for process in running:
            process.terminate()
        for process in running:
            process.wait(timeout=30)
        log.close()


def dashboard_queries(file: Path, namespace: str) -> Iterator[tuple[str, str]]:
    """Each query of a Grafana dashboard as Grafana would send it, with its panel's title."""
    for panel in json.loads(file.read_text())["panels"]:
        for target in panel.get("targets", []):
            query = target["expr"].replace("$namespace", namespace).replace("$__rate_interval", "30s")
            yield panel["title"], query
