"""OpenAPI 3.1 (https://spec.openapis.org/oas/v3.1.1) out of the route table, of the version in service."""

from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from importlib import metadata
from typing import Any, Final

from image_transformer.errors import FAILURES
from image_transformer.http.openapi.schemas import reference, schemas
from image_transformer.http.openapi.table import TABLE, Operation
from model.contract import Contract

# Of every route: a request that is none, one that is too long a head, another method, a fault of ours.
_EVERYWHERE: Final = ("invalid_http", "head_too_long", "internal")
_TAGS: Final = {
    "prediction": "An image in, a class out.",
    "v2": "The Open Inference Protocol, as KServe and Triton speak it; over gRPC on the next port.",
    "v1": "KServe's and TensorFlow Serving's older protocol.",
    "service": "Health, description, numbers, documentation.",
    "training": "Trainings over HTTP, with a token.",
}


def document(
    models: Sequence[str], versions: Sequence[str], contract: Contract, max_images: int
) -> dict[str, Any]:
    """Returns the document.

    Args:
        models: All that v2 infers by, the classifier first.
        versions: All that are served.
        contract: Of the version that is served.
        max_images: How many images a request may have.
    """
    known = {"model": list(models), "version": list(versions)}
    paths: dict[str, dict[str, Any]] = defaultdict(dict)
    for operation in TABLE:
        paths[operation.path][operation.method] = _operation(operation, known)
    return {
        "openapi": "3.1.0",
        "info": {
            "title": "cnn-image",
            "version": metadata.version("cnn-image"),
            "description": "Classifies images. Every error is JSON with a stable code and one sentence that "
            "says what to do. Bodies may be compressed by gzip or deflate.",
        },
        "servers": [{"url": "."}],
        "tags": [{"name": name, "description": text} for name, text in _TAGS.items()],
        "paths": paths,
        "components": {
            "schemas": schemas(models, contract, max_images),
            "securitySchemes": {"training": {"type": "http", "scheme": "bearer"}},
        },
    }


def _operation(operation: Operation, known: Mapping[str, list[str]]) -> dict[str, Any]:
    answers: dict[str, Any] = {}
    for status, content in operation.answers.items():
        answers[str(status)] = {
            "description": "started" if status == 202 else "answered",
            "headers": _headers(operation, status),
            "content": dict(content),
        }
    answers |= _failures((*operation.codes, *_EVERYWHERE))
    made: dict[str, Any] = {
        "operationId": f"{operation.method} {operation.path}".translate(str.maketrans(" /{}:.", "______")),
        "tags": [operation.tag],
        "summary": operation.summary,
        "responses": answers,
    }
    if operation.description:
        made["description"] = operation.description
    if operation.parameters:
        made["parameters"] = [
            _named(parameter, {**known, "model": known["model"][:1]} if operation.tag == "v1" else known)
            for parameter in operation.parameters
        ]
    if operation.body:
        made["requestBody"] = {"required": operation.body_required, "content": dict(operation.body)}
    if operation.secured:
        made["security"] = [{"training": []}]
    return made


def _named(parameter: Mapping[str, Any], known: Mapping[str, list[str]]) -> dict[str, Any]:
    if values := known.get(parameter["name"]):
        return {**parameter, "schema": {"type": "string", "enum": values}, "example": values[0]}
    return dict(parameter)


def _headers(operation: Operation, status: int) -> dict[str, Any]:
    headers = {}
    if operation.versioned:
        headers["X-Model-Version"] = {
            "description": "the version that answered",
            "schema": {"type": "string"},
        }
        headers["X-Out-Of-Distribution"] = {
            "description": "for each image in order `true` where it is unlike anything the version has "
            "learned, else `false`, joined by `, `; not sent by versions that cannot tell",
            "schema": {"type": "string", "pattern": "^(true|false)(, (true|false))*$"},
        }
    if operation.tag == "training" and operation.method == "post":
        headers["Location"] = {"description": "asks how the training stands", "schema": {"type": "string"}}
    if any("octet-stream" in kind for kind in operation.answers[status]):
        headers["Inference-Header-Content-Length"] = {
            "description": "the length of the JSON where raw tensors follow",
            "schema": {"type": "integer"},
        }
    return headers


def _failures(codes: Iterable[str]) -> dict[str, Any]:
    """Errors by status, in their order."""
    by_status: dict[int, list[str]] = defaultdict(list)
    for code in codes:
        by_status[FAILURES[code].http].append(code)
    return {
        str(status): {
            "description": ", ".join(names),
            "headers": {
                **(
                    {"Retry-After": {"description": "seconds", "schema": {"type": "integer"}}}
                    if all(FAILURES[name].retry_after is not None for name in names)
                    else {}
                ),
            },
            "content": {"application/json": {"schema": reference("Error")}},
        }
        for status, names in sorted(by_status.items())
    }
