"""Where nothing but rendering happens, as in Argo CD and Kustomize: one rendering after another."""

import json
import shutil
import subprocess
from pathlib import Path

import httpx
import pytest
import yaml
from cluster.kube import CHART, Namespace, run, say, wait_for
from cluster.release import EXAMPLES, Release
from cluster.store import BUCKET, PREFIX

from jobs.cluster.names import Names

pytestmark = [pytest.mark.cluster, pytest.mark.timeout(900)]

# One image by two names: what has a name of its own for each is made anew by the second.
OLD, NEW = "", "docker.io/library"


class Rendering:
    """A kustomization over the chart, as it lies in a repository that Argo CD or Flux follows.

    Args:
        folder: For the repository's files.
        namespace: Where Kustomize moves everything.
        values: The chart's.
    """

    def __init__(self, folder: Path, namespace: Namespace, values: dict[str, object]) -> None:
        self.folder = folder
        self.namespace = namespace
        self._values = values
        shutil.copytree(CHART, folder / "charts" / "cnn-image")

    def objects(self, registry: str) -> str:
        """What Kustomize makes of it, with images out of a registry named in the values."""
        kustomization = {
            "namespace": self.namespace.name,
            "helmGlobals": {"chartHome": "charts"},
            "helmCharts": [
                {
                    "name": "cnn-image",
                    "releaseName": "trial",
                    "kubeVersion": "1.35",
                    "skipTests": True,
                    "valuesInline": {**self._values, "image": {"registry": registry}},
                }
            ],
        }
        (self.folder / "kustomization.yaml").write_text(yaml.safe_dump(kustomization))
        return run("kubectl", "kustomize", "--enable-helm", self.folder)

    def apply(self, registry: str) -> dict[str, str]:
        """Apply it server-side and return the Jobs it names, by component."""
        objects = self.objects(registry)
        self.namespace.kubectl("apply", "--server-side", "-f", "-", stdin=objects)
        return {
            each["metadata"]["labels"]["app.kubernetes.io/component"]: each["metadata"]["name"]
            for each in yaml.safe_load_all(objects)
            if each["kind"] == "Job"
        }

    def difference(self, registry: str) -> str:
        """What applying it would change."""
        done = subprocess.run(
            ["kubectl", "-n", self.namespace.name, "diff", "--server-side", "-f", "-"],
            input=self.objects(registry),
            capture_output=True,
            text=True,
            timeout=120,
            check=False,
        )
        assert done.returncode in {0, 1}, done.stderr
        return done.stdout


@pytest.fixture(scope="module")
def rendering(namespace: Namespace, serving: Release, tmp_path_factory: pytest.TempPathFactory) -> Rendering:
    """The chart in another namespace, on the store of the session's service, whose version 1 is promoted."""
    other = serving.namespace
    endpoint = f"cnn-image-minio.{other.name}:9000"
    keys = other.get("secret", "cnn-image-store")["data"]
    places = {"s3-endpoint": endpoint, "s3-usehttps": "0", "s3-region": "us-east-1"}
    secret = {
        "apiVersion": "v1",
        "kind": "Secret",
        "metadata": {
            "name": "s3",
            "annotations": {f"serving.kserve.io/{key}": value for key, value in places.items()},
        },
        "data": keys,
    }
    namespace.kubectl("create", "-f", "-", stdin=json.dumps(secret))
    small = {"requests": {"cpu": "30m", "memory": "256Mi"}, "limits": {"memory": "1Gi"}}
    values: dict[str, object] = {
        "store": {"url": f"s3://{BUCKET}/{PREFIX}", "endpoint": f"http://{endpoint}", "secret": "s3"},
        "training": {"gpus": 0, "data": {"url": f"s3://{BUCKET}/data"}, "resources": small},
        "serving": {
            "drainSeconds": 2,
            "triton": {"replicas": 1, "resources": small, "variant": "cpu-1"},
            "transformer": {"replicas": 1, "resources": small},
            "service": {"type": "NodePort"},
        },
    }
    return Rendering(tmp_path_factory.mktemp("repository"), namespace, values)


def completed(namespace: Namespace, jobs: dict[str, str]) -> None:
    """Wait for the deploy and the training Job; a version is promoted, so there is nothing to train."""
    assert set(jobs) == {"deploy", "training"}
    for name in jobs.values():
        assert wait_for(lambda name=name: namespace.job_end(name), name, 300) == "Complete"  # type: ignore[misc]
    said = namespace.kubectl("logs", f"job/{jobs['training']}")
    assert "Version 1 is promoted" in said, said


def test_another_image_makes_other_jobs_and_the_same_rendering_changes_nothing(rendering: Rendering) -> None:
    namespace = rendering.namespace
    say("the first rendering, moved by Kustomize")
    first = rendering.apply(OLD)
    completed(namespace, first)
    image = EXAMPLES / "dog.jpg"
    url = f"http://{namespace.outside('cnn-image')}/predict"
    answer = httpx.post(url, files={"file": (image.name, image.read_bytes())}, timeout=30)
    assert (answer.status_code, answer.headers["X-Model-Version"]) == (200, "1")
    assert rendering.difference(OLD) == ""

    say("the second rendering, with another image")
    second = rendering.apply(NEW)
    assert not set(first.values()) & set(second.values())
    completed(namespace, second)
    (transformer,) = namespace.get("deployment", "cnn-image-transformer")["spec"]["template"]["spec"][
        "containers"
    ]
    assert transformer["image"].startswith(NEW)
    assert namespace.served_uri().endswith("/versions/000001")
    assert rendering.difference(NEW) == ""


def test_a_command_says_that_its_image_is_not_the_templates(rendering: Rendering) -> None:
    """What Kustomize's `images:` leaves: the Jobs have one image, the text in the ConfigMap another."""
    namespace = rendering.namespace
    cronjob = namespace.get("cronjob", Names("cnn-image").training)
    container = cronjob["spec"]["jobTemplate"]["spec"]["template"]["spec"]["containers"][0]
    assert container["image"].startswith(NEW)
    patch = [
        {
            "op": "replace",
            "path": "/spec/jobTemplate/spec/template/spec/containers/0/image",
            "value": container["image"].removeprefix(f"{NEW}/"),
        }
    ]
    namespace.kubectl("patch", "cronjob", Names("cnn-image").training, "--type=json", "-p", json.dumps(patch))
    said = namespace.job("looking", "doctor", ok=False)  # it has no data here
    assert "name images by the chart's values" in said, said
    assert "the cluster would take what is made of it" in said, said
