"""Two replicas of each: shared load, no failed request whatever happens, scaling, both layouts, faults."""

import json
import struct
import subprocess
import threading
import time
from collections.abc import Callable
from pathlib import Path

import grpc
import httpx
import pytest
import yaml
from cluster.kube import ROOT, Namespace, run, say, wait_for
from cluster.load import Answers, Load
from cluster.release import EXAMPLES, Release
from cluster.store import TrialStore, next_class
from kserve.protocol.grpc import grpc_predict_v2_pb2 as pb
from kserve.protocol.grpc import grpc_predict_v2_pb2_grpc as stubs

pytestmark = [pytest.mark.cluster, pytest.mark.timeout(1500)]

IMAGE = (EXAMPLES / "cat.jpg").read_bytes()


def under_load(serving: Release, act: Callable[[], object], rate: float = 20) -> Answers:
    """What clients were told while something was done, and for some seconds after."""
    with Load(serving.url, IMAGE, rate) as load:
        wait_for(lambda: load.answers.statuses["200"] > 20, "the first answers", 60)
        act()
        reached = sum(load.answers.statuses.values()) + 60
        wait_for(lambda: sum(load.answers.statuses.values()) > reached, "some more answers", 60)
    say(f"{dict(load.answers.statuses)} from versions {dict(load.answers.versions)}")
    return load.answers


def counted(namespace: Namespace, component: str, port: int, metric: str) -> dict[str, int]:
    """What each of a component's pods says of one of its counters; labels are summed up."""
    counts = {}
    for pod in namespace.pods(component):
        name = pod["metadata"]["name"]
        text = run(
            "kubectl", "get", "--raw", f"/api/v1/namespaces/{namespace.name}/pods/{name}:{port}/proxy/metrics"
        )
        counts[name] = sum(
            int(float(line.split()[-1])) for line in text.splitlines() if line.startswith(metric)
        )
    return counts


def inferences(namespace: Namespace) -> dict[str, int]:
    """Images that each of Triton's pods has answered, by its own count."""
    return counted(namespace, "predictor", 8002, 'nv_inference_count{model="cnn-image",')


class Channels:
    """gRPC channels that live as long as the block and ask all the time, each from a thread of its own.

    Attributes:
        failures: Every call that was not answered.
    """

    def __init__(self, address: str, number: int) -> None:
        self._stop = threading.Event()
        self._threads = [threading.Thread(target=self._ask, args=(address,)) for _ in range(number)]
        self.failures: list[str] = []

    def __enter__(self) -> "Channels":
        for thread in self._threads:
            thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._stop.set()
        for thread in self._threads:
            thread.join(timeout=60)

    def _ask(self, address: str) -> None:
        request = pb.ModelInferRequest(
            model_name="cnn-image", raw_input_contents=[struct.pack("<I", len(IMAGE)) + IMAGE]
        )
        request.inputs.add(name="image", datatype="BYTES", shape=[1])
        own = (("grpc.use_local_subchannel_pool", 1),)  # else all channels share one connection
        with grpc.insecure_channel(address, own) as channel:
            stub = stubs.GRPCInferenceServiceStub(channel)
            while not self._stop.wait(0.05):
                try:
                    assert stub.ModelInfer(request, timeout=15).model_version == "1"
                except (AssertionError, grpc.RpcError) as error:
                    self.failures.append(str(error))


def settled(serving: Release) -> None:
    for part in ("predictor", "transformer"):
        serving.namespace.kubectl(
            "rollout", "status", f"deployment/cnn-image-{part}", "--timeout=180s", seconds=200
        )


def test_the_answer_is_the_promoted_versions(serving: Release) -> None:
    answer = serving.ask("dog")
    assert answer.status_code == 200, answer.text
    assert answer.headers["X-Model-Version"] == "1"
    said = serving.namespace.job("known", "verify")
    assert "dog.jpg: " + answer.json()["class_name"] + ", answered by version 1" in said


def test_two_replicas_share_the_load(serving: Release) -> None:
    before = inferences(serving.namespace)
    under_load(serving, lambda: time.sleep(5), rate=40)
    after = inferences(serving.namespace)
    shares = [after[name] - before[name] for name in before]
    assert len(shares) == 2
    assert 0.4 <= shares[0] / sum(shares) <= 0.6, shares


@pytest.mark.parametrize("component", ["transformer", "predictor"])
def test_no_request_fails_when_a_pod_is_deleted(serving: Release, component: str) -> None:
    def delete() -> None:
        name = serving.namespace.pods(component)[0]["metadata"]["name"]
        serving.namespace.kubectl("delete", "pod", name)
        settled(serving)

    assert under_load(serving, delete).failures == []


def test_a_new_pod_gets_its_share_and_a_removed_one_loses_nothing(serving: Release) -> None:
    three = ("--set", "serving.triton.replicas=3")

    def up() -> None:
        serving.upgrade(*three)
        begun = inferences(serving.namespace)
        assert len(begun) == 3
        wait_for(lambda: min(inferences(serving.namespace).values()) > 20, "a share for the new pod", 60)

    assert under_load(serving, up).failures == []
    assert under_load(serving, serving.upgrade).failures == []
    assert len(serving.namespace.pods("predictor")) == 2


def test_no_request_fails_over_a_promotion_and_a_rollback(serving: Release) -> None:
    def promote() -> None:
        serving.namespace.job("promote", "promote", "2", "--override-gate", "a test")

    answers = under_load(serving, promote)
    assert answers.failures == []
    assert set(answers.versions) == {"1", "2"}
    (first,), (second,) = answers.classes["1"], answers.classes["2"]
    assert second == next_class(first)
    answers = under_load(serving, lambda: serving.namespace.job("back", "rollback"))
    assert answers.failures == []
    assert serving.ask().headers["X-Model-Version"] == "1"


def test_grpc_and_rest_by_tritonclient_from_outside(serving: Release) -> None:
    address = serving.namespace.outside("cnn-image", port=1)
    # In a process of its own: tritonclient's gRPC and kserve cannot be imported together.
    script = f"""
import numpy as np, sys
import tritonclient.grpc as g, tritonclient.http as h
images = np.random.default_rng(0).integers(0, 256, (3, 32, 32, 3), dtype=np.uint8)
answers = []
for client, module in ((g.InferenceServerClient("{address}"), g),
                       (h.InferenceServerClient("{serving.url.removeprefix("http://")}"), h)):
    tensor = module.InferInput("image", list(images.shape), "UINT8"); tensor.set_data_from_numpy(images)
    result = client.infer("cnn-image", [tensor])
    reply = result.get_response()
    version = reply["model_version"] if isinstance(reply, dict) else reply.model_version
    assert version == "1", version
    answers.append(result.as_numpy("probs"))
assert answers[0].shape == (3, 5)
np.testing.assert_allclose(answers[0], answers[1], atol=1e-6)
"""
    done = subprocess.run(
        [ROOT / ".venv/bin/python", "-c", script], capture_output=True, timeout=120, check=False
    )
    assert done.returncode == 0, done.stderr.decode()


def test_both_in_one_pod_and_apart_again(serving: Release) -> None:
    collocated = ("--set", "serving.mode=collocated")
    answers = under_load(serving, lambda: serving.upgrade(*collocated))
    assert answers.failures == []
    assert serving.ask().headers["X-Model-Version"] == "1"
    containers = [part["name"] for part in serving.namespace.pods("transformer")[0]["spec"]["containers"]]
    assert set(containers) == {"kserve-container", "transformer-container"}
    assert "deployment.apps/cnn-image-transformer" not in serving.namespace.names("deployments")
    answers = under_load(serving, serving.upgrade)
    assert answers.failures == []
    assert len(serving.namespace.pods("predictor")) == 2
    assert "deployment.apps/cnn-image-transformer" in serving.namespace.names("deployments")


def test_autoscaling_adds_pods_under_load_and_channels_that_live_on_find_them(
    serving: Release, tmp_path: Path
) -> None:
    values = {
        "serving": {
            "triton": {
                # Half of the target is more than an idle Triton takes: else two pods would never become one.
                "resources": {"requests": {"cpu": "100m"}, "limits": {"cpu": "300m"}},
                "autoscaling": {"enabled": True, "minReplicas": 1, "maxReplicas": 2, "targetCPUPercent": 90},
            },
            "transformer": {
                "autoscaling": {"enabled": True, "minReplicas": 1, "maxReplicas": 2, "targetCPUPercent": 90},
                "env": {"CNN_IMAGE_GRPC_CONNECTION_SECONDS": "5"},
            },
        }
    }
    file = tmp_path / "scaled.yaml"
    file.write_text(yaml.safe_dump(values))
    # From one pod: an HPA keeps the number it finds for its five minutes of stabilization.
    serving.upgrade("--set", "serving.triton.replicas=1", "--set", "serving.transformer.replicas=1")
    Release(serving.namespace, [*serving.values, file]).upgrade()
    assert len(serving.namespace.pods("predictor")) == len(serving.namespace.pods("transformer")) == 1
    batch = json.dumps(
        {
            "inputs": [
                {
                    "name": "image",
                    "datatype": "UINT8",
                    "shape": [32, 32, 32, 3],
                    "data": [7] * (32**2 * 3 * 32),
                }
            ]
        }
    )

    def pods() -> set[int]:
        return {len(serving.namespace.pods(component)) for component in ("predictor", "transformer")}

    def images() -> dict[str, int]:
        return counted(serving.namespace, "transformer", 8080, "cnn_image_images_total{")

    done = time.monotonic() + 180
    with Channels(serving.namespace.outside("cnn-image", port=1), 16) as channels:
        with httpx.Client(base_url=serving.url, timeout=60) as client:
            while pods() != {2}:
                assert time.monotonic() < done, "no second pods under load within 180 s"
                for _ in range(10):
                    assert client.post("/v2/models/cnn-image/infer", content=batch).status_code == 200
        settled(serving)
        before = images()
        assert len(before) == 2

        def shares() -> list[int]:
            return sorted(count - before[name] for name, count in images().items())

        # From now on the channels alone ask, and all of them were there before the second pod.
        wait_for(lambda: shares()[0] > 200, "a share for the new pod", 60)
        fewer, more = shares()
        assert fewer / (fewer + more) > 0.2, (fewer, more)
    assert channels.failures == []


def test_a_model_with_a_flipped_byte_is_refused_and_the_old_one_serves(serving: Release) -> None:
    with pytest.MonkeyPatch.context() as patch:
        store = TrialStore(serving.namespace, patch)
    key = "store/versions/000002/cnn-image/2/model.onnx"
    whole = store.s3.get_object(Bucket="cnn-image", Key=key)["Body"].read()
    body = bytearray(whole)
    body[len(body) // 2] ^= 1
    store.s3.put_object(Bucket="cnn-image", Key=key, Body=bytes(body))
    try:
        said = serving.namespace.job("flipped", "promote", "2", "--override-gate", "a test", ok=False)
    finally:
        store.s3.put_object(Bucket="cnn-image", Key=key, Body=whole)
    assert "2/model.onnx" in said
    assert serving.ask().headers["X-Model-Version"] == "1"


def test_serving_goes_on_without_minio(serving: Release) -> None:
    serving.namespace.kubectl("scale", "deployment/cnn-image-minio", "--replicas=0")
    try:
        assert under_load(serving, lambda: time.sleep(3)).failures == []
        said = serving.namespace.job("no-store", "rollback", ok=False, wait=False)
        assert "cnn-image-minio" in said, said
    finally:
        serving.namespace.kubectl("scale", "deployment/cnn-image-minio", "--replicas=1")


def test_autoscaling_takes_the_pod_away_again(serving: Release) -> None:
    # The tests between gave the HPA some of the five minutes for which it keeps what was needed once: that is
    # the default of Kubernetes, which KServe 0.20 does not let an InferenceService change.
    answers = under_load(
        serving,
        lambda: wait_for(lambda: len(serving.namespace.pods("predictor")) == 1, "going down to one pod", 420),
        rate=3,
    )
    assert answers.failures == []
    serving.upgrade()
    settled(serving)
    assert len(serving.namespace.pods("predictor")) == 2
