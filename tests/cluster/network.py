"""Connections of pods as the node tracks them, and whether the chart's NetworkPolicies allow them."""

import json
import re
import subprocess
import threading
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

import yaml
from cluster.kube import Namespace, rendered, run

_TRACKED = re.compile(r"src=(\S+) dst=\S+ sport=\d+ dport=\d+ .*?src=(\S+) dst=\S+ sport=(\d+).* id=(\d+)")
_ELSEWHERE = {53: "dns", 6443: "kubernetes"}


@dataclass(frozen=True, order=True)
class Connection:
    """From a component to another (or `dns`, `kubernetes`, `elsewhere`), at the port that answers."""

    source: str
    target: str
    port: int


@dataclass
class Watch:
    """Collects the connections that a namespace's pods begin while the block runs.

    Reads the node's connection tracking, so it needs to run on the node as root. A connection is looked at
    once, when it is new: the node remembers it for minutes, and by then its address may be another pod's.
    """

    namespace: Namespace
    seen: set[Connection] = field(default_factory=set)
    _components: dict[str, str] = field(default_factory=dict)
    _known: set[str] = field(default_factory=set)
    _stop: threading.Event = field(default_factory=threading.Event)

    def __enter__(self) -> "Watch":
        self._known = {identity for *_, identity in _tracked()}
        self._thread = threading.Thread(target=self._follow)
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._stop.set()
        self._thread.join(timeout=60)

    def _follow(self) -> None:
        while not self._stop.is_set():
            self._look()
            self._stop.wait(0.5)
        for source, _, port in self._look():  # to whom has still not been seen
            self.seen.add(Connection(source, "elsewhere", port))

    def _look(self) -> list[tuple[str, str, int]]:
        """Sees what is new, and returns what leads from a pod of ours to an address that is nobody's yet."""
        tracked = _tracked()  # first: whose pods they are may be known a moment later, not earlier
        # An address goes to the next pod when its own has ended: whoever runs now has it, here or elsewhere.
        pods = json.loads(run("kubectl", "get", "pods", "-A", "-o", "json"))["items"]
        for pod in sorted(pods, key=lambda pod: bool(pod["status"]["phase"] == "Running")):
            address, labels = pod["status"].get("podIP"), pod["metadata"].get("labels", {})
            if pod["metadata"]["namespace"] == self.namespace.name:
                self._components[address] = labels.get("app.kubernetes.io/component", "unknown")
            elif pod["status"]["phase"] == "Running":
                self._components.pop(address, None)
        unseen = []
        for source, target, port, identity in tracked:
            if source not in self._components or identity in self._known:
                continue
            component = self._components[source]
            if name := self._components.get(target) or _ELSEWHERE.get(int(port)):
                self._known.add(identity)
                self.seen.add(Connection(component, name, int(port)))
            else:
                unseen.append((component, target, int(port)))
        return unseen


def _tracked() -> list[tuple[str, str, str, str]]:
    """Source, target and port that answers of each connection that the node remembers, and its number."""
    line = ["conntrack", "-L", "-o", "id"]
    found: list[tuple[str, str, str, str]] = _TRACKED.findall(
        subprocess.run(line, capture_output=True, text=True, check=True).stdout
    )
    return found


def policies(*values: str) -> list[Any]:
    """The NetworkPolicies that the chart renders."""
    flags = [flag for value in (*values, "networkPolicy.enabled=true") for flag in ("--set", value)]
    return [each for each in yaml.safe_load_all(rendered(*flags)) if each and each["kind"] == "NetworkPolicy"]


def allowed(connection: Connection, rules: Sequence[Any]) -> bool:
    """Whether its source may go out by it and its target, where it is a pod of ours, may let it in."""
    out = _passes(rules, "egress", "to", connection.source, connection.target, connection.port)
    if connection.target in (*_ELSEWHERE.values(), "elsewhere"):
        return out
    return out and _passes(rules, "ingress", "from", connection.target, connection.source, connection.port)


def _passes(rules: Sequence[Any], way: str, peers: str, this: str, other: str, port: int) -> bool:
    selecting = [each["spec"] for each in rules if _selects(each["spec"]["podSelector"], this)]
    return not selecting or any(
        (peers not in rule or any(_selects(peer.get("podSelector"), other) for peer in rule[peers]))
        and ("ports" not in rule or any(each["port"] == port for each in rule["ports"]))
        for spec in selecting
        for rule in spec[way]
    )


def _selects(selector: Any, component: str) -> bool:
    if selector is None or component in (*_ELSEWHERE.values(), "elsewhere"):
        return False
    labels = {"app.kubernetes.io/name": "cnn-image", "app.kubernetes.io/component": component}
    return all(labels.get(key) == value for key, value in selector.get("matchLabels", {}).items()) and all(
        labels.get(each["key"]) in each["values"] for each in selector.get("matchExpressions", [])
    )
