"""A release of an earlier chart becomes one of this chart, and goes back, while clients ask.

The earlier chart is `git archive f88676d charts/cnn-image`. Its Jobs and transformers run the images at hand
unless EARLIER_TAG names those of its own time, which `images/build` of that commit makes.
"""

import os
import tarfile
from collections.abc import Callable
from pathlib import Path

import pytest
from cluster.kube import Namespace, run, say, wait_for
from cluster.load import Answers, Load
from cluster.release import EXAMPLES, TWO, Release, write_values
from cluster.store import TrialStore
from machine import beside

pytestmark = [pytest.mark.cluster, pytest.mark.timeout(900)]

EARLIER = "f88676d"
IMAGE = (EXAMPLES / "dog.jpg").read_bytes()
KINDS = (
    "deployment,service,cronjob,isvc,servingruntime,configmap,secret,serviceaccount,role,rolebinding,pvc,pdb"
)
NOT_THEN = ("requireGpu", "int8", "scoring")
"""What the values of today's tests have and that chart refuses."""


@pytest.fixture(scope="module")
def chart(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The chart of that commit."""
    folder = tmp_path_factory.mktemp("earlier")
    with tarfile.open(Path(__file__).with_name(f"chart-{EARLIER}.tar.gz")) as tar:
        tar.extractall(folder, filter="data")
    return folder / "charts" / "cnn-image"


@pytest.fixture(scope="module")
def release(namespace: Namespace, chart: Path, tmp_path_factory: pytest.TempPathFactory) -> Release:
    """That chart, installed as `trial` with MinIO and a store of its time; two pods of each component.

    Version 2 of the store is served; all its versions are of layout 1, the only one that was known then.
    """
    with tarfile.open(beside("data/store-layout1.tar.xz")) as archive:
        archive.extractall(store_of_then := tmp_path_factory.mktemp("then"), filter="data")
    files = write_values(tmp_path_factory.mktemp("values"), TWO)
    for file in files:
        file.write_text("".join(line for line in file.open() if not any(word in line for word in NOT_THEN)))
    installed = Release(namespace, files)
    tag = os.environ.get("EARLIER_TAG")
    say(f"the chart of {EARLIER}{f' with images of {tag}' if tag else ''}")
    installed.install(*(("--set", f"image.tag={tag}") if tag else ()), chart=chart)
    with pytest.MonkeyPatch.context() as patch:
        TrialStore(namespace, patch).upload(store_of_then / "store")
    say("deploying version 2")
    namespace.job("first", "deploy")
    return installed


def there(namespace: Namespace) -> dict[str, str]:
    """Kind and name of all that lasts, with its identity: an object that was made anew has another."""
    return {
        f"{each['kind']}/{each['metadata']['name']}": each["metadata"]["uid"]
        for each in namespace.get(KINDS)["items"]
    }


def under_load(release: Release, act: Callable[[], object]) -> Answers:
    """What clients were told while something was done, and for some time after."""
    with Load(release.url, IMAGE) as load:
        wait_for(lambda: load.answers.statuses["200"] > 20, "the first answers", 60)
        act()
        reached = sum(load.answers.statuses.values()) + 60
        wait_for(lambda: sum(load.answers.statuses.values()) > reached, "some more answers", 60)
    say(f"{dict(load.answers.statuses)} from versions {dict(load.answers.versions)}")
    return load.answers


def test_an_upgrade_renames_nothing_and_fails_no_request(release: Release) -> None:
    namespace, before = release.namespace, there(release.namespace)
    assert {"InferenceService/cnn-image", "PersistentVolumeClaim/cnn-image-minio"} <= set(before)
    answers = under_load(release, release.upgrade)
    assert answers.failures == []
    assert set(answers.versions) == {"2"}
    after = there(namespace)
    assert {name: after.get(name) for name in before} == before
    assert namespace.served_uri().endswith("/versions/000002")
    assert "is served" in namespace.job("deploy-now", "deploy")
    said = release.helm("test", "--logs")
    assert "Phase:          Succeeded" in said


def test_another_version_of_then_takes_over(release: Release) -> None:
    namespace = release.namespace
    assert "A rollback to version 4 would work" in namespace.job("trying", "drill")
    answers = under_load(release, lambda: namespace.job("to-four", "rollback", "4"))
    assert answers.failures == []
    assert set(answers.versions) == {"2", "4"}


def test_the_way_back_renames_nothing_and_fails_no_request(release: Release) -> None:
    namespace, before = release.namespace, there(release.namespace)

    def back() -> None:
        release.helm("rollback", "1", "--wait", "--timeout=10m")

    answers = under_load(release, back)
    assert answers.failures == []
    assert set(answers.versions) == {"4"}
    after = there(namespace)
    # The keys of the trial MinIO were rendered then, and stay what they are; no bucket was scored then.
    gone = {name for name in before if "cnn-image-keys" in name or name.endswith("/cnn-image-score")}
    assert {name: after.get(name) for name in before if name not in gone} == {
        name: uid for name, uid in before.items() if name not in gone
    }
    assert namespace.served_uri().endswith("/versions/000004")
    assert run("helm", "-n", namespace.name, "list", "-q").strip() == "trial"
