"""Values as they come: of every earlier chart (`--reuse-values`), rendered twice, with an image changed."""

import shutil
from pathlib import Path
from typing import Any

import pytest
import yaml
from cluster.kube import CHART, find_program, rendered, run

pytestmark = pytest.mark.cluster

EARLIER = sorted((CHART.parent / "earlier-values").glob("*.yaml"))
EVERYTHING = (
    *("minio.enabled=true", "mlflow.enabled=true", "training.data.volumeClaim=cifar10", "argo.enabled=true"),
    *("networkPolicy.enabled=true", "monitoring.podMonitor.enabled=true", "monitoring.rules.enabled=true"),
    *("monitoring.dashboard.enabled=true", "serving.trainApi.enabled=true"),
    *("serving.trainApi.tokenSecret=token", "store.secret=keys"),
)
FLAGS = [flag for value in EVERYTHING for flag in ("--set", value)]


def names(manifests: str) -> set[tuple[str, str]]:
    """Kind and name of each object."""
    return {(each["kind"], each["metadata"]["name"]) for each in yaml.safe_load_all(manifests) if each}


def jobs(*flags: str) -> dict[str, dict[str, Any]]:
    """The Jobs that are rendered, by component."""
    objects = [each for each in yaml.safe_load_all(rendered(*FLAGS, *flags)) if each]
    return {
        each["metadata"]["labels"]["app.kubernetes.io/component"]: each
        for each in objects
        if each["kind"] == "Job"
    }


@pytest.mark.parametrize("helm", ["helm", "helm4"])
@pytest.mark.parametrize("earlier", EARLIER, ids=lambda file: str(file.stem))
def test_an_upgrade_that_keeps_an_earlier_charts_values(earlier: Path, helm: str, tmp_path: Path) -> None:
    """Helm then has the earlier chart's values in place of this one's: what was added since is not there."""
    chart = tmp_path / "cnn-image"
    shutil.copytree(CHART, chart)
    shutil.copy(earlier, chart / "values.yaml")
    said = run(find_program(helm), "template", "trial", chart, "--kube-version", "1.35", *FLAGS)
    without_hash = {(kind, name.rpartition("-")[0] if kind == "Job" else name) for kind, name in names(said)}
    assert without_hash == {
        (kind, name.rpartition("-")[0] if kind == "Job" else name) for kind, name in names(rendered(*FLAGS))
    }
    assert "<no value>" not in said
    assert "<nil>" not in said


def test_a_value_taken_away_with_null_stays_away() -> None:
    kept = jobs()["training"]["spec"]["template"]["spec"]["containers"][0]["resources"]
    assert kept["limits"]["cpu"] == "4"
    taken = jobs("--set", "training.resources.limits.cpu=null")["training"]
    assert "cpu" not in taken["spec"]["template"]["spec"]["containers"][0]["resources"]["limits"]


def test_a_job_is_named_by_its_content() -> None:
    first = jobs()
    assert set(first) == {"training", "deploy"}
    assert first == jobs(), "the same rendering is the same"
    for change, other in (
        ("image.train.tag=v2", {"training", "deploy"}),
        ("image.transformer.tag=v2", {"deploy"}),
        ("training.epochs=3", {"training"}),
        ("image.pullSecrets={registry}", {"training", "deploy"}),
        ("monitoring.rules.labels.a=b", set()),
    ):
        changed = jobs("--set", change)
        renamed = {
            part for part in first if changed[part]["metadata"]["name"] != first[part]["metadata"]["name"]
        }
        assert renamed == other, change
        same = {part for part in first if changed[part]["spec"] == first[part]["spec"]}
        assert same | renamed == set(first), f"{change}: a Job keeps its name and cannot be changed"


def test_no_job_of_the_rendering_is_removed_by_time() -> None:
    """What keeps a cluster like its rendering would make it again."""
    rendered_jobs = jobs("--set", "store.secret=")
    assert set(rendered_jobs) == {"training", "deploy", "keys"}
    assert [part for part, job in rendered_jobs.items() if "ttlSecondsAfterFinished" in job["spec"]] == []


def test_the_templates_name_no_namespace() -> None:
    objects = [each for each in yaml.safe_load_all(rendered(*FLAGS, namespace="somewhere")) if each]
    (configmap,) = (each for each in objects if each["metadata"]["name"] == "cnn-image-inferenceservice")
    assert len(configmap["data"]) == 2
    for text in configmap["data"].values():
        assert "somewhere" not in text
        assert "namespace" not in yaml.safe_load(text)["metadata"]


def test_the_keys_of_the_trial_minio_are_not_rendered() -> None:
    """They would be others in each rendering, and MinIO would go on with the first."""
    trial = (*FLAGS, "--set", "store.secret=")
    assert rendered(*trial) == rendered(*trial)
    kinds = {kind: name for kind, name in names(rendered(*trial)) if name.startswith("cnn-image-keys")}
    assert set(kinds) == {"Job", "Role", "RoleBinding", "ServiceAccount"}
    assert "cnn-image-keys" not in rendered(*FLAGS)
