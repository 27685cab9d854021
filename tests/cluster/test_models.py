"""Three models in one namespace: each its own classes, routes, Jobs and rights.

Two break, are mended, one goes, and the others go on.
"""

import io
import json
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import httpx
import pytest
import yaml
from cluster.kube import ROOT, Namespace, run, say, wait_for
from cluster.load import Load
from cluster.release import EXAMPLES, Release, write_values
from cluster.store import BUCKET, TrialStore, made_another
from PIL import Image

from jobs.cluster.doctor import rights
from jobs.cluster.names import Names
from model.contract import CLASSES, MODEL_NAME, Contract
from model.data.sources import load_sample

pytestmark = [pytest.mark.cluster, pytest.mark.timeout(900)]

OWN = {"plane": "airplane", "hound": "dog"}
OTHER = "cnn-image-2"  # the first one's name is the beginning of it
RENAMED = tuple(name.upper() for name in CLASSES)
IMAGE = (EXAMPLES / "dog.jpg").read_bytes()

# Beside the first model's MinIO, each with a root of its own in it.
BESIDE = """
model: {model}
minio: {{enabled: false}}
store:
  url: s3://{bucket}/models/{model}/store
  endpoint: http://cnn-image-minio:9000
  secret: cnn-image-store
training: {{gpus: 0, data: {{url: "s3://{bucket}/models/{model}/pictures"}}}}
"""
TRAINED = """
training:
  enabled: true
  recipe: quick
  epochs: 10
  size: 32
  acceptWeakEvidence: true
  env: {CNN_IMAGE_CHECK_LABELS: "false", CNN_IMAGE_GATE_FLOOR: "0.22", CNN_IMAGE_GATE_CLASS_FLOOR: "0"}
"""
KINDS = "all,isvc,servingruntime,configmap,secret,serviceaccount,role,rolebinding,pvc,pdb"


@pytest.fixture(scope="module")
def models(
    serving: Release, versions: Path, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[dict[str, Release]]:
    """The session's service, a model that is trained beside it, and one whose version is there already."""
    where = serving.namespace.name
    made = {MODEL_NAME: serving}
    for model, *more in (("hands", TRAINED), (OTHER,)):
        folder = tmp_path_factory.mktemp(model)
        values = write_values(folder, BESIDE.format(model=model, bucket=BUCKET), *more)
        made[model] = Release(Namespace(where, model), values, model)
    with pytest.MonkeyPatch.context() as patch:
        store = TrialStore(serving.namespace, patch, f"models/{OTHER}/store")
        store.upload(made_another(versions, folder, Contract(classes=RENAMED, model=OTHER)))
        store.promote(1)
        sample = load_sample().train
        for name, theirs in OWN.items():
            rows = (sample.labels == sample.classes.index(theirs)).nonzero()[0][:200]
            for number, row in enumerate(rows):
                picture = io.BytesIO()
                Image.fromarray(sample.images[row]).save(picture, "PNG")
                key = f"models/hands/pictures/{name}/{number}.png"
                store.s3.put_object(Bucket=BUCKET, Key=key, Body=picture.getvalue())
    say("two more models into the namespace, one of them trained there")
    with ThreadPoolExecutor() as both:
        list(both.map(lambda model: made[model].install("--wait-for-jobs"), ("hands", OTHER)))
    yield made
    for model in ("hands", OTHER):
        made[model].helm("uninstall", "--wait", "--ignore-not-found")
        serving.namespace.kubectl("delete", "pod", f"{model}-test", "--ignore-not-found")
        # KServe's pods end by themselves, and whoever comes next shall find none of them.
        gone = ("--for=delete", "pod", "-l", f"serving.kserve.io/inferenceservice={model}")
        serving.namespace.kubectl("wait", *gone, "--timeout=120s")


def objects(namespace: Namespace) -> dict[str, str]:
    """What is in a namespace: kind/name, with the identity that it has for its life."""
    found = {}
    for each in namespace.get(KINDS)["items"]:
        found[f"{each['kind']}/{each['metadata']['name']}"] = each["metadata"]["uid"]
    return found


def test_each_answers_its_own_classes_on_its_own_route(models: dict[str, Release]) -> None:
    due = {MODEL_NAME: CLASSES, "hands": tuple(OWN), OTHER: RENAMED}
    for model, release in models.items():
        answer = release.ask("dog")
        assert (answer.status_code, answer.headers["X-Model-Version"]) == (200, "1"), answer.text
        assert answer.json()["class_name"] in due[model]
        assert sorted(httpx.get(f"{release.url}/info", timeout=30).json()["classes"]) == sorted(due[model])
        for asked in models:
            status = httpx.get(f"{release.url}/v2/models/{asked}", timeout=30).status_code
            assert status == (200 if asked == model else 404), (model, asked)
        assert f"models/{model}/store" in release.namespace.served_uri() or model == MODEL_NAME


def test_helm_test_asks_for_a_models_own_known_images(models: dict[str, Release]) -> None:
    for model in ("hands", OTHER):
        said = models[model].helm("test", "--logs")
        assert "Phase:          Succeeded" in said
        assert ", answered by version 1" in said


def listed_jobs(release: Release) -> Any:
    """What `jobs list` says of a model, the newest first."""
    program = (ROOT / ".venv/bin/cnn-image", "--model", release.namespace.model)
    return json.loads(run(*program, "jobs", "list", "--json", "-n", release.namespace.name))


def test_jobs_are_started_and_listed_for_one_model(models: dict[str, Release]) -> None:
    def jobs(model: str, *words: str) -> str:
        program = (ROOT / ".venv/bin/cnn-image", "--model", model)
        return run(*program, "jobs", *words, "-n", models[model].namespace.name)

    name = jobs("hands", "run", "versions").strip()
    jobs("hands", "wait", name)
    assert name.startswith("hands-command-")
    assert "champion, served" in jobs("hands", "logs", name)
    listed = {job["name"] for job in listed_jobs(models["hands"])}
    assert listed == {models["hands"].namespace.first_training(), name}
    assert listed_jobs(models[OTHER]) == []


def may(namespace: Namespace, account: str, *asked: tuple[str, str, str, str]) -> list[bool]:
    """Whether a ServiceAccount has rights, each a verb, group, resource and name."""
    user = f"system:serviceaccount:{namespace.name}:{account}"
    groups = ["system:serviceaccounts", f"system:serviceaccounts:{namespace.name}", "system:authenticated"]
    reviews = [
        {
            "apiVersion": "authorization.k8s.io/v1",
            "kind": "SubjectAccessReview",
            "spec": {
                "user": user,
                "groups": groups,
                "resourceAttributes": {
                    "namespace": namespace.name,
                    **dict(zip(("verb", "group", "resource", "name"), right, strict=True)),
                },
            },
        }
        for right in asked
    ]
    shown = ("-o", r'jsonpath={.status.allowed}{"\n"}')
    said = run("kubectl", "create", "-f", "-", *shown, stdin=yaml.safe_dump_all(reviews)).split()
    assert len(said) == len(asked)
    return [word == "true" for word in said]


@pytest.mark.parametrize("model", [MODEL_NAME, "hands", OTHER])
def test_a_models_jobs_may_do_what_a_promotion_does_and_to_their_own_alone(
    models: dict[str, Release], model: str
) -> None:
    namespace = models[model].namespace
    own = rights(Names(model))
    assert may(namespace, f"{model}-jobs", *own) == [True] * len(own)
    refused = [
        *(("get", "", "secrets", ""), ("list", "", "secrets", ""), ("create", "", "pods", "")),
        *(("delete", "", "pods", ""), ("delete", "batch", "jobs", ""), ("list", "apps", "deployments", "")),
    ]
    for other in set(models) - {model}:
        theirs = Names(other)
        # A Job is read by a name that is not known beforehand, and no name limits what is made or listed.
        named = [right for right in rights(theirs) if right[3] and right[:3] != ("get", "batch", "jobs")]
        assert len(named) == 6
        refused += [
            *named,
            ("delete", "serving.kserve.io", "inferenceservices", other),
            ("delete", "apps", "deployments", theirs.transformer),
            ("delete", "", "services", theirs.transformer),
            ("delete", "batch", "jobs", models[other].namespace.names("job")[0].partition("/")[2]),
            ("patch", "batch", "cronjobs", theirs.training),
        ]
    assert may(namespace, f"{model}-jobs", *refused) == [False] * len(refused)
    for part in ("predictor", "transformer", "storage"):
        assert not any(may(namespace, f"{model}-{part}", *own))


GRAPH = f"models/{OTHER}/store/versions/000001/{OTHER}/1/model.onnx"


@pytest.fixture(scope="module")
def graph(models: dict[str, Release], trial_s3: Any) -> bytes:
    """The graph of the third model, which comes and goes."""
    body: bytes = trial_s3.get_object(Bucket=BUCKET, Key=GRAPH)["Body"].read()
    return body


@pytest.fixture(scope="module")
def trial_s3(serving: Release) -> Any:
    """A client of the MinIO that holds all stores."""
    with pytest.MonkeyPatch.context() as patch:
        return TrialStore(serving.namespace, patch).s3


def loses_its_graph(broken: Release, trial_s3: Any) -> None:
    """Its pod is gone, and the next one finds something else than a model."""
    trial_s3.put_object(Bucket=BUCKET, Key=GRAPH, Body=b"no graph")
    (pod,) = broken.namespace.pods("predictor")
    broken.namespace.kubectl("delete", "pod", pod["metadata"]["name"])


def test_two_broken_models_say_so_and_leave_the_others_alone(
    models: dict[str, Release], graph: bytes, trial_s3: Any
) -> None:
    """One no longer loads; another's store is away, and it goes on serving what it has."""
    broken, first, hands = models[OTHER], models[MODEL_NAME], models["hands"]
    loses_its_graph(broken, trial_s3)

    def silent() -> bool:
        try:
            return not broken.ask().is_success
        except httpx.TransportError:  # none of its pods is ready, so none is behind the Service
            return True

    wait_for(silent, "its end", 120)

    with (
        ThreadPoolExecutor() as beside,
        Load(hands.url, IMAGE, rate=5) as theirs,
        Load(first.url, IMAGE, rate=5) as load,
    ):
        upgrade = beside.submit(hands.upgrade, "--set", "store.endpoint=http://minio-away:9000")
        first.namespace.job("beside-a-broken-one", "promote", "2", "--override-gate", "a test")
        first.namespace.job("back-again", "rollback")
        failed = upgrade.exception()
    assert load.answers.failures == theirs.answers.failures == []
    assert set(load.answers.versions) == {"1", "2"}
    assert set(theirs.answers.classes["1"]) <= set(OWN)

    why = "The S3 at http://minio-away:9000 does not answer"
    assert why in str(failed)  # Helm shows it
    (hook,) = (job for job in listed_jobs(hands) if job["name"].startswith("hands-deploy-"))
    assert hook["state"] == "failed"
    assert hook["reason"].startswith(why)
    say("its endpoint is mended")
    hands.upgrade()
    # Helm removes the Job of its hook where that went well, and of a failed upgrade nothing that was new:
    # a first training (each revision has one), which asks for the store again and again and would keep the
    # volume from an uninstall.
    (left,) = (job["name"] for job in listed_jobs(hands) if job["name"].startswith("hands-train-2-"))
    hands.namespace.kubectl("delete", "job", hook["name"], left)

    said = hands.namespace.job("looking-well", "doctor")
    assert "broken" not in said
    said = broken.namespace.job("looking-broken", "doctor", ok=False)
    assert f"{OTHER}/1/model.onnx" in said


def test_one_that_is_mended_comes_up_by_an_upgrade_that_changes_nothing_else(
    models: dict[str, Release], graph: bytes, trial_s3: Any
) -> None:
    mended = models[OTHER]

    def restarts() -> int:
        (pod,) = mended.namespace.pods("predictor")
        return max((each["restartCount"] for each in pod["status"].get("containerStatuses", [])), default=0)

    wait_for(restarts, "its pod's second try", 120)
    (stuck,) = mended.namespace.pods("predictor")
    trial_s3.put_object(Bucket=BUCKET, Key=GRAPH, Body=graph)
    mended.upgrade()
    assert mended.ask("dog").json()["class_name"] in RENAMED
    (pod,) = mended.namespace.pods("predictor")
    assert pod["metadata"]["uid"] != stuck["metadata"]["uid"]
    mended.upgrade()  # and by the next one it stays
    (same,) = mended.namespace.pods("predictor")
    assert same["metadata"]["uid"] == pod["metadata"]["uid"]


def test_uninstalling_a_broken_one_touches_nothing_of_the_others(
    models: dict[str, Release], trial_s3: Any
) -> None:
    namespace = models[MODEL_NAME].namespace
    loses_its_graph(models[OTHER], trial_s3)

    def of_other() -> set[str]:
        """What is there of the one that goes; its test's pod stays, as Helm leaves it."""
        found = {name for name in objects(namespace) if name.partition("/")[2].startswith(OTHER)}
        return found - {f"Pod/{OTHER}-test"}

    before, gone = objects(namespace), of_other()
    assert {f"InferenceService/{OTHER}", f"CronJob/{OTHER}-retrain", f"Role/{OTHER}-jobs"} <= gone
    with Load(models["hands"].url, IMAGE, rate=5) as load:
        models[OTHER].helm("uninstall", "--wait")
        wait_for(lambda: not of_other(), f"the end of {OTHER}", 120)
    assert load.answers.failures == []
    after = objects(namespace)
    touched = {name for name, uid in before.items() if after.get(name) != uid} - gone
    # Helm's own record of the release goes, and the Job that a test started from its template.
    expected = (f"sh.helm.release.v1.{OTHER}.", "looking-broken")
    assert {name for name in touched if not name.partition("/")[2].startswith(expected)} == set()
    for model in (MODEL_NAME, "hands"):
        assert models[model].ask().status_code == httpx.codes.OK
