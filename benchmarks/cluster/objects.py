"""What the measurement adds to the namespace for its time: addresses on the node, and the competitor."""

import json
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Final

import benchmarks.competitors
from model.contract import MODEL_NAME

LABEL: Final = "cnn-image-benchmark"
# The competitor, and what it imports that no image has.
_PROGRAM: Final = ("kserve_stock.py", "decoders.py")
_PORTS: Final = {"ours": 8080, "triton": 8000, "stock": 8080}


class ClusterError(RuntimeError):
    """kubectl failed, or the product is not installed there; the message says what to do."""


def kubectl(*arguments: str, given: str | None = None) -> str:
    """Runs kubectl and returns what it printed.

    Raises:
        ClusterError: it failed, or is missing.
    """
    try:
        done = subprocess.run(
            ["kubectl", *arguments], input=given, capture_output=True, text=True, check=False, timeout=300
        )
    except FileNotFoundError:
        raise ClusterError("kubectl is missing; install it, and set KUBECONFIG.") from None
    if done.returncode:
        raise ClusterError(f"kubectl {' '.join(arguments[:3])} … failed: {done.stderr.strip()[-500:]}")
    return done.stdout


def pods(namespace: str, selector: str) -> list[dict[str, Any]]:
    """Returns the running pods that carry labels, without those that are told to end."""
    listed = kubectl(
        *(
            "-n",
            namespace,
            "get",
            "pods",
            "-l",
            selector,
            "--field-selector=status.phase=Running",
            "-o",
            "json",
        )
    )
    found: list[dict[str, Any]] = json.loads(listed)["items"]
    return [pod for pod in found if "deletionTimestamp" not in pod["metadata"]]


def triton_labels(service: str) -> dict[str, str]:
    """Labels of the pods in which Triton runs, whether the transformer shares them or not."""
    return {"component": "predictor", "serving.kserve.io/inferenceservice": service}


def transformer_labels() -> dict[str, str]:
    """Labels of the pods in which the transformer runs."""
    return {"app.kubernetes.io/component": "transformer", "app.kubernetes.io/name": "cnn-image"}


@contextmanager
def added(namespace: str, service: str) -> Iterator[dict[str, int]]:
    """Adds the objects while the block runs.

    Args:
        namespace: Of the installed product.
        service: The InferenceService's name.

    Returns:
        Node ports of `ours`, `triton` and `stock`.

    Raises:
        ClusterError: the product does not run there, or the competitor does not start.
    """
    transformers = pods(namespace, ",".join(f"{key}={text}" for key, text in transformer_labels().items()))
    if not transformers:
        raise ClusterError(
            f"No transformer runs in the namespace {namespace}: install the product and promote a version,"
            " or name another one with --namespace."
        )
    pod = transformers[0]["spec"]
    container = next(one for one in pod["containers"] if "transformer" in one["image"])
    selectors = {
        "ours": transformer_labels(),
        "triton": triton_labels(service),
        "stock": {"app.kubernetes.io/part-of": LABEL},
    }
    objects = [
        *(_service(name, selectors[name], "NodePort", port) for name, port in _PORTS.items()),
        _service("triton-grpc", selectors["triton"], "ClusterIP", 8001),
        script(),
        _stock(pod, container, len(transformers)),
    ]
    everything = json.dumps({"apiVersion": "v1", "kind": "List", "items": objects})
    try:
        kubectl("-n", namespace, "apply", "-f", "-", given=everything)
        _started(namespace)
        services = json.loads(
            kubectl(
                "-n", namespace, "get", "services", "-l", f"app.kubernetes.io/part-of={LABEL}", "-o", "json"
            )
        )
        ports = {
            one["metadata"]["name"].removeprefix(f"{LABEL}-"): one["spec"]["ports"][0].get("nodePort", 0)
            for one in services["items"]
        }
        yield {name: ports[name] for name in _PORTS}
    finally:
        # With its pods: the next measurement's Service would find one that ends.
        kubectl(
            *("-n", namespace, "delete", "--ignore-not-found", "--cascade=foreground", "-f", "-"),
            given=everything,
        )


def _started(namespace: str) -> None:
    """Waits for the competitor; where it does not come up, its last words say why."""
    stock = ("-n", namespace, f"deployment/{LABEL}-stock")
    try:
        kubectl("rollout", "status", *stock, "--timeout=180s")
    except ClusterError as error:
        try:
            words = kubectl("logs", *stock, "--tail=5").strip()
        except ClusterError as more:
            words = str(more)
        raise ClusterError(f"{error}\nThe stock transformer's log ends: {words}") from None


def _metadata(name: str) -> dict[str, Any]:
    return {"name": f"{LABEL}-{name}", "labels": {"app.kubernetes.io/part-of": LABEL}}


def _service(name: str, selector: dict[str, str], kind: str, port: int) -> dict[str, Any]:
    return {
        "apiVersion": "v1",
        "kind": "Service",
        "metadata": _metadata(name),
        "spec": {"type": kind, "selector": selector, "ports": [{"port": port, "targetPort": port}]},
    }


def script() -> dict[str, Any]:
    """The ConfigMap with the competitor and all that it imports of the benchmarks."""
    return {
        "apiVersion": "v1",
        "kind": "ConfigMap",
        "metadata": _metadata("stock"),
        "data": {name: Path(benchmarks.competitors.__path__[0], name).read_text() for name in _PROGRAM},
    }


def _stock(pod: dict[str, Any], container: dict[str, Any], replicas: int) -> dict[str, Any]:
    """The stock transformer, with our transformer's resources, in its image, which has KServe's library."""
    labels = {"app.kubernetes.io/part-of": LABEL}
    stock = {
        "name": "transformer",
        "image": container["image"],
        "imagePullPolicy": container["imagePullPolicy"],
        "command": ["python", "-m", "benchmarks.competitors.kserve_stock"],
        "env": [{"name": "PYTHONPATH", "value": "/benchmark"}],
        "args": [
            f"--model_name={MODEL_NAME}",
            "--predictor_protocol=grpc-v2",
            f"--predictor_host={LABEL}-triton-grpc:8001",
            "--http_port=8080",
            "--enable_grpc=false",
            "--enable_latency_logging=false",
            "--configure_logging=false",
        ],
        "resources": container["resources"],
        "securityContext": container["securityContext"],
        "readinessProbe": {"httpGet": {"path": "/v2/health/ready", "port": 8080}, "periodSeconds": 2},
        "volumeMounts": [
            {"name": "program", "mountPath": "/benchmark/benchmarks/competitors"},
            {"name": "tmp", "mountPath": "/tmp"},
        ],
    }
    return {
        "apiVersion": "apps/v1",
        "kind": "Deployment",
        "metadata": _metadata("stock"),
        "spec": {
            "replicas": replicas,
            "selector": {"matchLabels": labels},
            "template": {
                "metadata": {"labels": labels},
                "spec": {
                    "automountServiceAccountToken": False,
                    "terminationGracePeriodSeconds": 1,
                    "securityContext": pod["securityContext"],
                    "containers": [stock],
                    "volumes": [
                        {"name": "program", "configMap": {"name": f"{LABEL}-stock"}},
                        {"name": "tmp", "emptyDir": {}},
                    ],
                },
            },
        },
    }
