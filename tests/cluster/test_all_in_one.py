"""The image with everything in it, started as `docker run -p 8002:8002 cnn-image` starts it, as a pod."""

import base64
import os
import re
from typing import Any

import httpx
import pytest
from cluster.kube import Namespace, say, wait_for
from cluster.release import EXAMPLES

pytestmark = [pytest.mark.cluster, pytest.mark.timeout(2400)]

IMAGE = os.environ.get("ALL_IN_ONE_IMAGE", "cnn-image:0.1.0")
# The first version's int8 twin, as `make run` serves it on a CPU.
SERVED = "2"
POD = f"""
apiVersion: v1
kind: Pod
metadata: {{name: cnn-image, labels: {{app: all-in-one}}}}
spec:
  automountServiceAccountToken: false
  enableServiceLinks: false
  securityContext: {{runAsNonRoot: true, fsGroup: 1000, seccompProfile: {{type: RuntimeDefault}}}}
  containers:
    - name: cnn-image
      image: {IMAGE}
      imagePullPolicy: IfNotPresent
      env: [{{name: CIFAR10_DIR, value: sample}}, {{name: EPOCHS, value: "1"}}]
      resources: {{requests: {{cpu: 300m, memory: 1Gi}}, limits: {{memory: 4Gi}}}}
      securityContext: {{allowPrivilegeEscalation: false, capabilities: {{drop: [ALL]}}}}
      volumeMounts: [{{name: work, mountPath: /work}}]
  volumes: [{{name: work, emptyDir: {{}}}}]
---
apiVersion: v1
kind: Service
metadata: {{name: all-in-one}}
spec:
  type: NodePort
  selector: {{app: all-in-one}}
  ports: [{{port: 8002, targetPort: 8002}}]
"""


@pytest.fixture(scope="module")
def url(namespace: Namespace) -> str:
    """Where it answers, once it has trained."""
    namespace.kubectl("apply", "-f", "-", stdin=POD)
    found = f"http://{namespace.outside('all-in-one')}"

    say("training in one container")
    wait_for(lambda: healthy(namespace, found), "its first version", 900)
    say("it serves")
    return found


def container(namespace: Namespace) -> dict[str, Any]:
    """The container's status."""
    status: dict[str, Any] = namespace.get("pod", "cnn-image")["status"]["containerStatuses"][0]
    return status


def healthy(namespace: Namespace, url: str, restarts: int = 0) -> bool:
    """Whether it answers, after so many starts and no more."""
    if pod := namespace.get("pod", "cnn-image")["status"].get("containerStatuses"):
        assert pod[0]["restartCount"] <= restarts, namespace.kubectl("logs", "cnn-image", "--previous")[
            -3000:
        ]
    try:
        return httpx.get(f"{url}/health", timeout=5).is_success
    except httpx.TransportError:
        return False


def test_it_has_trained_and_answers(namespace: Namespace, url: str) -> None:
    image = EXAMPLES / "dog.jpg"
    answer = httpx.post(f"{url}/predict", files={"file": (image.name, image.read_bytes())}, timeout=30)
    assert answer.status_code == 200, answer.text
    body = answer.json()
    assert list(body) == ["class_id", "class_name", "confidence", "probabilities", "filters_applied"]
    assert answer.headers["X-Model-Version"] == SERVED
    log = namespace.kubectl("logs", "cnn-image")
    assert f"Version {SERVED} is served on http://localhost:8002" in log
    # What it shows works outside: the example comes out of the container it names, and goes in by HTTP.
    shown = re.search(
        r"\$ docker cp (\S+):(\S+) \.\n\$ curl -F file=@(\S+) http://localhost:8002/predict", log
    )
    assert shown, log
    assert (shown[1], shown[3]) == ("cnn-image", image.name)
    copied = namespace.kubectl("exec", shown[1], "--", "base64", "-w0", shown[2])
    assert base64.b64decode(copied) == image.read_bytes()
    # The answers that are due come from the version's own graph, run beside the service.
    said = namespace.kubectl("exec", "cnn-image", "--", "cnn-image", "history")
    assert "promote" in said, said
    namespace.kubectl("exec", "cnn-image", "--", "cnn-image", "verify")


def test_it_runs_as_user_1000(namespace: Namespace, url: str) -> None:
    assert namespace.kubectl("exec", "cnn-image", "--", "id", "-u").strip() == "1000"


def test_it_ends_when_told_to_and_serves_what_it_has_when_started_again(
    namespace: Namespace, url: str
) -> None:
    namespace.kubectl("exec", "cnn-image", "--", "python", "-c", "import os; os.kill(1, 15)")
    wait_for(lambda: container(namespace)["restartCount"] == 1, "its end", 60)
    ended = container(namespace)["lastState"]["terminated"]
    assert ended["exitCode"] in (0, 143), namespace.kubectl("logs", "cnn-image", "--previous")[-3000:]
    wait_for(lambda: healthy(namespace, url, restarts=1), "its second start", 120)
    assert f"Serving version {SERVED}, promoted earlier" in namespace.kubectl("logs", "cnn-image")
