"""Every object that the chart renders, in all its forms, is one that the API server and its schemas take."""

import json
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import jsonschema
import pytest
import yaml
from cluster.kube import CHART, ROOT, Namespace, find_program, rendered, run
from cluster.schemas import write_schemas

from image_transformer.settings import LEAVE_SECONDS

pytestmark = pytest.mark.cluster

ARGO = ROOT.parent / "shared" / "data" / "argo" / "workflows-4.1.2.schema.json"
TRIAL = ("minio.enabled=true", "mlflow.enabled=true", "training.data.volumeClaim=cifar10")
FORMS = {
    "trial": TRIAL,
    "own S3 and MLflow": (
        "store.url=s3://bucket/models",
        "store.endpoint=https://s3.example.com:9443",
        "store.secret=s3",
        "store.predictorSecret=s3-read",
        "store.encryption.algorithm=aws:kms",
        "store.encryption.kmsKey=arn:aws:kms:eu-central-1:111122223333:key/1",
        "store.caBundle.configMap=ca",
        "store.identity.jobs.example\\.com/role=write",
        "mlflow.trackingUri=https://mlflow.example.com",
        "mlflow.secret=mlflow",
        "mlflow.caBundle.configMap=mlflow-ca",
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
        "scoring.enabled=true",
        "scoring.source=s3://cnn-image/pictures",
        "scoring.out=s3://cnn-image/scored",
        "networkPolicy.enabled=true",
        "serving.trainApi.enabled=true",
        "serving.trainApi.tokenSecret=token",
        "serving.triton.autoscaling.enabled=true",
        "serving.triton.autoscaling.minReplicas=2",
        "serving.transformer.autoscaling.enabled=true",
        "monitoring.dashboard.enabled=true",
    ),
    "another model": (
        "model=" + "m" * 40,
        *TRIAL,
        "retraining.enabled=true",
        "drill.enabled=true",
        "networkPolicy.enabled=true",
        "networkPolicy.models={hands}",
        "serving.trainApi.enabled=true",
        "serving.trainApi.tokenSecret=token",
        "monitoring.dashboard.enabled=true",
    ),
}


def render(*values: str) -> list[dict[str, Any]]:
    """The chart's objects, those in the ConfigMap included."""
    flags = [flag for value in values for flag in ("--set", value)]
    objects = [each for each in yaml.safe_load_all(rendered(*flags)) if each]
    for each in list(objects):
        if each["kind"] == "ConfigMap" and "inferenceservice.yaml" in each["data"]:
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


_DOWNLOADING = """
apiVersion: v1
kind: Pod
metadata:
  name: downloading
  labels: {serving.kserve.io/inferenceservice: cnn-image, component: predictor}
  annotations: {internal.serving.kserve.io/storage-initializer-sourceuri: "s3://models/cnn-image/versions/000001"}
spec:
  serviceAccountName: cnn-image-predictor
  securityContext: {runAsNonRoot: true, runAsUser: 1000, seccompProfile: {type: RuntimeDefault}}
  containers:
    - name: kserve-container
      image: triton
      securityContext: {allowPrivilegeEscalation: false, capabilities: {drop: [ALL]}}
"""


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
        find_program("kubeconform"),
        "-schema-location",
        schemas,
        "-summary",
        "-output",
        "json",
        manifests,
        check=False,
    )
    summary = json.loads(said)
    wrong = [each for each in summary.get("resources", []) if each["status"] != "statusValid"]
    assert wrong == []
    assert summary["summary"]["valid"] == len(objects)


def test_the_api_server_takes_them_under_restricted_pod_security(
    objects: list[dict[str, Any]], namespace: Namespace
) -> None:
    (account,) = (
        each["metadata"]["name"]
        for each in objects
        if each["kind"] == "ServiceAccount" and each["metadata"]["name"].endswith("-jobs")
    )
    namespace.kubectl("create", "serviceaccount", account, check=False)
    for each in objects:
        each["metadata"]["namespace"] = namespace.name
        for subject in each.get("subjects", []):
            subject["namespace"] = namespace.name
    done = run("sh", "-c", "kubectl apply --dry-run=server -f - 2>&1", stdin=yaml.safe_dump_all(objects))
    assert "Warning" not in done.replace(f"Warning: resource serviceaccounts/{account} is missing", ""), done


def test_k8s_is_what_the_chart_renders() -> None:
    run(ROOT / "k8s" / "render", "--check")
    run(sys.executable, ROOT / "charts" / "document", "--check")


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
    assert "scoring.enabled needs scoring.source" in refused(*TRIAL, "scoring.enabled=true")


@pytest.mark.parametrize(
    ("value", "int8"),
    [
        ("training.int8=true", "true"),
        ("training.int8=false", "false"),
        ("serving.triton.resources.limits.nvidia\\.com/gpu=1", "false"),
    ],
)
def test_a_gpu_is_given_no_int8(value: str, int8: str) -> None:
    envs = [
        each["spec"]["template"]["spec"]["containers"][0]["env"]
        for each in render(*TRIAL, value)
        if each["kind"] == "Job" and "train" in each["metadata"]["name"]
    ]
    assert [one["value"] for env in envs for one in env if one["name"] == "CNN_IMAGE_INT8"] == [int8]


def containers_of_trainings(*values: str) -> dict[str, dict[str, str]]:
    """The variables of what trains, by kind: the first Job, the schedule's template, Argo's step."""
    found: dict[str, dict[str, str]] = {}
    for each in render(*TRIAL, "argo.enabled=true", *values):
        pod: dict[str, Any] = {}
        if each["metadata"]["name"].startswith("cnn-image-train-"):
            pod = each["spec"]["template"]["spec"]
        elif each["kind"] == "CronJob" and each["metadata"]["name"] == "cnn-image-retrain":
            pod = each["spec"]["jobTemplate"]["spec"]["template"]["spec"]
        elif each["metadata"]["name"] == "cnn-image-retrain" and each["kind"] == "WorkflowTemplate":
            steps = {step["name"]: step for step in each["spec"]["templates"]}
            assert steps["data"]["container"]["env"] == steps["train"]["container"]["env"]
            pod = {"containers": [steps["train"]["container"]]}
        if pod:
            env = pod["containers"][0]["env"]
            found[each["kind"]] = {one["name"]: one["value"] for one in env if "value" in one}
    assert set(found) == {"Job", "CronJob", "WorkflowTemplate"}
    return found


def test_size_fit_network_mirroring_and_weak_evidence_reach_whatever_trains() -> None:
    own = {"CNN_IMAGE_SIZE", "CNN_IMAGE_FIT", "CNN_IMAGE_MIRROR", "CNN_IMAGE_ACCEPT_WEAK_EVIDENCE"}
    own.add("CNN_IMAGE_NETWORK")
    for env in containers_of_trainings().values():
        assert not own & set(env)  # the command's own defaults: the version's before
        assert env["CIFAR10_DIR"] == "/data"
    asked = ("training.size=96", "training.fit=pad", "training.mirror=false")
    network = "training.network=efficientnet-lite1"
    weak = "training.acceptWeakEvidence=true"
    where = ("training.data.volumeClaim=pictures", "training.data.path=hands/by-sign")
    for env in containers_of_trainings(*asked, network, weak, *where).values():
        assert (env["CNN_IMAGE_SIZE"], env["CNN_IMAGE_FIT"], env["CNN_IMAGE_MIRROR"]) == (
            "96",
            "pad",
            "false",
        )
        assert env["CNN_IMAGE_NETWORK"] == "efficientnet-lite1"
        assert env["CNN_IMAGE_ACCEPT_WEAK_EVIDENCE"] == "true"
        assert env["CIFAR10_DIR"] == "/data/hands/by-sign"
    commands = [
        each["spec"]["jobTemplate"]["spec"]["template"]["spec"]["containers"][0]["env"]
        for each in render(*TRIAL, weak)
        if each["kind"] == "CronJob" and each["metadata"]["name"] == "cnn-image-command"
    ]
    # `cnn-image jobs run promote 7` is one of these.
    assert {"name": "CNN_IMAGE_ACCEPT_WEAK_EVIDENCE", "value": "true"} in commands[0]


def test_renamed_classes_and_dropped_leaks_reach_whatever_trains() -> None:
    for env in containers_of_trainings().values():
        assert not {"CNN_IMAGE_RENAME", "CNN_IMAGE_DROP_LEAKS"} & set(env)
    asked = ("training.rename={cat=felis,a dog=canis}", "training.dropLeaks=true")
    for env in containers_of_trainings(*asked).values():
        assert env["CNN_IMAGE_RENAME"] == "cat=felis\na dog=canis"
        assert env["CNN_IMAGE_DROP_LEAKS"] == "true"


def test_a_scoring_has_a_deadline_of_its_own() -> None:
    asked = ("argo.enabled=true", "training.deadlineSeconds=600", "scoring.deadlineSeconds=90000")
    named = {(each["kind"], each["metadata"]["name"]): each.get("spec") for each in render(*TRIAL, *asked)}
    job = named["CronJob", "cnn-image-score"]["jobTemplate"]["spec"]
    assert job["activeDeadlineSeconds"] == 90000
    workflow = named["WorkflowTemplate", "cnn-image-score"]
    assert workflow["activeDeadlineSeconds"] == 90000
    assert [each["timeout"] for each in workflow["templates"] if "timeout" in each] == ["90000s"]


@pytest.mark.parametrize(
    "value",
    [
        *("training.size=50", "training.fit=squeeze", "training.network=vgg", "training.mirror=perhaps"),
        *("training.rename={cat}", "training.dropLeaks=some"),
    ],
)
def test_a_size_or_fit_that_there_is_not_is_refused_before_anything_is_installed(value: str) -> None:
    with pytest.raises(AssertionError, match=value.partition("=")[0].replace(".", "[./]")):
        render(*TRIAL, value)


def test_no_secret_is_written_out_where_one_is_named() -> None:
    kinds = {each["kind"] for each in render(*FORMS["own S3 and MLflow"])}
    assert "Secret" not in kinds
    assert "Deployment" not in kinds


def test_jobs_take_a_session_and_encrypt_and_the_download_takes_a_key_of_its_own() -> None:
    objects = render(*FORMS["own S3 and MLflow"])
    accounts = {each["metadata"]["name"]: each for each in objects if each["kind"] == "ServiceAccount"}
    assert accounts["cnn-image-predictor"]["secrets"] == [{"name": "s3-read"}]
    (job,) = (
        each
        for each in objects
        if each["kind"] == "Job" and each["metadata"]["name"].startswith("cnn-image-train-1-")
    )
    (container,) = job["spec"]["template"]["spec"]["containers"]
    env = {each["name"]: each.get("value") or each["valueFrom"] for each in container["env"]}
    assert env["AWS_SESSION_TOKEN"] == {
        "secretKeyRef": {"name": "s3", "key": "AWS_SESSION_TOKEN", "optional": True}
    }
    assert env["CNN_IMAGE_STORE_ENCRYPTION"] == "aws:kms"
    assert env["CNN_IMAGE_STORE_KMS_KEY"] == "arn:aws:kms:eu-central-1:111122223333:key/1"


@pytest.mark.parametrize(
    ("values", "open_to"),
    [
        ((), {"cnn-image-jobs", "cnn-image-predictor"}),
        (("store.predictorSecret=s3-read",), {"cnn-image-jobs"}),
        (("store.secret=s3",), set()),
    ],
    ids=["no Secret", "a Secret for the download", "a Secret"],
)
def test_where_no_secret_is_named_a_policy_lets_pods_ask_for_their_identity(
    values: tuple[str, ...], open_to: set[str]
) -> None:
    objects = render(
        *("store.url=s3://models/cnn-image", "training.data.url=s3://models/c", "networkPolicy.enabled=true"),
        *values,
    )
    found = {
        each["metadata"]["name"]
        for each in objects
        if each["kind"] == "NetworkPolicy"
        for rule in each["spec"]["egress"]
        if {peer["ipBlock"]["cidr"] for peer in rule.get("to", []) if "ipBlock" in peer}
        == {"169.254.169.254/32", "169.254.170.23/32", "fd00:ec2::254/128", "fd00:ec2::23/128"}
        and rule["ports"] == [{"protocol": "TCP", "port": 80}]
    }
    assert found == open_to


@pytest.mark.parametrize(
    ("address", "port"),
    [
        ("https://[2001:db8::15]", 443),
        ("http://[fd00:10::9]:9000", 9000),
        ("http://minio.storage", 80),
        ("https://user:1234@mlflow.example.com", 443),
    ],
)
def test_the_ports_of_policies_are_those_of_the_addresses(address: str, port: int) -> None:
    objects = render(
        *("store.url=s3://models/cnn-image", "training.enabled=false", "networkPolicy.enabled=true"),
        *(f"store.endpoint={address}", f"mlflow.trackingUri={address}"),
    )
    (jobs,) = (
        each["spec"]["egress"]
        for each in objects
        if (each["kind"], each["metadata"]["name"]) == ("NetworkPolicy", "cnn-image-jobs")
    )
    assert jobs.count({"ports": [{"protocol": "TCP", "port": port}]}) == 2  # the S3 and MLflow


def test_the_transformer_reaches_who_takes_its_spans() -> None:
    variable = "serving.transformer.env.OTEL_EXPORTER_OTLP_ENDPOINT=http://collector.monitoring:4318"
    for values, allowed in (((), False), ((variable,), True)):
        objects = render(
            *("store.url=s3://models/cnn-image", "training.enabled=false", "networkPolicy.enabled=true"),
            *values,
        )
        (egress,) = (
            each["spec"]["egress"]
            for each in objects
            if (each["kind"], each["metadata"]["name"]) == ("NetworkPolicy", "cnn-image-transformer")
        )
        assert ({"ports": [{"protocol": "TCP", "port": 4318}]} in egress) == allowed


def test_without_a_secret_the_download_learns_of_the_store_from_the_identity(namespace: Namespace) -> None:
    role = "eks\\.amazonaws\\.com/role-arn"
    objects = render(
        "store.url=s3://models/cnn-image",
        "store.endpoint=http://minio.storage:9000",
        "store.region=eu-central-1",
        f"store.identity.jobs.{role}=arn:write",
        f"store.identity.predictor.{role}=arn:read",
        "training.enabled=false",
    )
    accounts = {each["metadata"]["name"]: each for each in objects if each["kind"] == "ServiceAccount"}
    assert accounts["cnn-image-jobs"]["metadata"]["annotations"] == {
        "eks.amazonaws.com/role-arn": "arn:write"
    }
    predictor = accounts["cnn-image-predictor"]
    predictor["metadata"]["namespace"] = namespace.name
    namespace.kubectl("apply", "-f", "-", stdin=json.dumps(predictor))
    # What KServe's webhook makes of a pod with that account.
    pod = yaml.safe_load(_DOWNLOADING)
    made = namespace.kubectl("create", "--dry-run=server", "-o", "json", "-f", "-", stdin=json.dumps(pod))
    (download,) = json.loads(made)["spec"]["initContainers"]
    env = {each["name"]: each.get("value") for each in download["env"]}
    assert env["AWS_ENDPOINT_URL"] == "http://minio.storage:9000"
    assert env["AWS_DEFAULT_REGION"] == "eu-central-1"


def test_the_rule_for_silence_names_the_release() -> None:
    objects = render(*TRIAL, "monitoring.rules.enabled=true")
    rules = next(each for each in objects if each["kind"] == "PrometheusRule")["spec"]["groups"][0]["rules"]
    down = next(rule for rule in rules if rule.get("alert") == "CnnImageDown")
    pods = 'pod=~"cnn-image-(predictor|transformer)-[^-]+(-[^-]+)?"'
    assert down["expr"].endswith(f'or absent(cnn_image_triton_up{{{pods},namespace="default"}})')


@pytest.mark.parametrize("mode", ["separate", "collocated"])
@pytest.mark.parametrize(("drain", "termination"), [(8, 40), (20, 30)])
def test_what_a_pod_does_before_it_ends_fits_into_its_time(mode: str, drain: int, termination: int) -> None:
    values = (f"serving.drainSeconds={drain}", f"serving.terminationGraceSeconds={termination}")
    objects = render(*TRIAL, *values, f"serving.mode={mode}")
    spec = next(each for each in objects if each["kind"] == "InferenceService")["spec"]
    triton = spec["predictor"]["model"]
    if mode == "separate":
        (transformer,) = spec["transformer"]["containers"]
    else:
        (transformer,) = spec["predictor"]["containers"]
    grace = next(
        int(each["value"]) for each in transformer["env"] if each["name"] == "CNN_IMAGE_GRACE_SECONDS"
    )
    exit_timeout = next(int(each.partition("=")[2]) for each in triton["args"] if "exit-timeout" in each)
    before = [part["lifecycle"]["preStop"]["sleep"]["seconds"] for part in (transformer, triton)]
    # Both leave time for the process to end; the transformer has some for requests once its clients are away.
    assert before[0] + grace < termination
    assert before[1] + exit_timeout < termination
    assert grace > LEAVE_SECONDS
    if mode == "collocated":  # Triton answers until the transformer has sent its last client away
        assert before[1] > before[0] + LEAVE_SECONDS


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
    assert sorted(kinds) == ["CronWorkflow", "WorkflowTemplate", "WorkflowTemplate"]
