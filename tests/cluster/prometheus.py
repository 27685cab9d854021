"""A real Prometheus on this machine that finds pods as its configuration says, and scrapes them."""

import json
import math
import os
import re
import subprocess
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import httpx
import yaml
from cluster.kube import find_program, wait_for

from jobs.laptop.processes import free_ports

# What is usually configured for pods that carry the annotations.
_ANNOTATED = """
global: {{scrape_interval: 2s, evaluation_interval: 2s}}
rule_files: ["{rules}"]
scrape_configs:
  - job_name: pods
    kubernetes_sd_configs: [{{role: pod, namespaces: {{names: [{namespace}]}}}}]
    relabel_configs:
      - source_labels: [__meta_kubernetes_pod_annotation_prometheus_io_scrape]
        action: keep
        regex: "true"
      - source_labels: [__meta_kubernetes_pod_annotation_prometheus_io_path]
        target_label: __metrics_path__
      - source_labels: [__address__, __meta_kubernetes_pod_annotation_prometheus_io_port]
        target_label: __address__
        regex: "(.+?)(?::[0-9]+)?;([0-9]+)"
        replacement: "$1:$2"
      - {{source_labels: [__meta_kubernetes_namespace], target_label: namespace}}
      - {{source_labels: [__meta_kubernetes_pod_name], target_label: pod}}
"""

# Pods are reached through the API server, so that this works wherever the cluster is.
_THROUGH_THE_API_SERVER = """
- source_labels: [__meta_kubernetes_namespace, __meta_kubernetes_pod_name, __address__, __metrics_path__]
  target_label: __metrics_path__
  regex: "(.+);(.+);.+:([0-9]+);(.+)"
  replacement: /api/v1/namespaces/$1/pods/$2:$3/proxy$4
- {{target_label: __address__, replacement: "127.0.0.1:{proxy}"}}
"""
_PORT = re.compile("/pods/([^/:]+):([0-9]+)/proxy/")


def built(name: str) -> str:
    """`prometheus`, `promtool` or `prometheus-operator`, which tests/cluster/build-prometheus builds."""
    return find_program(name, Path.home() / ".cache" / "cnn-image" / "bin")


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

    def scraped(self) -> set[tuple[str, int]]:
        """The pods that answer it, and at which port."""
        targets = self.get("targets", state="active")["activeTargets"]
        answering = (_PORT.search(each["scrapeUrl"]) for each in targets if each["health"] == "up")
        return {(found[1], int(found[2])) for found in answering if found}

    def rules(self) -> list[dict[str, Any]]:
        """Its rules, once all of them have been evaluated."""
        rules = [rule for group in self.get("rules")["groups"] for rule in group["rules"]]
        return rules if all(rule["health"] == "ok" for rule in rules) else []

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


def by_annotations(namespace: str, rules: Path) -> dict[str, Any]:
    """A configuration that scrapes a namespace's annotated pods."""
    config: dict[str, Any] = yaml.safe_load(_ANNOTATED.format(namespace=namespace, rules=rules))
    return config


@contextmanager
def scraping(config: dict[str, Any], folder: Path) -> Iterator[Prometheus]:
    """Run Prometheus while the block runs.

    Args:
        config: Its configuration, as it would be inside the cluster.
        folder: For its files.
    """
    prometheus = built("prometheus")
    proxy, port = free_ports(2)
    for job in config["scrape_configs"]:
        for discovery in job["kubernetes_sd_configs"]:
            default = Path.home() / ".kube" / "config"
            discovery["kubeconfig_file"] = os.environ.get("KUBECONFIG", str(default))
        job["relabel_configs"] += yaml.safe_load(_THROUGH_THE_API_SERVER.format(proxy=proxy))
    (folder / "prometheus.yml").write_text(yaml.safe_dump(config))
    commands = (
        ("kubectl", "proxy", f"--port={proxy}"),
        (
            prometheus,
            f"--config.file={folder / 'prometheus.yml'}",
            f"--storage.tsdb.path={folder / 'tsdb'}",
            f"--web.listen-address=127.0.0.1:{port}",
        ),
    )
    started = Prometheus(f"http://127.0.0.1:{port}")
    with running(commands, folder / "log"):
        wait_for(started.healthy, f"Prometheus (its log: {folder / 'log'})", 60)
        yield started


@contextmanager
def running(commands: Iterable[Sequence[str]], log: Path) -> Iterator[None]:
    """Run programs while the block runs."""
    with log.open("w") as file:
        started = [subprocess.Popen(command, stdout=file, stderr=file) for command in commands]
        try:
            yield
        finally:
            for process in started:
                process.terminate()
            for process in started:
                process.wait(timeout=30)


def dashboard_queries(file: Path, namespace: str) -> Iterator[tuple[str, str]]:
    """Each query of a Grafana dashboard as Grafana would send it, with its panel's title."""
    for panel in json.loads(file.read_text())["panels"]:
        for target in panel.get("targets", []):
            query = target["expr"].replace("$namespace", namespace).replace("$__rate_interval", "30s")
            yield panel["title"], query
