"""The retraining workflow: Argo's tools take its manifests, and its steps do their work as pods."""

from pathlib import Path
from typing import Any

import pytest
import yaml
from cluster.argo import Workflow, seconds
from cluster.kube import CHART, ROOT, Namespace, run, say
from cluster.release import SMALL, Release
from cluster.volumes import seed_data

pytestmark = [pytest.mark.cluster, pytest.mark.timeout(1200)]

# The sample in place of CIFAR-10, two epochs and a floor that they reach; a commit, which a dirty tree lacks.
VALUES = """
training:
  data: {volumeClaim: cifar10, path: cifar10.tar.xz}
  recipe: quick
  epochs: 2
  env: {CNN_IMAGE_GATE_FLOOR: "0.22", CNN_IMAGE_GATE_CLASS_FLOOR: "0", CNN_IMAGE_COMMIT: "a-test"}
"""
SAMPLE = ROOT / "model" / "sample" / "cifar10-sample.zip"


def rendered(namespace: str, *values: Path) -> dict[str, dict[str, Any]]:
    """Argo's objects by kind."""
    flags = [flag for file in values for flag in ("-f", str(file))]
    text = run(
        *("helm", "template", "trial", CHART, "-n", namespace, "--kube-version", "1.35", *flags),
        *("--set", "argo.enabled=true", "--show-only", "templates/argo.yaml"),
    )
    return {each["kind"]: each for each in yaml.safe_load_all(text) if each}


@pytest.fixture(scope="module")
def values(tmp_path_factory: pytest.TempPathFactory) -> list[Path]:
    """The values files."""
    folder = tmp_path_factory.mktemp("argo")
    for name, text in (("small", SMALL), ("training", VALUES)):
        (folder / name).write_text(text)
    return [folder / "small", folder / "training"]


@pytest.fixture(scope="module")
def release(namespace: Namespace, values: list[Path]) -> Release:
    """The chart with its MinIO, and nothing promoted; without the kinds of Argo, which this cluster lacks."""
    seed_data(namespace, archive=SAMPLE)
    installed = Release(namespace, values)
    installed.install()
    return installed


def test_hera_loads_them_and_loses_nothing(values: list[Path]) -> None:
    from hera.workflows import CronWorkflow, WorkflowTemplate

    objects = rendered("default", *values)
    for kind in (WorkflowTemplate, CronWorkflow):
        body = objects[kind.__name__]
        assert kind.from_dict(body).to_dict() == body


def test_the_lease_outlasts_the_steps_and_may_be_held_on_another_node(values: list[Path]) -> None:
    spec = rendered("default", *values)["WorkflowTemplate"]["spec"]
    hold = next(each for each in spec["templates"] if each["name"] == "hold")
    assert seconds(hold["timeout"]) >= spec["activeDeadlineSeconds"]
    claims = {each["metadata"]["name"] for each in spec["volumeClaimTemplates"]}
    assert not claims & {each["name"] for each in hold["container"]["volumeMounts"]}


def test_only_training_takes_a_gpu(values: list[Path]) -> None:
    templates = rendered("default", *values)["WorkflowTemplate"]["spec"]["templates"]
    limits = {
        each["name"]: each["container"]["resources"]["limits"] for each in templates if "container" in each
    }
    assert [name for name, limit in limits.items() if "nvidia.com/gpu" in limit] == ["train"]


def test_every_step_as_a_pod(release: Release, values: list[Path]) -> None:
    namespace = release.namespace
    template = rendered(namespace.name, *values)["WorkflowTemplate"]
    workflow = Workflow(namespace, template, "nightly")
    logs: dict[str, str] = {}
    for name, task in workflow.tasks.items():
        assert name != "train" or not workflow.skips(task)
        logs[name] = workflow.run(task)
        if name == "hold":
            # However it was started, another retrain or a pruning is kept away while the workflow runs.
            assert "has held 'retrain'" in workflow.command("other", "prune", "--keep=9", code=4)
    assert list(logs) == [
        "hold",
        "data",
        "train",
        "export",
        "publish",
        "judge",
        "preflight",
        "promote",
        "verify",
    ]

    assert workflow.values["tasks.train.outputs.parameters.run"] == "nightly"
    outputs = workflow.outputs()
    assert outputs["version"] == "1"
    assert "val_accuracy 0." in outputs["metrics"]
    assert "2/2" in logs["train"]
    assert workflow.values["tasks.judge.outputs.parameters.verdict"] == "passed"
    assert "as the first version" in logs["judge"]
    assert workflow.values["tasks.promote.outputs.parameters.entry"] == "1"
    assert namespace.served_uri().endswith("/versions/000001")
    answer = release.ask("dog")
    assert answer.headers["X-Model-Version"] == "1"
    # The examples, asked through the live service, are answered as the version's own graph does.
    assert f"dog.jpg: {answer.json()['class_name']}, answered by version 1" in logs["verify"]

    report = workflow.end(status="Succeeded", duration="12.5", failures="[]")
    assert "nightly: Succeeded after 12.5 s" in report
    assert "Removed nothing." in workflow.command("later", "prune", "--keep=9", code=0)  # the lease is free
    say(workflow.command("history", "history", code=0).strip())

    # Once more: by hand it would be trained again, on the schedule there is nothing to do.
    again = Workflow(namespace, template, "again")
    assert "Version 1 was made of it" in again.run(again.tasks["data"])
    assert not again.skips(again.tasks["train"])
    schedule = rendered(namespace.name, *values)["CronWorkflow"]["spec"]["workflowSpec"]
    (given,) = schedule["arguments"]["parameters"]
    again.values[f"workflow.parameters.{given['name']}"] = given["value"]
    assert again.skips(again.tasks["train"])
    assert again.tasks["export"]["depends"] == "train.Succeeded"


def test_a_step_that_is_refused_ends_with_the_code_that_argo_does_not_try_again(release: Release) -> None:
    template = rendered(release.namespace.name, *release.values)["WorkflowTemplate"]
    steps = [
        each for each in template["spec"]["templates"] if "container" in each and each["name"] != "report"
    ]
    assert {step["retryStrategy"]["expression"] for step in steps} == {
        "!(asInt(lastRetry.exitCode) in [2, 3, 4, 5])"
    }
    workflow = Workflow(release.namespace, template, "refused")
    workflow.values["tasks.publish.outputs.parameters.version"] = "7"
    assert "no version 7" in workflow.run(workflow.tasks["preflight"], code=2)
