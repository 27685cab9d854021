"""JSON Schemas (2020-12, as OpenAPI 3.1 takes them) of all bodies, and examples that work."""

from collections.abc import Sequence
from typing import Any, Final

from image_transformer.codecs.explanation import METHOD
from image_transformer.codecs.outputs import FILTER_OUTPUTS, OUTPUTS
from image_transformer.errors import FAILURES
from model.contract import INPUT_NAME, OUTPUT_NAME, Contract

Schema = dict[str, Any]

PICTURE: Final = (
    "iVBORw0KGgoAAAANSUhEUgAAAAgAAAAIAgMAAAC5YVYYAAAADFBMVEW/v7+ampp1dXU9PT0CUTMWAAAAIElEQVR42m"
    "Nk9WYSDWHIfsnEIsDEwMD05wPzU2XmH38APJYHGdSXTgIAAAAASUVORK5CYII="
)
"""A PNG of 8 by 8 pixels in base64, for examples."""

_TEXT: Final[Schema] = {"type": "string"}
_NUMBER: Final[Schema] = {"type": "number"}
_PROBABILITY: Final[Schema] = {"type": "number", "minimum": 0, "maximum": 1.00001}
_PARAMETERS: Final[Schema] = {"type": "object", "additionalProperties": True}
_DATATYPES: Final = ("BYTES", "UINT8", "INT64", "FP32")


def _closed(required: Schema, **optional: Schema) -> Schema:
    return {
        "type": "object",
        "properties": {**required, **optional},
        "required": list(required),
        "additionalProperties": False,
    }


def _list(items: Schema, **more: Any) -> Schema:
    return {"type": "array", "items": items, **more}


def reference(name: str) -> Schema:
    """Refers to a schema of `schemas`."""
    return {"$ref": f"#/components/schemas/{name}"}


def schemas(models: Sequence[str], contract: Contract, max_images: int) -> dict[str, Schema]:
    """Returns all schemas by name.

    Args:
        models: All that v2 infers by, the classifier first.
        contract: Of the version that is served: its classes and its size.
        max_images: How many images a request may have.
    """
    classes = len(contract.classes)
    row = _list(_PROBABILITY, minItems=classes, maxItems=classes)
    base64: Schema = {
        **_TEXT,
        "format": "byte",
        "contentEncoding": "base64",
        "description": "an encoded image in base64",
    }
    named = _closed({"b64": base64})
    return {
        "Error": {
            **_closed(
                {
                    "error": {**_TEXT, "description": "what happened and what to do, in one sentence"},
                    "code": {"enum": sorted(FAILURES)},
                    "request_id": _TEXT,
                },
                index={"type": "integer", "minimum": 0, "description": "the image it is about"},
            ),
            "example": {
                "error": "Image 3: The JPEG image is broken or cut short; send the whole file.",
                "code": "broken_image",
                "request_id": "5f1c0a9b7d21-2a",
                "index": 3,
            },
        },
        "Prediction": _closed(
            {
                "class_id": {"type": "integer", "minimum": 0, "maximum": classes - 1},
                "class_name": {"enum": list(contract.classes)},
                "confidence": _PROBABILITY,
                "probabilities": row,
                "filters_applied": _list(_TEXT),
            },
            explanation={**reference("Explanation"), "description": "where the query says explain=true"},
        ),
        "Explanation": _closed(
            {
                "class_id": {"type": "integer", "minimum": 0, "maximum": classes - 1},
                "class_name": {"enum": list(contract.classes)},
                "version": {**_TEXT, "description": "the version that answered, and that is explained"},
                "method": {"const": METHOD},
                "masks": {
                    "type": "integer",
                    "minimum": 1,
                    "description": "times that the picture was classified again with parts of it hidden",
                },
                "standard_error": {**_NUMBER, "minimum": 0, "description": "of the map's numbers"},
                "map": _list(
                    _list(_NUMBER, minItems=contract.size, maxItems=contract.size),
                    minItems=contract.size,
                    maxItems=contract.size,
                    description="rows, of the square that the picture becomes: by how much the class is more "
                    "probable where the pixel is seen than where it is hidden",
                ),
                "overlay": {
                    **_TEXT,
                    "pattern": "^data:image/png;base64,",
                    "description": "the map as a picture of that size to lay over the square, clear where it "
                    "says nothing",
                },
            }
        ),
        "Predictions": {
            "oneOf": [reference("Prediction"), _list(reference("Prediction"))],
            "description": "one for one image, a list for several",
        },
        "Form": {
            "type": "object",
            "properties": {
                "file": _list({**_TEXT, "format": "binary"}, minItems=1, maxItems=max_images),
            },
            "required": ["file"],
        },
        "Health": _closed(
            {"status": {"const": "healthy"}, "model": _TEXT, "version": {"type": ["string", "null"]}}
        ),
        "Info": {
            "type": "object",
            "properties": {
                **dict.fromkeys(("model", "version", "architecture", "fit", "decoder_version"), _TEXT),
                **{name: _list(_TEXT) for name in ("versions", "classes", "filters", "unlearned", "formats")},
                "lineage": {"type": "object"},
                "input_shape": _list({"type": "integer"}, minItems=3, maxItems=3),
                "limits": {"type": "object"},
            },
            "required": [
                "model",
                "version",
                "versions",
                "lineage",
                "classes",
                "input_shape",
                "formats",
                "limits",
            ],
        },
        "TrainRequest": {
            "type": "object",
            "properties": {
                "epochs": {"type": "integer", "minimum": 1, "maximum": 1000},
                "batch_size": {"type": "integer", "minimum": 1, "maximum": 8192},
            },
            "additionalProperties": False,
        },
        "Trained": _closed(
            {
                "status": {"const": "success"},
                "metrics": {"type": ["object", "null"], "additionalProperties": _NUMBER},
                "model_path": {"type": ["string", "null"]},
            }
        ),
        "TrainingStarted": _closed({"status": {"const": "started"}, "name": _TEXT}),
        "TrainingUnderWay": _closed({"status": {"enum": ["waiting", "running", "failed"]}, "detail": _TEXT}),
        "V1Request": {
            "type": "object",
            "properties": {
                "instances": _list(
                    {
                        "oneOf": [
                            _closed({"image": named}),
                            _closed({"image_bytes": named}),
                            named,
                            base64,
                        ]
                    },
                    minItems=1,
                    maxItems=max_images,
                ),
                "signature_name": {"const": "serving_default"},
            },
            "required": ["instances"],
            "additionalProperties": False,
        },
        "V1Answer": _closed({"predictions": _list(row, minItems=1)}),
        "V1Explained": _closed(
            {
                "predictions": _list(row, minItems=1, maxItems=1),
                "explanations": _list(reference("Explanation"), minItems=1, maxItems=1),
            }
        ),
        "V1Models": _closed({"models": _list(_TEXT)}),
        "V1Model": _closed({"name": _TEXT, "ready": {"type": ["boolean", "string"]}}),
        "V2Request": {
            "type": "object",
            "properties": {
                "id": _TEXT,
                "parameters": {"type": "object", "properties": {"binary_data_output": {"type": "boolean"}}},
                "inputs": _list(
                    {"oneOf": [reference("EncodedImages"), reference("Pixels")]}, minItems=1, maxItems=1
                ),
                "outputs": _list(reference("RequestedOutput")),
            },
            "required": ["inputs"],
        },
        "EncodedImages": {
            "type": "object",
            "properties": {
                "name": {"const": INPUT_NAME},
                "datatype": {"const": "BYTES"},
                "shape": _list(
                    {"type": "integer", "minimum": 1, "maximum": max_images}, minItems=1, maxItems=2
                ),
                "data": _list(base64, minItems=1, maxItems=max_images),
                "parameters": reference("BinaryInput"),
            },
            "required": ["name", "datatype", "shape"],
        },
        "Pixels": {
            "type": "object",
            "properties": {
                "name": {"const": INPUT_NAME},
                "datatype": {"const": "UINT8"},
                "shape": {
                    "type": "array",
                    "prefixItems": [
                        {"type": "integer", "minimum": 1, "maximum": max_images},
                        *({"const": size} for size in contract.image_shape),
                    ],
                    "items": False,
                    "minItems": 4,
                },
                "data": {"type": "array", "description": "pixels of 0 to 255, flat or in the shape's rows"},
                "parameters": reference("BinaryInput"),
            },
            "required": ["name", "datatype", "shape"],
        },
        "BinaryInput": {
            "type": "object",
            "properties": {
                "binary_data_size": {
                    "type": "integer",
                    "minimum": 0,
                    "description": "in place of `data`: so many bytes behind the JSON are the tensor",
                }
            },
        },
        "RequestedOutput": {
            "type": "object",
            "properties": {
                "name": {"enum": [*OUTPUTS, *FILTER_OUTPUTS]},
                "parameters": {
                    "type": "object",
                    "properties": {
                        "binary_data": {"type": "boolean"},
                        "classification": {
                            "type": "integer",
                            "minimum": 1,
                            "description": "of `probs`: so many classes as `value:index:label`",
                        },
                    },
                },
            },
            "required": ["name"],
        },
        "V2Answer": _closed(
            {
                "model_name": {"enum": list(models)},
                "model_version": _TEXT,
                "outputs": _list(
                    _closed(
                        {
                            "name": {"enum": [*OUTPUTS, *FILTER_OUTPUTS]},
                            "datatype": {"enum": list(_DATATYPES)},
                            "shape": _list({"type": "integer", "minimum": 0}),
                        },
                        data={"type": "array"},
                        parameters=_PARAMETERS,
                    )
                ),
            },
            id=_TEXT,
        ),
        "V2Server": _closed({"name": _TEXT, "version": _TEXT, "extensions": _list(_TEXT)}),
        "V2Model": _closed(
            {
                "name": _TEXT,
                "versions": _list(_TEXT),
                "platform": _TEXT,
                "inputs": _list(reference("V2Tensor")),
                "outputs": _list(reference("V2Tensor")),
            }
        ),
        "V2Tensor": _closed(
            {"name": _TEXT, "datatype": {"enum": list(_DATATYPES)}, "shape": _list({"type": "integer"})}
        ),
        "V2Models": _closed({"models": _list(_TEXT)}),
        "V2Ready": _closed({"name": _TEXT, "ready": {"type": "boolean"}}),
        "V2Live": _closed({"live": {"type": "boolean"}}),
        "V2ServerReady": _closed({"ready": {"type": "boolean"}}),
        "V2Configuration": {
            "type": "object",
            "properties": {
                "name": _TEXT,
                "max_batch_size": {"type": "integer", "minimum": 1},
                "input": _list({"type": "object"}),
                "output": _list({"type": "object"}),
            },
            "required": ["name", "max_batch_size", "input", "output"],
        },
        "V2Statistics": _closed(
            {
                "model_stats": _list(
                    {
                        "type": "object",
                        "properties": {
                            "name": _TEXT,
                            "version": _TEXT,
                            "inference_count": {"type": "integer", "minimum": 0},
                            "execution_count": {"type": "integer", "minimum": 0},
                            "inference_stats": {"type": "object"},
                        },
                        "required": ["name", "version", "inference_stats"],
                    }
                )
            }
        ),
        "V2IndexRequest": {"type": "object", "properties": {"ready": {"type": "boolean"}}},
        "V2Index": _list(
            _closed({"name": _TEXT, "state": {"enum": ["READY", "UNAVAILABLE"]}}, version=_TEXT, reason=_TEXT)
        ),
        "Alive": _closed({"status": {"const": "alive"}}),
        "CloudEvent": {
            "type": "object",
            "properties": {
                "specversion": {"enum": ["1.0", "0.3"]},
                **{name: {**_TEXT, "minLength": 1} for name in ("id", "source", "type")},
                "data": {"type": "object", "description": "the request as it is without an event"},
            },
            "required": ["specversion", "id", "source", "type", "data"],
        },
        "CloudEventAnswer": {
            "type": "object",
            "properties": {
                **dict.fromkeys(("specversion", "id", "time", "datacontenttype", "data_base64"), _TEXT),
                "source": {**_TEXT, "example": f"io.kserve.inference.{models[0]}"},
                "type": {**_TEXT, "example": "io.kserve.inference.response"},
                "data": {"type": "object"},
            },
            "required": ["specversion", "id", "source", "type"],
        },
    }


V1_EXAMPLE: Final = {"instances": [{"image": {"b64": PICTURE}}]}
V2_EXAMPLE: Final = {"inputs": [{"name": INPUT_NAME, "datatype": "BYTES", "shape": [1], "data": [PICTURE]}]}
V2_OUTPUTS_EXAMPLE: Final = {
    **V2_EXAMPLE,
    "id": "mine",
    "outputs": [
        {"name": OUTPUT_NAME, "parameters": {"classification": 3}},
        {"name": "class_name"},
        {"name": "confidence"},
    ],
}


def event_example(data: dict[str, Any]) -> dict[str, Any]:
    """Puts a request into a structured event."""
    return {
        "specversion": "1.0",
        "id": "36",
        "source": "https://shop.example/pictures",
        "type": "shop.picture",
        "data": data,
    }
