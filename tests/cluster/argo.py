"""Argo Workflows' part, played by a test: pods made of a WorkflowTemplate's steps, outputs handed on.

The test cluster has no Argo. What its controller does to a step is done here the same way: placeholders are
filled in, the workflow's volumes, labels, account and security are added, Argo's own two containers stand
beside the step's, `podSpecPatch` is merged in, and a step's command runs inside another one that saves the
files that are its outputs.
"""

import base64
import json
import re
import shlex
from collections.abc import Mapping
from typing import Any

import yaml
from cluster.kube import Namespace, say, wait_for

_UNITS = {"s": 1, "m": 60, "h": 3600}
_PLACEHOLDER = re.compile(r"\{\{\s*([^}]+?)\s*\}\}")
_SAVED = "output of the step: "


class Workflow:
    """One run of a WorkflowTemplate.

    Args:
        namespace: Where its pods run.
        template: The WorkflowTemplate.
        name: The workflow's.
    """

    def __init__(self, namespace: Namespace, template: Mapping[str, Any], name: str) -> None:
        self.namespace = namespace
        self._spec = template["spec"]
        given = self._spec["arguments"]["parameters"]
        self.values = {f"workflow.parameters.{each['name']}": each["value"] for each in given}
        self.values["workflow.name"] = name
        self._name = name
        self._templates = {each["name"]: each for each in self._spec["templates"]}
        self._daemons: list[str] = []
        for claim in self._spec.get("volumeClaimTemplates", ()):
            body = {"apiVersion": "v1", "kind": "PersistentVolumeClaim", "spec": claim["spec"]}
            body["metadata"] = {"name": f"{name}-{claim['metadata']['name']}"}
            namespace.kubectl("create", "-f", "-", stdin=json.dumps(body))

    @property
    def tasks(self) -> dict[str, Any]:
        """The entry point's tasks by name, each after those it depends on."""
        left = {task["name"]: task for task in self._templates[self._spec["entrypoint"]]["dag"]["tasks"]}
        ordered: dict[str, Any] = {}
        while left:
            ready = [
                name
                for name, task in left.items()
                if task.get("depends", name).removesuffix(".Succeeded") in {*ordered, name}
            ]
            assert ready, f"{sorted(left)} wait for one another"
            ordered |= {name: left.pop(name) for name in ready}
        return ordered

    @property
    def steps(self) -> list[dict[str, Any]]:
        """The entry point's steps, one for each number of their sequences."""
        return [
            {**self._filled(step, {"item": str(item)}), "name": f"{step['name']}-{item}"}
            for beside in self._templates[self._spec["entrypoint"]]["steps"]
            for step in beside
            for item in range(int(self._filled(step["withSequence"]["count"])))
        ]

    def run(self, task: Mapping[str, Any], *, code: int = 0) -> str:
        """Run a task to its end, take its outputs in, and return its log; a daemon is left running."""
        step = self._templates[task["template"]]
        say(f"step {step['name']}")
        given = self._filled(task.get("arguments", {})).get("parameters", [])
        inputs = {f"inputs.parameters.{each['name']}": each["value"] for each in given}
        pod = f"{self._name}-{task['name']}"
        self._create(pod, self._filled(step, inputs))
        if step.get("daemon"):
            self._daemons.append(pod)
            self.namespace.kubectl("wait", "--for=condition=Ready", f"pod/{pod}", "--timeout=120s")
            return ""
        ended = wait_for(lambda: self._ended(pod), f"the end of {pod}", 600)
        log = self.namespace.kubectl("logs", pod, "-c", "main")
        assert ended["exitCode"] == code, f"{pod} ended with {ended}:\n{log[-3000:]}"
        for line in log.splitlines():
            if line.startswith(_SAVED):
                name, _, value = line.removeprefix(_SAVED).partition(" ")
                self.values[f"tasks.{task['name']}.outputs.parameters.{name}"] = base64.b64decode(
                    value
                ).decode()
        return log

    def skips(self, task: Mapping[str, Any]) -> bool:
        """Whether its condition, comparisons of which one must hold, keeps a task from running."""
        compared = [part.split(" == ") for part in self._filled(task["when"]).split(" || ")]
        return all(left != right for left, right in compared)

    def command(self, name: str, *args: str, code: int) -> str:
        """Run another command as a pod of the workflow."""
        step = {**self._templates["verify"], "name": name}
        step["container"] = {**step["container"], "args": list(args)}
        self._templates[name] = step
        return self.run({"name": name, "template": name}, code=code)

    def end(self, **status: str) -> str:
        """End as Argo does: daemons are stopped, the exit handler runs; returns the latter's log."""
        for pod in self._daemons:
            self.namespace.kubectl("delete", "pod", pod, "--wait=true")
        self.values |= {f"workflow.{name}": value for name, value in status.items()}
        return self.run({"name": "exit", "template": self._spec["onExit"]})

    def outputs(self) -> dict[str, str]:
        """What the workflow as a whole hands out."""
        parameters = self._templates[self._spec["entrypoint"]]["outputs"]["parameters"]
        return {each["name"]: self._filled(each["valueFrom"]["parameter"]) for each in parameters}

    def _filled(self, part: Any, more: Mapping[str, str] | None = None) -> Any:
        """Any part of the template with its placeholders filled in; one that is not known fails the test."""
        values = {**self.values, **(more or {})}

        def value(match: "re.Match[str]") -> str:
            return json.dumps(values[match[1]])[1:-1]

        return json.loads(_PLACEHOLDER.sub(value, json.dumps(part)))

    def _create(self, name: str, step: Mapping[str, Any]) -> None:
        main = {**step["container"], "name": "main"}
        saved = {
            each["name"]: each["valueFrom"]["path"] for each in step.get("outputs", {}).get("parameters", [])
        }
        if saved:
            lines = [
                f'echo "{_SAVED}{output} $(base64 -w0 {shlex.quote(path)})" || exit 64'
                for output, path in saved.items()
            ]
            script = "\n".join(['"$@"; code=$?; [ $code = 0 ] || exit $code', *lines])
            main["args"] = ["-c", script, "emissary", *main["command"], *main.get("args", [])]
            main["command"] = ["sh"]
        beside = {"image": main["image"], "imagePullPolicy": main["imagePullPolicy"], "command": ["true"]}
        wait = {**beside, "name": "wait"}
        if step.get("daemon"):  # it is ready only while all its containers run
            wait["command"] = ["sleep", "3600"]
        claims = [
            {
                "name": each["metadata"]["name"],
                "persistentVolumeClaim": {"claimName": f"{self._name}-{each['metadata']['name']}"},
            }
            for each in self._spec.get("volumeClaimTemplates", ())
        ]
        mounted = {each["name"] for each in main["volumeMounts"]}
        spec: dict[str, Any] = {
            "restartPolicy": "Never",
            "activeDeadlineSeconds": seconds(step["timeout"]),
            "serviceAccountName": self._spec["serviceAccountName"],
            "securityContext": self._spec["securityContext"],
            "imagePullSecrets": self._spec.get("imagePullSecrets", []),
            "nodeSelector": step.get("nodeSelector", {}),
            "tolerations": step.get("tolerations", []),
            "volumes": [each for each in (*self._spec["volumes"], *claims) if each["name"] in mounted],
            "initContainers": [{**beside, "name": "init"}],
            "containers": [wait, main],
        }
        merge(spec, yaml.safe_load(self._spec["podSpecPatch"]))
        body = {"apiVersion": "v1", "kind": "Pod", "spec": spec}
        body["metadata"] = {"name": name, **self._spec["podMetadata"]}
        self.namespace.kubectl("create", "-f", "-", stdin=json.dumps(body))

    def _ended(self, pod: str) -> dict[str, Any] | None:
        """How the step's own container ended, once it has."""
        statuses = self.namespace.get("pod", pod)["status"].get("containerStatuses", [])
        main = next((each for each in statuses if each["name"] == "main"), {"state": {}})
        ended: dict[str, Any] | None = main["state"].get("terminated")
        return ended


def seconds(timeout: str) -> int:
    """The length of a duration as the chart writes it: 90s, 10m, 1h."""
    return int(timeout[:-1]) * _UNITS[timeout[-1]]


def merge(into: dict[str, Any], patch: Mapping[str, Any]) -> None:
    """Kubernetes' strategic merge, as far as a pod's containers need it: lists are merged by name."""
    for key, value in patch.items():
        if isinstance(value, list):
            for each in value:
                merge(next(known for known in into[key] if known["name"] == each["name"]), each)
        else:
            into[key] = value
