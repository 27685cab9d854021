"""One `helm install` from nothing to a served prediction, and what an operator does with it afterwards."""

import json
import re
import time

import httpx
import pytest
from cluster.kube import CHART, ROOT, Namespace, find_program, run, say, wait_for
from cluster.load import Load
from cluster.release import EXAMPLES, ON_SAMPLE, Release, write_values
from cluster.volumes import discard, seed_data

pytestmark = [pytest.mark.cluster, pytest.mark.timeout(1500)]

# Four epochs on the sample name every other image rightly, and the example of an airplane clearly.
VALUES = """
mlflow: {enabled: true}
training: {enabled: true, epochs: 4}
"""


@pytest.fixture(scope="module")
def release(namespace: Namespace, tmp_path_factory: pytest.TempPathFactory) -> Release:
    """`helm install --wait --wait-for-jobs` into a namespace that holds a volume with data."""
    seed_data(namespace)
    installed = Release(namespace, write_values(tmp_path_factory.mktemp("helm"), ON_SAMPLE, VALUES))
    say("helm install --wait --wait-for-jobs")
    begun = time.monotonic()
    installed.install("--wait-for-jobs")
    say(f"installed in {time.monotonic() - begun:.0f} s")
    return installed


def test_from_nothing_to_a_prediction(release: Release) -> None:
    answer = release.ask("airplane")
    assert answer.status_code == 200, answer.text
    assert answer.headers["X-Model-Version"] == "1"
    assert answer.json()["class_name"] == "airplane", answer.text
    assert release.namespace.served_uri().endswith("/versions/000001")


def test_a_browser_gets_the_page_with_all_its_files(release: Release) -> None:
    page = httpx.get(release.url, headers={"accept": "text/html"}, timeout=30)
    assert page.text.startswith("<!doctype html>")
    for link in re.findall('(?:src|href)="([^"]+)"', page.text):
        file = httpx.get(f"{release.url}/{link}", timeout=30)
        assert (file.status_code, "immutable" in file.headers["cache-control"]) == (200, True), link
    assert len(httpx.get(f"{release.url}/page/x/examples/list.json", timeout=30).json()) == 5
    assert httpx.get(release.url, timeout=30).json() == {"status": "alive"}


@pytest.mark.parametrize("command", ["helm test --logs", "helm4 test --logs"])
def test_helm_test_asserts_class_and_version(release: Release, command: str) -> None:
    # Helm shows the test's own words on its standard error, and with --logs once more.
    find_program(command.split(maxsplit=1)[0])
    said = run("sh", "-c", f"{command} -n {release.namespace.name} trial 2>&1", seconds=300)
    assert "Phase:          Succeeded" in said
    # The answers that are due come from the version's own graph, run beside the service.
    assert said.count(", answered by version 1") == 2 * len(list(EXAMPLES.glob("*.jpg")))
    assert f"dog.jpg: {release.ask('dog').json()['class_name']}, answered by version 1" in said


def test_the_outcome_is_where_describe_shows_it(release: Release) -> None:
    described = release.namespace.kubectl(
        "describe", "pods", "-l", f"job-name={release.namespace.first_training()}"
    )
    assert '"version": 1' in described
    assert '"val_accuracy"' in described


def test_progress_is_readable_in_the_log(release: Release) -> None:
    log = release.namespace.kubectl("logs", f"job/{release.namespace.first_training()}")
    assert "epoch 4/4" in log, log[-2000:]


def test_an_upgrade_reaches_the_service_and_leaves_the_model(release: Release) -> None:
    image = (EXAMPLES / "cat.jpg").read_bytes()
    with Load(release.url, image) as load:
        release.upgrade("--set", "serving.transformer.env.CNN_IMAGE_MAX_IMAGES=17")
    transformer = release.namespace.get("deployment", "cnn-image-transformer")
    env = transformer["spec"]["template"]["spec"]["containers"][0]["env"]
    assert {"name": "CNN_IMAGE_MAX_IMAGES", "value": "17"} in env
    assert release.namespace.served_uri().endswith("/versions/000001")
    assert load.answers.failures == []
    assert load.answers.statuses["200"] > 100


def test_an_upgrade_without_a_change_restarts_nothing(release: Release) -> None:
    before = {
        pod["metadata"]["uid"]
        for part in ("predictor", "transformer")
        for pod in release.namespace.pods(part)
    }
    release.upgrade("--set", "serving.transformer.env.CNN_IMAGE_MAX_IMAGES=17")
    after = {
        pod["metadata"]["uid"]
        for part in ("predictor", "transformer")
        for pod in release.namespace.pods(part)
    }
    assert after == before


def test_an_evicted_training_goes_on(release: Release) -> None:
    namespace = release.namespace
    # Enough epochs for the training not to end before the eviction comes.
    namespace.create_job("second", "retrain", "--no-promote", "--epochs=10", "--seed=1")
    wait_for(lambda: "epoch 1/10" in namespace.kubectl("logs", "job/second", check=False), "an epoch", 300)
    pod = namespace.get("pods", "-l", "job-name=second")["items"][0]["metadata"]["name"]
    eviction = {"apiVersion": "policy/v1", "kind": "Eviction", "metadata": {"name": pod}}
    path = f"/api/v1/namespaces/{namespace.name}/pods/{pod}/eviction"
    run("kubectl", "create", "--raw", path, "-f", "-", stdin=json.dumps(eviction))
    assert wait_for(lambda: namespace.job_end("second"), "the end of the training", 600) == "Complete"
    assert re.search("goes on with epoch ([2-9]|10)", namespace.kubectl("logs", "job/second"))
    # No retry was left: an eviction takes none.
    assert namespace.get("job", "second")["status"].get("failed", 0) == 0


def test_jobs_promote_without_a_failed_request(release: Release) -> None:
    namespace = release.namespace
    image = (EXAMPLES / "dog.jpg").read_bytes()
    with Load(release.url, image) as load:
        namespace.job("promote-2", "promote", "2", "--override-gate", "a test of promotion")
    assert namespace.served_uri().endswith("/versions/000002")
    assert load.answers.failures == []
    assert set(load.answers.versions) == {"1", "2"}
    # Every version gave one answer to one image.
    assert {version: len(classes) for version, classes in load.answers.classes.items()} == {"1": 1, "2": 1}
    listed = json.loads(run(ROOT / ".venv/bin/cnn-image", "jobs", "list", "--json", "-n", namespace.name))
    assert {"second", "promote-2"} <= {job["name"] for job in listed}


def test_rolling_the_release_back_leaves_the_model(release: Release) -> None:
    run(
        "helm", "-n", release.namespace.name, "rollback", "trial", "1", "--wait", "--timeout=10m", seconds=700
    )
    assert release.namespace.served_uri().endswith("/versions/000002")
    assert release.ask("dog").headers["X-Model-Version"] == "2"
    env = release.namespace.get("deployment", "cnn-image-transformer")["spec"]["template"]["spec"][
        "containers"
    ][0]["env"]
    assert "CNN_IMAGE_MAX_IMAGES" not in {variable["name"] for variable in env}


def test_helm_4_upgrades_and_leaves_the_model(release: Release) -> None:
    release.upgrade("--set", "serving.transformer.env.CNN_IMAGE_MAX_IMAGES=18", program="helm4")
    assert release.namespace.served_uri().endswith("/versions/000002")
    assert release.ask("dog").headers["X-Model-Version"] == "2"


def test_passwords_survive_upgrades(release: Release) -> None:
    def password() -> str:
        return str(release.namespace.get("secret", "cnn-image-store")["data"]["AWS_SECRET_ACCESS_KEY"])

    before = password()
    release.upgrade()
    assert password() == before


def test_a_rollback_of_the_model(release: Release) -> None:
    release.namespace.job("back", "rollback")
    assert release.namespace.served_uri().endswith("/versions/000001")
    assert release.ask("airplane").headers["X-Model-Version"] == "1"


def test_an_edit_by_hand_is_refused_and_taken_back_only_when_asked(release: Release) -> None:
    namespace = release.namespace
    patch = '{"spec": {"predictor": {"minReplicas": 2, "maxReplicas": 2}}}'
    namespace.kubectl("patch", "isvc", "cnn-image", "--type=merge", "-p", patch, "--field-manager=somebody")
    said = namespace.job("refused", "deploy", ok=False)
    assert "edited by hand" in said
    assert "somebody" in said
    namespace.job("forced", "deploy", "--force")
    assert namespace.get("isvc", "cnn-image")["spec"]["predictor"]["minReplicas"] == 1


@pytest.mark.parametrize(
    ("variable", "value", "sentence"),
    [
        ("AWS_ACCESS_KEY_ID", "nobody", "check AWS_ACCESS_KEY_ID"),
        ("AWS_SECRET_ACCESS_KEY", "wrong", "check AWS_SECRET_ACCESS_KEY"),
        ("CNN_IMAGE_STORE", "s3://no-such-bucket/store", "There is no bucket for s3://no-such-bucket/store"),
        ("CIFAR10_DIR", "/data/elsewhere", "/data/elsewhere"),
        ("CNN_IMAGE_REQUIRE_GPU", "true", "This run asked for a GPU and TensorFlow finds none"),
    ],
)
def test_a_mistake_is_said_in_a_sentence_and_not_tried_again(
    release: Release, variable: str, value: str, sentence: str
) -> None:
    namespace, name = release.namespace, f"wrong-{variable.lower().replace('_', '-')}"
    namespace.create_job(name, "retrain", env={variable: value}, retries=2)
    assert wait_for(lambda: namespace.job_end(name), f"the end of {name}", 120) == "Failed"
    pods = namespace.get("pods", "-l", f"job-name={name}")["items"]
    assert len(pods) == 1
    ended = pods[0]["status"]["containerStatuses"][0]["state"]["terminated"]
    assert ended["exitCode"] == 2
    assert sentence in ended["message"]


@pytest.mark.parametrize("helm", ["helm", "helm4"])
def test_an_install_whose_training_fails_ends_at_once(release: Release, helm: str) -> None:
    find_program(helm)
    namespace = Namespace(f"{release.namespace.name}-{helm}")
    run("kubectl", "create", "namespace", namespace.name)
    try:
        keys = ("--from-literal=AWS_ACCESS_KEY_ID=nobody", "--from-literal=AWS_SECRET_ACCESS_KEY=wrong")
        namespace.kubectl("create", "secret", "generic", "s3", *keys)
        values = (
            "store.url=s3://cnn-image/store,store.secret=s3,training.gpus=0,"
            f"store.endpoint=http://cnn-image-minio.{release.namespace.name}:9000,"
            "training.data.url=s3://cnn-image/data,training.resources.requests.cpu=100m"
        )
        install = f"{helm} -n {namespace.name} install trial {CHART} --set {values} --wait --wait-for-jobs"
        said = run("sh", "-c", f"{install} --timeout=10m 2>&1", seconds=700, check=False)
        assert "Job" in said or "job" in said, said
        assert "deadline" not in said, said
        assert "timed out" not in said, said
        described = namespace.kubectl("describe", "pods", "-l", f"job-name={namespace.first_training()}")
        assert "check AWS_ACCESS_KEY_ID" in described
    finally:
        discard(namespace)


def test_uninstalling_leaves_what_is_kept_on_purpose(release: Release) -> None:
    namespace = release.namespace
    release.helm("uninstall", "--wait")
    kinds = "all,isvc,servingruntime,configmap,secret,serviceaccount,role,rolebinding,pvc,pdb,networkpolicy"

    def left() -> set[str]:
        ours = {"configmap/kube-root-ca.crt", "serviceaccount/default", "persistentvolumeclaim/cifar10"}
        return set(namespace.names(kinds)) - ours

    # The volumes, and the last test's pod, as Helm leaves it.
    claims = ("persistentvolumeclaim/cnn-image-minio", "persistentvolumeclaim/cnn-image-mlflow")
    kept = {*claims, "pod/cnn-image-test"}
    wait_for(lambda: left() == kept, f"only {kept} being left (now: {left()})", 120)
