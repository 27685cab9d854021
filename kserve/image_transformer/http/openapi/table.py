"""The route table: a row for every route that is answered. Who adds a route adds one; a test asks for it."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Final, Literal

from image_transformer.http.openapi.schemas import (
    PICTURE,
    V1_EXAMPLE,
    V2_EXAMPLE,
    V2_OUTPUTS_EXAMPLE,
    event_example,
    reference,
)

Content = Mapping[str, Any]
"""By content type: a schema, and examples."""

_PICTURE_CODES: Final = (
    "not_an_image",
    "broken_image",
    "unsupported_format",
    "too_many_pixels",
    "too_many_bytes",
    "too_many_images",
)
_BODY_CODES: Final = ("invalid_request", "unsupported_media_type", "unsupported_encoding", "slow_body")
_BUSY_CODES: Final = ("overloaded", "shutting_down", "model_unavailable", "model_timeout")
_INFERENCE: Final = (*_PICTURE_CODES, *_BODY_CODES, *_BUSY_CODES, "unlike_training")
_EXPLAINING: Final = ("not_offered", "explanation_timeout")
_TRAINING: Final = ("training_disabled", "unauthorized")
_EVENT: Final = "application/cloudevents+json"


def _content(name: str, kind: str = "application/json", **examples: Any) -> dict[str, Any]:
    shown = {"examples": {key: {"value": value} for key, value in examples.items()}} if examples else {}
    return {kind: {"schema": reference(name), **shown}}


def _path(name: str, **schema: Any) -> dict[str, Any]:
    return {"name": name, "in": "path", "required": True, "schema": {"type": "string", **schema}}


def _header(name: str, description: str, **schema: Any) -> dict[str, Any]:
    return {"name": name, "in": "header", "description": description, "schema": {"type": "string", **schema}}


_MODEL: Final = _path("model")
_VERSION: Final = _path("version")  # `document` says which there are, of both
_REQUEST_ID: Final = _header(
    "X-Request-ID", "given back, and in the log", pattern="^[A-Za-z0-9._:/-]{1,128}$"
)
_EXPLAIN: Final = {
    "name": "explain",
    "in": "query",
    "description": "`true` adds the key `explanation`: which parts of the picture carry its class. Of one "
    "picture a request; it takes some hundred times as long, and waits while others ask.",
    "schema": {"type": "string", "enum": ["true", "false"], "default": "false"},
}
_LENGTH: Final = {
    "name": "Inference-Header-Content-Length",
    "in": "header",
    "description": "Binary extension: length of the JSON in front of the raw tensors, before compression. "
    "Each element of BYTES stands after its length in four bytes, little-endian. "
    "0 where the body is one picture and nothing else; the answer is binary then.",
    "schema": {"type": "integer", "minimum": 0},
}


@dataclass(frozen=True)
class Operation:
    """A route and a method.

    Attributes:
        method: In lower case, as OpenAPI has it.
        path: With parameters in braces.
        tag: What it stands under.
        summary: One line.
        answers: By status: what comes where nothing is wrong.
        codes: Of errors, by `image_transformer.errors`; what all routes have in common is left out.
        body: What is sent.
        body_required: Whether it may be left out.
        parameters: In path, query and headers.
        description: More than a line.
        secured: Whether it asks for the training token.
        versioned: Whether an answer names the version in X-Model-Version.
    """

    method: Literal["get", "post"]
    path: str
    tag: str
    summary: str
    answers: Mapping[int, Content]
    codes: tuple[str, ...] = ()
    body: Content = field(default_factory=dict)
    body_required: bool = True
    parameters: tuple[Mapping[str, Any], ...] = ()
    description: str = ""
    secured: bool = False
    versioned: bool = False


_IMAGES: Final = {
    f"image/{kind}": {"schema": {"type": "string", "format": "binary"}}
    for kind in ("jpeg", "png", "webp", "gif", "bmp", "tiff", "heic", "avif")
}
_V1_BODY: Final = {
    **_content("V1Request", picture=V1_EXAMPLE, base64_alone={"instances": [PICTURE]}),
    **_content("CloudEvent", _EVENT, event=event_example(V1_EXAMPLE)),
}
_V1_ANSWER: Final = {**_content("V1Answer"), **_content("CloudEventAnswer", _EVENT)}
_V2_BODY: Final = {
    **_content("V2Request", picture=V2_EXAMPLE, outputs_by_name=V2_OUTPUTS_EXAMPLE),
    **_content("CloudEvent", _EVENT, event=event_example(V2_EXAMPLE)),
    "application/octet-stream": {"schema": {"type": "string", "format": "binary"}},
}
_V2_ANSWER: Final = {
    **_content("V2Answer"),
    **_content("CloudEventAnswer", _EVENT),
    "application/octet-stream": {"schema": {"type": "string", "format": "binary"}},
}
_V2_TEXT: Final = (
    "Encoded images (BYTES: base64 in JSON, raw in the binary extension) or pixels (UINT8), many a request. "
    "The binary extension is the same JSON with raw tensors behind it: each input's parameter "
    "`binary_data_size` says how long its tensor is, and Inference-Header-Content-Length how long the JSON. "
    "Outputs come so where `binary_data` or `binary_data_output` asks for it."
)

TABLE: Final[tuple[Operation, ...]] = (
    Operation(
        *("post", "/predict", "prediction", "Classifies one image, or several"),
        {200: _content("Predictions")},
        (*_INFERENCE, *_EXPLAINING),
        {"multipart/form-data": {"schema": reference("Form")}, **_IMAGES},
        parameters=(_EXPLAIN, _REQUEST_ID),
        description="A form with a field `file` for each image, or one image as it is. What comes is told by "
        "its first bytes, never by its name or its Content-Type.",
        versioned=True,
    ),
    Operation(
        *("post", "/v1/models/{model}:predict", "v1", "Classifies images, as TensorFlow Serving does"),
        {200: _V1_ANSWER},
        (*_INFERENCE, "unknown_model"),
        _V1_BODY,
        parameters=(_MODEL, _REQUEST_ID),
        description="`inputs` in place of `instances` is answered by `outputs` in place of `predictions`.",
        versioned=True,
    ),
    Operation(
        *("post", "/v1/models/{model}:explain", "v1", "Classifies one image, and tells what in it counts"),
        {200: {**_content("V1Explained"), **_content("CloudEventAnswer", _EVENT)}},
        (*_INFERENCE, *_EXPLAINING, "unknown_model"),
        _V1_BODY,
        parameters=(_MODEL, _REQUEST_ID),
        description="As `:predict`, of one instance. It takes some hundred times as long, and waits while "
        "others ask.",
        versioned=True,
    ),
    Operation(
        *("get", "/v1/models", "v1", "Names the models"),
        {200: _content("V1Models")},
    ),
    Operation(
        *("get", "/v1/models/{model}", "v1", "Tells whether a model is ready"),
        {200: _content("V1Model")},
        ("unknown_model", "model_unavailable"),
        parameters=(_MODEL,),
    ),
    Operation(
        *("post", "/v2/models/{model}/infer", "v2", "Classifies images, by the Open Inference Protocol"),
        {200: _V2_ANSWER},
        (*_INFERENCE, "unknown_model"),
        _V2_BODY,
        parameters=(_MODEL, _LENGTH, _REQUEST_ID),
        description=_V2_TEXT,
        versioned=True,
    ),
    Operation(
        *("post", "/v2/models/{model}/versions/{version}/infer", "v2", "The same by one version alone"),
        {200: _V2_ANSWER},
        (*_INFERENCE, "unknown_model", "unknown_version"),
        _V2_BODY,
        parameters=(_MODEL, _VERSION, _LENGTH, _REQUEST_ID),
        description=_V2_TEXT,
        versioned=True,
    ),
    Operation(
        *("get", "/v2", "v2", "Describes the server"),
        {200: _content("V2Server")},
    ),
    Operation(
        *("get", "/v2/health/live", "v2", "Tells whether the server runs"),
        {200: _content("V2Live")},
    ),
    Operation(
        *("get", "/v2/health/ready", "v2", "Tells whether the model answers"),
        {200: _content("V2ServerReady")},
        ("model_unavailable",),
    ),
    Operation(
        *("get", "/v2/models", "v2", "Names the models"),
        {200: _content("V2Models")},
    ),
    Operation(
        *("get", "/v2/models/{model}", "v2", "Describes a model"),
        {200: _content("V2Model")},
        ("unknown_model",),
        parameters=(_MODEL,),
    ),
    Operation(
        *("get", "/v2/models/{model}/versions/{version}", "v2", "Describes one of its versions"),
        {200: _content("V2Model")},
        ("unknown_model", "unknown_version"),
        parameters=(_MODEL, _VERSION),
    ),
    Operation(
        *("get", "/v2/models/{model}/ready", "v2", "Tells whether a model answers"),
        {200: _content("V2Ready")},
        ("unknown_model", "model_unavailable"),
        parameters=(_MODEL,),
    ),
    Operation(
        *("get", "/v2/models/{model}/versions/{version}/ready", "v2", "Tells whether a version answers"),
        {200: _content("V2Ready")},
        ("unknown_model", "unknown_version", "model_unavailable"),
        parameters=(_MODEL, _VERSION),
    ),
    *(
        Operation(
            *("get", f"/v2/models/{{model}}{version}/{verb}", "v2", summary),
            {200: _content(schema)},
            ("unknown_model", "model_unavailable", *(("unknown_version",) if version else ())),
            parameters=(_MODEL, _VERSION) if version else (_MODEL,),
        )
        for verb, schema, summary in (
            ("config", "V2Configuration", "Tells a model's configuration, as it is offered here"),
            ("stats", "V2Statistics", "Tells what a model has done since this process began"),
        )
        for version in ("", "/versions/{version}")
    ),
    Operation(
        *("get", "/v2/models/stats", "v2", "Tells what all models have done since this process began"),
        {200: _content("V2Statistics")},
    ),
    Operation(
        *("post", "/v2/repository/index", "v2", "Lists every version and its state"),
        {200: _content("V2Index")},
        _BODY_CODES,
        _content("V2IndexRequest", ready_alone={"ready": True}),
        body_required=False,
    ),
    Operation(
        *("get", "/health", "service", "Tells whether the model answers"),
        {200: _content("Health", healthy={"status": "healthy", "model": "cnn-image", "version": "7"})},
        ("shutting_down", "model_unavailable"),
    ),
    Operation(
        *("get", "/info", "service", "Describes the version that is served"),
        {200: _content("Info")},
        ("unknown_version", "model_unavailable"),
        parameters=({**_VERSION, "in": "query", "required": False},),
    ),
    Operation(
        *("get", "/metrics", "service", "Numbers for Prometheus"),
        {200: {"text/plain": {"schema": {"type": "string"}}}},
    ),
    Operation(
        *("get", "/", "service", "Tells that the process lives, as KServe's v1 has it"),
        {200: _content("Alive")},
    ),
    Operation(
        *("get", "/openapi.json", "service", "This document"),
        {200: {"application/json": {"schema": {"type": "object"}}}},
    ),
    Operation(
        *("get", "/docs", "service", "This document as a page to try it with"),
        {200: {"text/html": {"schema": {"type": "string"}}}},
    ),
    Operation(
        *("get", "/docs/{file}", "service", "What that page is made of"),
        {200: {kind: {"schema": {"type": "string"}} for kind in ("text/javascript", "text/css")}},
        ("unknown_route",),
        parameters=(_path("file", enum=["start.js", "swagger-ui-bundle.js", "swagger-ui.css"]),),
    ),
    Operation(
        *("post", "/train", "training", "Trains, publishes and promotes; off unless switched on"),
        {200: _content("Trained"), 202: _content("TrainingStarted")},
        (*_BODY_CODES, "too_many_bytes", "overloaded", *_TRAINING, "training_under_way", "training_failed"),
        _content("TrainRequest", some_epochs={"epochs": 10}),
        body_required=False,
        parameters=(_header("Prefer", "answers at once, with a Location to ask", enum=["respond-async"]),),
        description="Answers when the training has ended, with `Prefer: respond-async` at once.",
        secured=True,
    ),
    Operation(
        *("get", "/train/{name}", "training", "Tells how a training stands"),
        {
            200: {
                "application/json": {
                    "schema": {"oneOf": [reference("Trained"), reference("TrainingUnderWay")]}
                }
            }
        },
        (*_TRAINING, "unknown_training"),
        parameters=(_path("name", pattern="^[A-Za-z0-9-]{1,80}$"),),
        secured=True,
    ),
)

REFUSED: Final[Mapping[str, str]] = {
    "/v1/models/predict": "inference by v1 of a model that is not served: 404",
    "/v2/models/infer": "inference by v2 of a model that is not served: 404",
    "/v2/repository/models/{model_name}/load": "models are not loaded or unloaded: 400",
    "/v2/repository/models/{model_name}/unload": "models are not loaded or unloaded: 400",
}
"""Names of routes that are never answered otherwise than by an error, so that they have no row; and why."""
