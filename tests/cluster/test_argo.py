"""The retraining workflow: Argo's tools take its manifests, and its steps do their work as pods."""

from pathlib import Path
from typing import Any

import pytest
import yaml
from cluster.argo import Workflow, seconds
from cluster.kube import Namespace, rendered, say
from cluster.release import ON_SAMPLE, Release, write_values
from cluster.volumes import seed_data

pytestmark = [pytest.mark.cluster, pytest.mark.timeout(1200)]

# As by default with the int8 twin, for which two epochs are too few. A commit, which a dirty tree lacks.
VALUES = 'training: {epochs: 8, int8: true, env: {CNN_IMAGE_COMMIT: "a-test"}}'


def objects(namespace: str, *values: Path) -> dict[str, dict[str, Any]]:
    """Argo's objects by kind."""
    flags = [flag for file in values for flag in ("-f", str(file))]
    argo = ("--set", "argo.enabled=true", "--show-only", "templates/argo.yaml")
    text = rendered(*flags, *argo, namespace=namespace)
    return {each["kind"]: each for each in yaml.safe_load_all(text) if each}


@pytest.fixture(scope="module")
def values(tmp_path_factory: pytest.TempPathFactory) -> list[Path]:
    """The values files."""
    return write_values(tmp_path_factory.mktemp("argo"), ON_SAMPLE, VALUES)


@pytest.fixture(scope="module")
def release(namespace: Namespace, values: list[Path]) -> Release:
    """The chart with its MinIO, and nothing promoted; without the kinds of Argo, which this cluster lacks."""
    seed_data(namespace)
    installed = Release(namespace, values)
    installed.install()
    return installed


def test_hera_loads_them_and_loses_nothing(values: list[Path]) -> None:
    from hera.workflows import CronWorkflow, WorkflowTemplate

    made = objects("default", *values)
    for kind in (WorkflowTemplate, CronWorkflow):
        body = made[kind.__name__]
        assert kind.from_dict(body).to_dict() == body


def test_the_lease_outlasts_the_steps_and_may_be_held_on_another_node(values: list[Path]) -> None:
    spec = objects("default", *values)["WorkflowTemplate"]["spec"]
    hold = next(each for each in spec["templates"] if each["name"] == "hold")
    assert seconds(hold["timeout"]) >= spec["activeDeadlineSeconds"]
    claims = {each["metadata"]["name"] for each in spec["volumeClaimTemplates"]}
    assert not claims & {each["name"] for each in hold["container"]["volumeMounts"]}


def test_only_training_takes_a_gpu(values: list[Path]) -> None:
    templates = objects("default", *values)["WorkflowTemplate"]["spec"]["templates"]
    limits = {
        each["name"]: each["container"]["resources"]["limits"] for each in templates if "container" in each
    }
    assert [name for name, limit in limits.items() if "nvidia.com/gpu" in limit] == ["train"]


def test_every_step_as_a_pod(release: Release, values: list[Path]) -> None:
    namespace = release.namespace
    template = objects(namespace.name, *values)["WorkflowTemplate"]
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
    assert outputs["version"] == "2"
    assert "Quantizing version 1" in logs["publish"]
    assert "val_accuracy 0." in outputs["metrics"]
    assert "8/8" in logs["train"]
    assert workflow.values["tasks.judge.outputs.parameters.verdict"] == "passed"
    assert "as the first version" in logs["judge"]
    assert workflow.values["tasks.promote.outputs.parameters.entry"] == "1"
    assert namespace.served_uri().endswith("/versions/000002")
    answer = release.ask("dog")
    assert answer.headers["X-Model-Version"] == "2"
    assert "int8, made from version 1" in workflow.command("twin", "info", "2", code=0)
    # The examples, asked through the live service, are answered as the version's own graph does.
    assert f"dog.jpg: {answer.json()['class_name']}, answered by version 2" in logs["verify"]

    report = workflow.end(status="Succeeded", duration="12.5", failures="[]")
    assert "nightly: Succeeded after 12.5 s" in report
    assert "Removed nothing." in workflow.command("later", "prune", "--keep=9", code=0)  # the lease is free
    say(workflow.command("history", "history", code=0).strip())

    # Once more: by hand it would be trained again, on the schedule there is nothing to do.
    again = Workflow(namespace, template, "again")
    assert "Version 1 was made of it" in again.run(again.tasks["data"])
    assert not again.skips(again.tasks["train"])
    schedule = objects(namespace.name, *values)["CronWorkflow"]["spec"]["workflowSpec"]
    (given,) = schedule["arguments"]["parameters"]
    again.values[f"workflow.parameters.{given['name']}"] = given["value"]
    assert again.skips(again.tasks["train"])
    assert again.tasks["export"]["depends"] == "train.Succeeded"


def test_a_step_that_is_refused_ends_with_the_code_that_argo_does_not_try_again(release: Release) -> None:
    template = objects(release.namespace.name, *release.values)["WorkflowTemplate"]
    steps = [
        each for each in template["spec"]["templates"] if "container" in each and each["name"] != "report"
    ]
    assert {step["retryStrategy"]["expression"] for step in steps} == {
        "!(asInt(lastRetry.exitCode) in [2, 3, 4, 5])"
    }
    workflow = Workflow(release.namespace, template, "refused")
    workflow.values["tasks.publish.outputs.parameters.version"] = "7"
    assert "no version 7" in workflow.run(workflow.tasks["preflight"], code=2)
