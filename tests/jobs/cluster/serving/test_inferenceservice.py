"""The InferenceService: made of template and version, owned by the ConfigMap, never over a hand edit."""

from pathlib import Path
from typing import Any

import httpx
import numpy as np
import pytest

from jobs.cluster.client import ApiError
from jobs.cluster.names import Names
from jobs.cluster.serving import inferenceservice, preflight_job
from jobs.cluster.serving.inferenceservice import (
    RESTARTED,
    InferenceServiceDeployer,
    edited_by_hand,
    uri_version,
)
from jobs.cluster.serving.rollout import SOURCE, Rollout
from jobs.errors import FaultError, LostError, MistakeError
from jobs.known import KnownImages
from jobs.settings import Settings

CAT = np.array([[0, 0, 0, 1, 0]], np.float32)

TEMPLATE = """\
apiVersion: serving.kserve.io/v1beta1
kind: InferenceService
metadata: {name: cnn-image, namespace: elsewhere}
spec:
  predictor: {model: {runtime: cnn-image-triton}}
"""
PREFLIGHT = """\
apiVersion: batch/v1
kind: Job
metadata: {name: cnn-image-preflight}
spec: {template: {spec: {initContainers: [{name: triton, image: triton}], containers: [{image: "train:1"}]}}}
"""
CONFLICT = {
    "message": "Apply failed with 1 conflict",
    "details": {
        "causes": [
            {
                "reason": "FieldManagerConflict",
                "message": 'conflict with "kubectl-edit"',
                "field": ".spec.predictor.model.storageUri",
            }
        ]
    },
}


class FakeKubernetes:
    """A namespace with the chart's ConfigMap."""

    namespace = "ns"

    def __init__(self) -> None:
        self.names = Names("cnn-image")
        self.service: Any = None
        self.pods: list[Any] = []
        self.refusal: ApiError | None = None
        self.applied: list[tuple[Any, bool, bool]] = []
        self.deleted: list[str] = []
        self.configmap: Any = {
            "metadata": {"name": "cnn-image-inferenceservice", "uid": "u9"},
            "data": {"inferenceservice.yaml": TEMPLATE, "preflight.yaml": PREFLIGHT},
        }
        self.created: list[tuple[Any, bool]] = []
        self.own: dict[str, Any] = {}

    def get(self, kind: str, name: str) -> Any:
        if kind in {"pods", "jobs"}:
            return self.own[kind]
        if self.configmap is None:
            raise ApiError(404, {"message": "not found", "details": {"name": name}}, "Not Found")
        return self.configmap

    def find(self, kind: str, name: str) -> Any:
        if self.refusal and self.refusal.code != 409:
            raise self.refusal
        return self.service

    def list(self, kind: str, selector: str) -> list[Any]:
        return self.pods if selector.endswith("component=predictor") else []

    def apply(self, kind: str, body: Any, *, force: bool, dry_run: bool) -> Any:
        if self.refusal and not force:
            raise self.refusal
        self.applied.append((body, force, dry_run))
        return body

    def create(self, kind: str, body: Any, *, dry_run: bool) -> Any:
        self.created.append((body, dry_run))
        return body

    def delete(self, kind: str, name: str) -> None:
        self.deleted.append(f"{kind}/{name}")
        if kind == "horizontalpodautoscalers":
            raise ApiError(404, {"message": "not found"}, "Not Found")


class FakeStore:
    """Knows numbers and addresses alone."""

    def numbers(self) -> list[int]:
        return [3, 11]

    def uri(self, version: int) -> str:
        return f"s3://b/store/versions/{version:06d}/"


@pytest.fixture
def kubernetes() -> FakeKubernetes:
    return FakeKubernetes()


def deployer(kubernetes: FakeKubernetes, *, force: bool = False) -> InferenceServiceDeployer:
    settings = Settings(service_url="http://127.0.0.1:1", rollout_seconds=1)
    return InferenceServiceDeployer(settings, FakeStore(), kubernetes, force=force)


def test_template_and_version_make_the_object(
    kubernetes: FakeKubernetes, monkeypatch: pytest.MonkeyPatch
) -> None:
    waited: list[str] = []
    monkeypatch.setattr(
        "jobs.cluster.serving.rollout.Rollout.wait", lambda self, seconds: waited.append(self._uri)
    )
    deployer(kubernetes).deploy(12)
    body, force, dry_run = kubernetes.applied[0]
    assert body["spec"]["predictor"]["model"] == {
        "runtime": "cnn-image-triton",
        "storageUri": "s3://b/store/versions/000012/",
    }
    assert body["metadata"]["ownerReferences"] == [
        {"apiVersion": "v1", "kind": "ConfigMap", "name": "cnn-image-inferenceservice", "uid": "u9"}
    ]
    assert (force, dry_run) == (False, False)
    assert waited == ["s3://b/store/versions/000012/"]


def test_transformers_come_before_the_predictors_that_had_them_go(
    kubernetes: FakeKubernetes, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("jobs.cluster.serving.rollout.Rollout.wait", lambda self, seconds: None)
    together = {"model": {"storageUri": "s3://b/store/versions/000011/"}, "containers": [{"name": "both"}]}
    kubernetes.service = {"spec": {"predictor": together}}
    kubernetes.configmap["data"]["inferenceservice.yaml"] += "  transformer: {minReplicas: 2}\n"
    deployer(kubernetes).deploy(12)
    rehearsed, beside, apart = kubernetes.applied
    assert rehearsed == (apart[0], False, True)
    assert beside[0]["spec"] == {"predictor": together, "transformer": {"minReplicas": 2}}
    assert apart[0]["spec"]["predictor"]["model"]["storageUri"] == "s3://b/store/versions/000012/"
    assert "containers" not in apart[0]["spec"]["predictor"]
    assert kubernetes.deleted == []


def test_transformers_go_once_the_predictors_have_their_own(
    kubernetes: FakeKubernetes, monkeypatch: pytest.MonkeyPatch
) -> None:
    def wait(self: object, seconds: float) -> None:
        assert kubernetes.deleted == []

    monkeypatch.setattr("jobs.cluster.serving.rollout.Rollout.wait", wait)
    kubernetes.service = {"spec": {"predictor": {}, "transformer": {}}}
    deployer(kubernetes).deploy(12)
    assert len(kubernetes.applied) == 1
    assert set(kubernetes.deleted) == {
        f"{kind}/cnn-image-transformer" for kind in ("horizontalpodautoscalers", "deployments", "services")
    }


def stuck(name: str, uri: str) -> dict[str, Any]:
    """A pod whose download has failed once."""
    ended = {"terminated": {"exitCode": 1, "message": "Could not connect to http://minio-away:9000"}}
    download = {"name": "storage-initializer", "ready": False, "restartCount": 1, "state": ended}
    return {
        "metadata": {"name": name, "annotations": {SOURCE: uri}},
        "status": {"initContainerStatuses": [download]},
    }


def test_pods_that_cannot_start_are_replaced_though_nothing_in_the_template_has_changed(
    kubernetes: FakeKubernetes, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    judged: list[str | None] = []
    monkeypatch.setattr(Rollout, "wait", lambda self, seconds: judged.append(self.hopeless("predictor", 1)))
    kubernetes.configmap["data"]["inferenceservice.yaml"] += "  transformer: {minReplicas: 2}\n"
    uri = "s3://b/store/versions/000012/"
    kubernetes.service = {"spec": {"predictor": {"model": {"storageUri": uri}}, "transformer": {}}}

    def applied() -> Any:
        deployer(kubernetes).deploy(12)
        return kubernetes.applied[-1][0]["spec"]

    assert "annotations" not in applied()["predictor"]
    kubernetes.pods = [stuck("old", uri)]
    spec = kubernetes.service["spec"] = applied()
    restarted = spec["predictor"]["annotations"][RESTARTED]
    assert "annotations" not in spec["transformer"]
    said = capsys.readouterr().err
    assert (
        "storage-initializer in old ended 1 time with exit code 1: Could not connect to http://minio" in said
    )
    assert judged == [None, None]  # that the one which goes cannot start is no fault of those that come
    kubernetes.pods = []
    assert applied()["predictor"]["annotations"][RESTARTED] == restarted  # or they were replaced once more
    # Those of another version go by themselves.
    kubernetes.pods = [stuck("old", "s3://b/store/versions/000011/")]
    assert applied()["predictor"]["annotations"][RESTARTED] == restarted


def test_a_hand_edit_is_refused_and_named_before_anything_changes(kubernetes: FakeKubernetes) -> None:
    kubernetes.refusal = ApiError(409, CONFLICT, "Conflict")
    with pytest.raises(LostError, match=r"storageUri \(conflict with \"kubectl-edit\"\).*deploy --force"):
        deployer(kubernetes).rehearse(12)
    assert kubernetes.applied == []


def test_a_dry_run_has_both_templates_checked_in_this_namespace(kubernetes: FakeKubernetes) -> None:
    deployer(kubernetes).dry_run()
    ((body, force, dry_run),) = kubernetes.applied
    assert (force, dry_run) == (False, True)
    assert body["metadata"]["namespace"] == "ns", "the template of an earlier chart names another one"
    assert body["spec"]["predictor"]["model"]["storageUri"].endswith("/versions/000012/")
    ((job, dry_run),) = kubernetes.created
    assert dry_run
    assert job["metadata"]["generateName"] == "cnn-image-preflight-"
    kubernetes.refusal = ApiError(409, CONFLICT, "Conflict")
    with pytest.raises(LostError, match="edited by hand"):
        deployer(kubernetes).dry_run()


@pytest.mark.parametrize(("image", "noted"), [("train:1", False), ("registry/train:2", True)])
def test_an_image_changed_after_rendering_is_said(
    kubernetes: FakeKubernetes,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
    image: str,
    noted: bool,
) -> None:
    monkeypatch.setattr(preflight_job, "own_pod", lambda: "pod")
    kubernetes.own = {
        "pods": {"metadata": {"labels": {"job-name": "cnn-image-train-1"}}},
        "jobs": {"spec": {"template": {"spec": {"containers": [{"image": image}]}}}},
    }
    deployer(kubernetes).dry_run()
    said = capsys.readouterr().err
    assert ("name images by the chart's values" in said) is noted
    assert ("registry/train:2" in said) is noted


def test_force_takes_the_fields_back(kubernetes: FakeKubernetes, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("jobs.cluster.serving.rollout.Rollout.wait", lambda self, seconds: None)
    kubernetes.refusal = ApiError(409, CONFLICT, "Conflict")
    deployer(kubernetes, force=True).deploy(12)
    assert kubernetes.applied[0][1] is True


def test_what_is_served_is_the_objects_own_word(kubernetes: FakeKubernetes) -> None:
    assert deployer(kubernetes).served() is None
    kubernetes.service = {"spec": {"predictor": {"model": {"storageUri": "s3://b/store/versions/000012/"}}}}
    assert deployer(kubernetes).served() == 12
    kubernetes.service = {"spec": {"predictor": {"model": {"storageUri": "s3://elsewhere/model"}}}}
    with pytest.raises(LostError, match="s3://elsewhere/model, which is no version"):
        deployer(kubernetes).served()


@pytest.mark.parametrize(
    ("uri", "version"),
    [
        ("s3://b/store/versions/000012/", 12),
        ("s3://b/store/versions/000012", 12),
        ("s3://b/versions/000100/", 100),
        ("s3://b/000012/", None),
        ("s3://b/versions/000000/", None),
    ],
)
def test_version_of_an_address(uri: str, version: int | None) -> None:
    assert uri_version(uri) == version


def test_without_the_chart_or_kserve_it_says_what_to_install(kubernetes: FakeKubernetes) -> None:
    kubernetes.configmap = None
    with pytest.raises(MistakeError, match="install the chart"):
        deployer(kubernetes).deploy(1)
    kubernetes.refusal = ApiError(
        404, {"message": "the server could not find the requested resource"}, "Not Found"
    )
    with pytest.raises(MistakeError, match="no KServe"):
        deployer(kubernetes).served()


def test_no_service_has_no_decoder_and_one_that_is_away_is_a_fault(kubernetes: FakeKubernetes) -> None:
    assert deployer(kubernetes).decoder() is None
    kubernetes.service = {"spec": {}}
    with pytest.raises(FaultError, match="does not say which decoder"):
        deployer(kubernetes).decoder()


def test_the_live_decoder_is_asked_for(kubernetes: FakeKubernetes, monkeypatch: pytest.MonkeyPatch) -> None:
    kubernetes.service = {"spec": {}}

    def service(request: httpx.Request) -> httpx.Response:
        assert request.url.path == "/info"
        return httpx.Response(200, json={"decoder_version": "3"})

    monkeypatch.setattr(
        inferenceservice,
        "http_client",
        lambda url, timeout: httpx.Client(base_url=url, transport=httpx.MockTransport(service)),
    )
    assert deployer(kubernetes).decoder() == "3"


def test_other_conflicts_are_not_hand_edits() -> None:
    assert edited_by_hand(ApiError(409, {"message": "already exists"}, "Conflict")) is None
    assert edited_by_hand(ApiError(422, {}, "Invalid")) is None


def test_verify_asks_for_known_images(
    kubernetes: FakeKubernetes,
    monkeypatch: pytest.MonkeyPatch,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
) -> None:
    asked: list[Any] = []
    of_four = KnownImages(4, (Path("cat.jpg"),), np.zeros((1, 32, 32, 3), np.uint8), CAT)
    monkeypatch.setattr(inferenceservice, "known_evidence", lambda store, version: b"a zip")
    monkeypatch.setattr(
        inferenceservice,
        "known_images",
        lambda folder, version, known: {b"a zip": of_four}[known],
    )
    monkeypatch.setattr(inferenceservice, "verify_service", lambda url, known: asked.append((url, known)))
    monkeypatch.setattr(FakeStore, "fetch", lambda self, version, folder: tmp_path, raising=False)
    deployer(kubernetes).verify(4)
    assert asked == [("http://127.0.0.1:1", of_four)]
    assert "cat.jpg: cat, answered by version 4" in capsys.readouterr().err
