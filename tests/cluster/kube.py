"""kubectl and helm as the cluster tests use them: output is returned, failures show what was said."""

import json
import os
import shutil
import subprocess
import sys
import time
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, TypeVar

import pytest

from jobs.cluster.launch import job_from, template_of
from jobs.cluster.names import Names
from model.contract import MODEL_NAME

ROOT = Path(__file__).parents[2]
CHART = ROOT / "charts" / "cnn-image"
CLUSTER = ROOT.parent / "shared" / "cluster" / "cluster"
# Of a node whose ports this machine reaches.
NODE = os.environ.get("CLUSTER_NODE", "127.0.0.1")


class Progress:
    """Where `say` writes; conftest.py replaces it by one that passes pytest's capture."""

    def write(self, line: str) -> None:
        """Show a line."""
        sys.stderr.write(line)


progress = Progress()


def say(text: str) -> None:
    """Show what happens, with the time."""
    progress.write(f"[{time.strftime('%H:%M:%S')}] {text}\n")


def run(
    *command: str | Path, stdin: str | bytes | None = None, seconds: float = 300, check: bool = True
) -> str:
    """Run a program and return its standard output."""
    data = stdin.encode() if isinstance(stdin, str) else stdin
    line = [str(part) for part in command]
    done = subprocess.run(line, input=data, capture_output=True, timeout=seconds, check=False)
    if check and done.returncode:
        raise AssertionError(
            f"{' '.join(map(str, command))[:300]} ended with {done.returncode}:\n"
            f"{done.stdout.decode()[-3000:]}\n{done.stderr.decode()[-3000:]}"
        )
    return done.stdout.decode()


def rendered(*flags: str | Path, namespace: str = "default") -> str:
    """What the chart renders; a helm that was not released takes the cluster for an old one unless told."""
    return run("helm", "template", "trial", CHART, "-n", namespace, "--kube-version", "1.35", *flags)


class Namespace:
    """A namespace of the test cluster, and the model in it that is meant."""

    def __init__(self, name: str, model: str = MODEL_NAME) -> None:
        self.name = name
        self.model = model

    def kubectl(
        self, *args: str | Path, stdin: str | bytes | None = None, seconds: float = 300, check: bool = True
    ) -> str:
        """Run kubectl in this namespace."""
        return run("kubectl", "-n", self.name, *args, stdin=stdin, seconds=seconds, check=check)

    def get(self, what: str, *names: str) -> Any:
        """Read objects as JSON."""
        return json.loads(self.kubectl("get", what, *names, "-o", "json"))

    def names(self, what: str, *args: str) -> list[str]:
        """The names of objects, as kind/name."""
        return self.kubectl("get", what, "-o", "name", *args).split()

    def pods(self, component: str) -> list[Any]:
        """The pods of one of the product's components that are not ending."""
        label = f"app.kubernetes.io/name={self.model},app.kubernetes.io/component={component}"
        pods = self.get("pods", "-l", label)["items"]
        return [pod for pod in pods if "deletionTimestamp" not in pod["metadata"]]

    def create_job(
        self, name: str, *args: str, env: Mapping[str, str] | None = None, retries: int = 0, wait: bool = True
    ) -> None:
        """Start a command of cnn-image as a Job from the installed template; `wait`: for the trial MinIO."""
        body = job_from(self.get("cronjob", template_of(args, Names(self.model))), args, env or {})
        del body["metadata"]["generateName"]
        body["metadata"]["name"] = name
        spec = body["spec"]
        spec["backoffLimit"] = retries
        if not wait:
            spec["template"]["spec"].pop("initContainers", None)
        container = spec["template"]["spec"]["containers"][0]
        container["resources"] = {"requests": {"cpu": "50m", "memory": "256Mi"}, "limits": {"memory": "3Gi"}}
        self.kubectl("create", "-f", "-", stdin=json.dumps(body))

    def job(self, name: str, *args: str, seconds: float = 600, ok: bool = True, wait: bool = True) -> str:
        """Run a command of cnn-image as a Job from the installed template and return its log."""
        self.create_job(name, *args, wait=wait)
        ended = wait_for(lambda: self.job_end(name), f"the end of {name}", seconds)
        log = self.kubectl("logs", f"job/{name}", check=False)
        assert (ended == "Complete") is ok, f"{name} {' '.join(args)} {ended}:\n{log[-3000:]}"
        return log

    def first_training(self) -> str:
        """The name of the Job that the chart renders for the first version."""
        (name,) = (each for each in self.names("job") if each.startswith(f"job.batch/{self.model}-train-"))
        return name.removeprefix("job.batch/")

    def job_end(self, name: str) -> str | None:
        """`Complete` or `Failed`, once a Job has ended."""
        for condition in self.get("job", name).get("status", {}).get("conditions", []):
            if condition["type"] in ("Complete", "Failed") and condition["status"] == "True":
                return str(condition["type"])
        return None

    def served_uri(self) -> str:
        """The InferenceService's storageUri."""
        return str(self.get("isvc", self.model)["spec"]["predictor"]["model"]["storageUri"])

    def outside(self, service: str, port: int = 0) -> str:
        """HOST:PORT at which this machine reaches one of the ports of a Service of type NodePort."""
        return f"{NODE}:{self.get('service', service)['spec']['ports'][port]['nodePort']}"


def find_program(name: str, folder: Path | None = None) -> str:
    """A program on the PATH or in a folder; without it the test is skipped, or fails where CI runs."""
    found = shutil.which(name, path=f"{os.environ['PATH']}:{folder or ''}")
    if found is None:
        reason = f"{name} is not on the PATH{f' nor in {folder}' if folder else ''}"
        if os.environ.get("CNN_IMAGE_REQUIRE_ALL") == "1":
            pytest.fail(reason)
        pytest.skip(reason)
    return found


T = TypeVar("T")


def wait_for(happened: Callable[[], T], what: str, seconds: float) -> T:
    """Poll until something is true and return it."""
    deadline = time.monotonic() + seconds
    while not (found := happened()):
        assert time.monotonic() < deadline, f"{what} did not come within {seconds:g} s"
        time.sleep(0.5)
    return found
