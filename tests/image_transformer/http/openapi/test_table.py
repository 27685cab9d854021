"""Every route has its row in the table, every row is answered, and the document is OpenAPI."""

import re
from typing import Any

import jsonschema
import orjson
import pytest
from kserve.model_repository import ModelRepository
from kserve.protocol.dataplane import DataPlane
from kserve.protocol.model_repository_extension import ModelRepositoryExtension
from kserve.protocol.rest.server import RESTServer
from schemathesis.specs.openapi.definitions import OPENAPI_31

from image_transformer.http.openapi.document import document
from image_transformer.http.openapi.table import REFUSED, TABLE
from kserve import model_server
from model.contract import DEFAULT_CONTRACT

EXAMPLES = {"model": "cnn-image", "version": "7", "name": "a", "file": "start.js"}


@pytest.fixture(scope="module")
def behind() -> set[tuple[str, str]]:
    """kserve's own routes: method and path, parameters as the table calls them."""
    repository = ModelRepository()
    plane = DataPlane(repository)
    extension = ModelRepositoryExtension(repository)
    RESTServer(model_server.app, plane, extension, 1).create_application()  # type: ignore[no-untyped-call]
    return {
        (method, path)
        for path, methods in model_server.app.openapi()["paths"].items()
        for method in methods
        if path not in REFUSED
    }


def named_as_here(path: str) -> str:
    return path.replace("{model_name}", "{model}").replace("{model_version}", "{version}")


def example(path: str) -> str:
    return re.sub(r"{(\w+)}", lambda found: EXAMPLES[found[1]], path)


def test_every_route_has_its_row(service: Any, behind: set[tuple[str, str]]) -> None:
    routes = service.routes
    rows = {(operation.method.upper(), example(operation.path)) for operation in TABLE}
    handlers = {**routes._handlers, **routes._management._whole}
    filters = example("/v2/models/{model}/infer").replace(
        "cnn-image", "cnn-image-filters"
    )  # a row has both models
    missing = [
        path for path, (method, _) in handlers.items() if (method, path) not in rows | {("POST", filters)}
    ]
    assert not missing, "add an Operation to http/openapi/table.py"
    found = {name for method, path in rows if (route := routes._find(path, method)) and (name := route[0])}
    missing = [name for _, _, name, _ in routes._families if name not in found | set(REFUSED)]
    assert not missing, "add an Operation to http/openapi/table.py, or a reason to REFUSED"
    paths = {(operation.method, operation.path) for operation in TABLE}
    verbs = [f"/{verb}" if verb else "" for verb in routes._management._about]
    abouts = [
        f"/v2/models/{{model}}{version}{verb}" for verb in verbs for version in ("", "/versions/{version}")
    ]
    missing = [path for path in abouts if ("get", path) not in paths]
    assert not missing, "add an Operation to http/openapi/table.py"
    missing = [path for method, path in behind if (method, named_as_here(path)) not in paths]
    assert not missing, "add an Operation to http/openapi/table.py"


def test_every_row_is_a_route(service: Any, behind: set[tuple[str, str]]) -> None:
    ours = {
        (operation.method, operation.path)
        for operation in TABLE
        if service.routes._find(example(operation.path), operation.method.upper()) is not None
    }
    others = {(method, named_as_here(path)) for method, path in behind}
    assert {(operation.method, operation.path) for operation in TABLE} - ours - others == set()
    assert len({(operation.method, operation.path) for operation in TABLE}) == len(TABLE)


def test_the_document_is_openapi() -> None:
    made = document(["cnn-image", "cnn-image-filters"], ["7"], DEFAULT_CONTRACT, 256)
    jsonschema.validate(made, OPENAPI_31)
    for name, schema in made["components"]["schemas"].items():
        jsonschema.Draft202012Validator.check_schema(schema)
        assert f'"#/components/schemas/{name}"' in repr(made).replace("'", '"'), f"nothing refers to {name}"


async def test_the_document_is_of_the_version_that_is_served(service: Any) -> None:
    made = (await service.call("GET", "/openapi.json")).json()
    schemas = made["components"]["schemas"]
    assert schemas["Prediction"]["properties"]["class_name"]["enum"] == list(DEFAULT_CONTRACT.classes)
    model, version = made["paths"]["/v2/models/{model}/versions/{version}"]["get"]["parameters"]
    assert (model["schema"]["enum"], version["schema"]["enum"]) == (
        ["cnn-image", "cnn-image-filters"],
        ["7"],
    )


async def test_examples_work(service: Any) -> None:
    """And are answered as described."""
    made = (await service.call("GET", "/openapi.json")).json()
    asked = 0
    for path, operations in made["paths"].items():
        if path in {"/train", "/v2/repository/index"} or "post" not in operations:
            continue
        answers = operations["post"]["responses"]["200"]["content"]
        for kind, sent in operations["post"]["requestBody"]["content"].items():
            for shown in sent.get("examples", {}).values():
                body = orjson.dumps(shown["value"])
                reply = await service.call("POST", example(path), body, **{"content-type": kind})
                assert reply.status == 200, reply.body
                schema = {
                    **answers[reply.headers["content-type"]]["schema"],
                    "components": made["components"],
                }
                jsonschema.Draft202012Validator(schema).validate(reply.json())
                asked += 1
    assert asked == 12
