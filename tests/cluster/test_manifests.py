"""Every object that the chart renders, in all its forms, is one that the API server and its schemas take."""

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import jsonschema
import pytest
import yaml
from cluster.kube import CHART, ROOT, Namespace, run
from cluster.schemas import write_schemas

pytestmark = pytest.mark.cluster

ARGO = ROOT.parent / "shared" / "data" / "argo" / "workflows-4.1.2.schema.json"
TRIAL = ("minio.enabled=true", "mlflow.enabled=true", "training.data.volumeClaim=cifar10")
FORMS = {
    "trial": TRIAL,
    "own S3 and MLflow": (
        "store.url=s3://bucket/models",
        "store.endpoint=https://s3.example.com:9443",
        "store.secret=s3",
        "store.caBundle.configMap=ca",
        "mlflow.trackingUri=https://mlflow.example.com",
        "mlflow.secret=mlflow",
        "training.data.url=s3://bucket/cifar-10-python.tar.gz",
        "training.gpus=0",
        "image.registry=registry.example.com/team",
        "image.pullSecrets={registry}",
    ),
    "collocated": (*TRIAL, "serving.mode=collocated", "networkPolicy.enabled=true"),
    "everything": (
        *TRIAL,
        "retraining.enabled=true",
        "drill.enabled=true",
        "networkPolicy.enabled=true",
        "serving.trainApi.enabled=true",
        "serving.trainApi.tokenSecret=token",
        "serving.triton.autoscaling.enabled=true",
        "serving.triton.autoscaling.minReplicas=2",
        "serving.transformer.autoscaling.enabled=true",
        "monitoring.dashboard.enabled=true",
    ),
}


def render(*values: str, check: bool = True) -> list[dict[str, Any]]:
    """The chart's objects, those in the ConfigMap included."""
    flags = [flag for value in values for flag in ("--set", value)]
    text = run(
        "helm", "template", "trial", CHART, "-n", "default", "--kube-version", "1.35", *flags, check=check
    )
    objects = [each for each in yaml.safe_load_all(text) if each]
    for each in list(objects):
        if each["metadata"]["name"] == "cnn-image-inferenceservice":
            inner = [yaml.safe_load(text) for text in each["data"].values()]
            inner[0]["spec"]["predictor"]["model"]["storageUri"] = "s3://bucket/versions/000001"
            objects += inner
    return objects


def images_in(part: Any) -> Iterator[str]:
    """Every container's image, wherever it stands."""
    if isinstance(part, dict):
        if isinstance(part.get("image"), str):
            yield part["image"]
        part = list(part.values())
    if isinstance(part, list):
        for inner in part:
            yield from images_in(inner)


@pytest.fixture(scope="module", params=FORMS, ids=str)
def objects(request: pytest.FixtureRequest) -> list[dict[str, Any]]:
    return render(*FORMS[request.param])


@pytest.fixture(scope="module")
def schemas(tmp_path_factory: pytest.TempPathFactory) -> str:
    groups = {
        "",
        "apps",
        "batch",
        "networking.k8s.io",
        "policy",
        "rbac.authorization.k8s.io",
        "serving.kserve.io",
    }
    return write_schemas(tmp_path_factory.mktemp("schemas"), groups)


def test_kubeconform(objects: list[dict[str, Any]], schemas: str, tmp_path: Path) -> None:
    manifests = tmp_path / "all.yaml"
    manifests.write_text(yaml.safe_dump_all(objects))
    said = run(
        "kubeconform", "-schema-location", schemas, "-summary", "-output", "json", manifests, check=False
    )
    summary = json.loads(said)
    wrong = [each for each in summary.get("resources", []) if each["status"] != "statusValid"]
    assert wrong == []
    assert summary["summary"]["valid"] == len(objects)


def test_the_api_server_takes_them_under_restricted_pod_security(
    objects: list[dict[str, Any]], namespace: Namespace
) -> None:
    namespace.kubectl("create", "serviceaccount", "cnn-image-jobs", check=False)
    for each in objects:
        each["metadata"]["namespace"] = namespace.name
        for subject in each.get("subjects", []):
            subject["namespace"] = namespace.name
    done = run("sh", "-c", "kubectl apply --dry-run=server -f - 2>&1", stdin=yaml.safe_dump_all(objects))
    assert "Warning" not in done.replace("Warning: resource serviceaccounts/cnn-image-jobs is missing", ""), (
        done
    )


def test_k8s_is_what_the_chart_renders() -> None:
    run(ROOT / "k8s" / "render", "--check")
    run(ROOT / "charts" / "document", "--check")


def test_a_wrong_key_is_refused_at_every_level() -> None:
    for value in ("imge.tag=1", "serving.tritn.replicas=1", "image.train.tagg=1", "minio.storage.siz=1Gi"):
        said = run(
            *("sh", "-c", f'helm template t "{CHART}" --kube-version 1.35 --set {value} 2>&1 || true'),
        )
        assert "not allowed" in said, said


def test_what_is_missing_is_said_in_a_sentence() -> None:
    def refused(*values: str) -> str:
        flags = " ".join(f"--set {value}" for value in values)
        return run("sh", "-c", f'helm template t "{CHART}" --kube-version 1.35 {flags} 2>&1 || true')

    assert "set minio.enabled=true to try it out" in refused("training.data.url=s3://b/d")
    assert "A Job never trains on the sample" in refused("minio.enabled=true")


def test_no_secret_is_written_out_where_one_is_named() -> None:
    kinds = {each["kind"] for each in render(*FORMS["own S3 and MLflow"])}
    assert "Secret" not in kinds
    assert "Deployment" not in kinds


def test_every_image_can_be_named_by_digest() -> None:
    digest = "sha256:" + "0" * 64
    names = ("train", "transformer", "triton", "minio")
    values = [f"image.{name}.digest={digest}" for name in names]
    images = set(images_in(render(*TRIAL, *values)))
    assert len(images) == len(names), images
    assert all(image.endswith(f"@{digest}") for image in images), images


def test_argos_objects_match_its_schema() -> None:
    if not ARGO.exists():
        pytest.skip(f"no schema of Argo Workflows at {ARGO}")
    definitions = json.loads(ARGO.read_text())["definitions"]
    kinds = []
    for each in render(*TRIAL, "argo.enabled=true", "argo.scheduled=true"):
        if each["apiVersion"] == "argoproj.io/v1alpha1":
            kinds.append(each["kind"])
            name = f"io.argoproj.workflow.v1alpha1.{each['kind']}"
            jsonschema.Draft7Validator(
                {"definitions": definitions, "$ref": f"#/definitions/{name}"}
            ).validate(each)
    assert sorted(kinds) == ["CronWorkflow", "WorkflowTemplate"]
