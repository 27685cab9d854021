"""JSON schemas for kubeconform, made of what the cluster itself says about its kinds, custom ones too."""

import json
from pathlib import Path
from typing import Any

from cluster.kube import run

_ANY_OF = {"int-or-string": ["string", "integer"]}


def write_schemas(folder: Path, kinds: set[tuple[str, str]]) -> str:
    """Write a strict schema for each kind.

    Args:
        folder: To write to.
        kinds: As (apiVersion, kind).

    Returns:
        kubeconform's -schema-location.
    """
    definitions = json.loads(run("kubectl", "get", "--raw", "/openapi/v2"))["definitions"]
    for definition in definitions.values():
        _strict(definition)
    for name, definition in definitions.items():
        for which in definition.get("x-kubernetes-group-version-kind", []):
            version = f"{which['group']}/{which['version']}".removeprefix("/")
            if (version, which["kind"]) in kinds:
                group = which["group"].split(".")[0]
                suffix = "-".join(part for part in (group, which["version"]) if part)
                path = folder / f"{which['kind'].lower()}-{suffix}.json"
                path.write_text(json.dumps({"$ref": f"#/definitions/{name}", "definitions": definitions}))
    return str(folder / "{{.ResourceKind}}{{.KindSuffix}}.json")


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
