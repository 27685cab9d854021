"""JSON schemas for kubeconform, made of what the cluster itself says about its kinds, custom ones too."""

import json
import re
from pathlib import Path
from typing import Any

from cluster.kube import run

_ANY_OF = {"int-or-string": ["string", "integer"]}


def write_schemas(folder: Path, groups: set[str]) -> str:
    """Write a strict schema for each kind.

    Args:
        folder: To write to.
        groups: The API groups wanted.

    Returns:
        kubeconform's -schema-location.
    """
    definitions = json.loads(run("kubectl", "get", "--raw", "/openapi/v2"))["definitions"]
    for definition in definitions.values():
        _strict(definition)
    for name, definition in definitions.items():
        for which in definition.get("x-kubernetes-group-version-kind", []):
            if which["group"] in groups:
                group = which["group"].split(".")[0]
                suffix = "-".join(part for part in (group, which["version"]) if part)
                path = folder / f"{which['kind'].lower()}-{suffix}.json"
                used = _reachable(name, definitions)
                path.write_text(json.dumps({"$ref": f"#/definitions/{name}", "definitions": used}))
    return str(folder / "{{.ResourceKind}}{{.KindSuffix}}.json")


def _reachable(name: str, definitions: dict[str, Any]) -> dict[str, Any]:
    """The definitions that one needs, so that kubeconform does not compile all of them for each kind."""
    found: dict[str, Any] = {}
    waiting = [name]
    while waiting:
        each = waiting.pop()
        if each not in found:
            found[each] = definitions[each]
            waiting += re.findall(r'"#/definitions/([^"]+)"', json.dumps(definitions[each]))
    return found


def _strict(schema: Any) -> None:
    """Refuse unknown keys, and take both forms where a number or a string may stand."""
    if schema.get("format") in _ANY_OF:
        schema["type"] = _ANY_OF[schema["format"]]
    if "properties" in schema and not schema.get("x-kubernetes-preserve-unknown-fields"):
        schema.setdefault("additionalProperties", False)
    inner = [*schema.get("properties", {}).values(), schema.get("items"), schema.get("additionalProperties")]
    for part in inner:
        if isinstance(part, dict):
            _strict(part)
