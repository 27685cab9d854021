"""The Prometheus Operator on this machine: what it makes of the chart's PodMonitor and PrometheusRule."""

import base64
import gzip
import json
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import yaml
from cluster.kube import Namespace, run, wait_for
from cluster.prometheus import built, running

from jobs.laptop.processes import free_ports

_CRDS = Path.home() / ".cache" / "cnn-image" / "crds"
# Another Operator in the cluster leaves alone what is annotated for this one.
_ID = "cnn-image-test"
# No pod runs: the configuration that it would have is wanted. All monitors and rules beside it are its.
_PROMETHEUS = {
    "apiVersion": "monitoring.coreos.com/v1",
    "kind": "Prometheus",
    "metadata": {"name": "trial", "annotations": {"operator.prometheus.io/controller-id": _ID}},
    "spec": {"replicas": 0, "podMonitorSelector": {}, "ruleSelector": {}, "evaluationInterval": "2s"},
}


@contextmanager
def _kinds() -> Iterator[None]:
    """The Operator's own kinds are there while the block runs."""
    there = {name.partition("/")[2] for name in run("kubectl", "get", "crd", "-o", "name").split()}
    missing = []
    for file in sorted(_CRDS.glob("*.yaml")):
        group, _, kind = file.stem.partition("_")
        name = f"{kind}.{group}"
        if name not in there:
            run("kubectl", "create", "-f", file)
            missing.append(f"crd/{name}")
    try:
        if missing:
            run("kubectl", "wait", "--for=condition=Established", "--timeout=60s", *missing)
        yield
    finally:
        if missing:
            run("kubectl", "delete", *missing)


@contextmanager
def operated(namespace: Namespace, monitoring: str, folder: Path) -> Iterator[dict[str, Any]]:
    """Apply monitoring objects to a namespace that an Operator watches.

    Args:
        namespace: The only one that it watches.
        monitoring: The objects.
        folder: For its files.

    Yields:
        The configuration it writes for a Prometheus of that namespace.
    """
    operator = built("prometheus-operator")
    proxy, port = free_ports(2)
    commands = (
        ("kubectl", "proxy", f"--port={proxy}"),
        (
            operator,
            f"--apiserver=http://127.0.0.1:{proxy}",
            f"--namespaces={namespace.name}",
            f"--controller-id={_ID}",
            f"--web.listen-address=127.0.0.1:{port}",
        ),
    )
    with _kinds(), running(commands, folder / "operator.log"):
        namespace.kubectl("apply", "-f", "-", stdin=monitoring)
        namespace.kubectl("apply", "-f", "-", stdin=json.dumps(_PROMETHEUS))
        config = wait_for(
            lambda: _config(namespace), f"the configuration (log: {folder / 'operator.log'})", 120
        )
        # They come after it: the first look at the namespace may be before the rules are known.
        rules = wait_for(lambda: list(_rules(namespace, folder)), "the rules", 120)
        config["rule_files"] = [str(file) for file in rules]
        yield config


def _config(namespace: Namespace) -> dict[str, Any] | None:
    """The configuration that the Operator has written, once it holds something to scrape."""
    found = namespace.kubectl("get", "secret", "prometheus-trial", "--ignore-not-found", "-o", "json")
    if not found:
        return None
    packed = json.loads(found)["data"]["prometheus.yaml.gz"]
    text = gzip.decompress(base64.b64decode(packed)).decode()
    # In a pod its neighbour, the reloader, fills these in.
    config: dict[str, Any] = yaml.safe_load(text.replace("$(SHARD)", "0").replace("$(POD_NAME)", "trial-0"))
    return config if config["scrape_configs"] else None


def _rules(namespace: Namespace, folder: Path) -> Iterator[Path]:
    """The rules that the Operator took, as files; it leaves out what Prometheus would refuse."""
    name = "prometheus-trial-rulefiles-0"
    found = namespace.kubectl("get", "configmap", name, "--ignore-not-found", "-o", "json")
    for file, text in (json.loads(found).get("data", {}) if found else {}).items():
        (folder / file).write_text(text)
        yield folder / file
