"""The chart as a test installs it.

It asks for little: beside the session's service and another file's release, k8s/ with its own requests of
1.25 cores has to find room on the test cluster's two.
"""

import os
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import httpx
from cluster.kube import CHART, ROOT, Namespace, find_program, run

EXAMPLES = ROOT / "model" / "sample" / "examples"

SMALL = """
minio: {enabled: true, resources: {requests: {cpu: 10m, memory: 256Mi}, limits: {memory: 1Gi}}}
training:
  enabled: false
  requireGpu: false
  int8: false
  resources: {requests: {cpu: 100m, memory: 1Gi}, limits: {memory: 4Gi}}
scoring: {resources: {requests: {cpu: 20m, memory: 256Mi}, limits: {cpu: "1", memory: 2Gi}}}
serving:
  drainSeconds: 5
  triton:
    replicas: 1
    resources: {requests: {cpu: 50m, memory: 256Mi}, limits: {cpu: "1", memory: 1Gi}}
  transformer:
    replicas: 1
    resources: {requests: {cpu: 30m, memory: 128Mi}, limits: {cpu: "1", memory: 512Mi}}
  service: {type: NodePort}
"""

TWO = "serving: {triton: {replicas: 2}, transformer: {replicas: 2}}\n"

# The sample in place of CIFAR-10, and a floor that few epochs on it reach.
ON_SAMPLE = """
training:
  data: {volumeClaim: cifar10, path: cifar10.zip}
  recipe: quick
  resources: {requests: {cpu: 100m, memory: 1Gi}, limits: {memory: 4Gi}}
  env: {CNN_IMAGE_GATE_FLOOR: "0.22", CNN_IMAGE_GATE_CLASS_FLOOR: "0"}
"""


def write_values(folder: Path, *texts: str) -> list[Path]:
    """Write the values files of a release that is small, the later ones over the earlier.

    The file that CLUSTER_VALUES names comes last: what the cluster at hand needs.
    """
    files = []
    for number, text in enumerate((SMALL, *texts)):
        files.append(folder / f"values-{number}.yaml")
        files[-1].write_text(text)
    own = os.environ.get("CLUSTER_VALUES")
    return [*files, *([Path(own).resolve()] if own else [])]


@dataclass
class Release:
    """The installed product.

    Attributes:
        namespace: Where it is.
        values: Its values files, the later ones over the earlier.
        name: Helm's.
    """

    namespace: Namespace
    values: Sequence[Path]
    name: str = "trial"

    def helm(self, command: str, *args: str, program: str = "helm", seconds: float = 900) -> str:
        """Run helm on the release."""
        where = ("-n", self.namespace.name)
        return run(find_program(program), *where, command, self.name, *args, seconds=seconds)

    def install(self, *args: str, chart: Path = CHART) -> None:
        """Install a chart, the working tree's unless another is named, and wait.

        Raises:
            AssertionError: It failed; with what the pods said that failed.
        """
        try:
            self.helm("install", str(chart), *self.flags, "--wait", "--timeout=15m", *args, seconds=1000)
        except AssertionError as error:
            failed = self.namespace.names("pods", "--field-selector=status.phase=Failed")
            logs = (
                self.namespace.kubectl("logs", pod, "--all-containers", "--tail=40", check=False)
                for pod in failed
            )
            raise AssertionError("\n".join((str(error), *logs))) from error

    def upgrade(self, *args: str, program: str = "helm") -> None:
        """Upgrade to the working tree's chart, keeping nothing of an earlier upgrade's flags."""
        self.helm("upgrade", str(CHART), *self.flags, "--wait", "--timeout=10m", *args, program=program)

    @property
    def flags(self) -> list[str]:
        """Helm's for the values."""
        return [flag for file in self.values for flag in ("-f", str(file))]

    @property
    def url(self) -> str:
        """The service's, on this machine."""
        return f"http://{self.namespace.outside(self.namespace.model)}"

    def ask(self, name: str = "airplane") -> httpx.Response:
        """Send one of the examples to /predict."""
        file = EXAMPLES / f"{name}.jpg"
        return httpx.post(f"{self.url}/predict", files={"file": (file.name, file.read_bytes())}, timeout=30)
