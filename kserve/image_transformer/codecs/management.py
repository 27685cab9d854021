"""Triton's management extensions: configuration, statistics and index as its JSON has them. No I/O.

The dictionaries are protobuf's JSON form of `ModelConfig` and `ModelStatistics`, numbers as numbers, so that
gRPC's messages can be parsed from them
(https://github.com/triton-inference-server/server/tree/main/docs/protocol).
"""

from collections.abc import Mapping
from typing import Any, Final

from image_transformer.observe.statistics import Duration, Statistics
from model.contract import INPUT_NAME

REFUSED: Final = {
    "repository": "Models are not loaded or unloaded here; promote a version.",
    "systemsharedmemory": "System shared memory is not offered, as clients are on other machines; "
    "send tensors in the request.",
    "cudasharedmemory": "CUDA shared memory is not offered, as nothing here has a GPU's memory; "
    "send tensors in the request.",
    "trace": "Trace settings are not changed by requests; Triton has its own.",
    "logging": "Log settings are not changed by requests; set CNN_IMAGE_LOG_REQUESTS.",
}
"""What would change a server and is not offered, by the extension's name in v2's paths."""

_NOTHING: Final = {"count": 0, "ns": 0}


def configuration(
    name: str, max_batch_size: int, outputs: Mapping[str, tuple[int, ...]], parameters: Mapping[str, str]
) -> dict[str, Any]:
    """Describes a model as it is offered here: encoded images in, of which a request may have so many.

    Args:
        name: The model's.
        max_batch_size: Images in one request.
        outputs: FP32 outputs by name, with the shape of one image's.
        parameters: The lineage, as the version's own configuration has it.
    """
    return {
        "name": name,
        "platform": "",
        "backend": "",
        "version_policy": {"latest": {"num_versions": 1}},
        "max_batch_size": max_batch_size,
        "input": [
            {
                "name": INPUT_NAME,
                "data_type": "TYPE_STRING",
                "format": "FORMAT_NONE",
                "dims": [1],
                "reshape": {"shape": []},
                "is_shape_tensor": False,
                "allow_ragged_batch": False,
                "optional": False,
            }
        ],
        "output": [
            {
                "name": output,
                "data_type": "TYPE_FP32",
                "dims": list(shape),
                "label_filename": "",
                "is_shape_tensor": False,
            }
            for output, shape in outputs.items()
        ],
        "batch_input": [],
        "batch_output": [],
        "instance_group": [],
        "default_model_filename": "",
        "cc_model_filenames": {},
        "metric_tags": {},
        "parameters": {key: {"string_value": text} for key, text in parameters.items()},
        "model_warmup": [],
    }


def statistics(name: str, version: str, counted: Statistics) -> dict[str, Any]:
    """One version's numbers, as an element of `model_stats`: decoding is `compute_input`."""
    answered = counted.success.count
    return {
        "name": name,
        "version": version,
        "last_inference": int(counted.last * 1000),
        "inference_count": counted.images,
        "execution_count": counted.executions,
        "inference_stats": {
            "success": _duration(counted.success),
            "fail": _duration(counted.fail),
            "queue": _duration(Duration(answered, counted.queue_seconds)),
            "compute_input": _duration(Duration(answered, counted.decode_seconds)),
            "compute_infer": _duration(Duration(answered, counted.infer_seconds)),
            "compute_output": _duration(Duration(answered, counted.output_seconds)),
            "cache_hit": _NOTHING,
            "cache_miss": _NOTHING,
        },
        "response_stats": {},
        "batch_stats": [
            {
                "batch_size": size,
                "compute_input": {"count": batch.infer.count, "ns": 0},
                "compute_infer": _duration(batch.infer),
                "compute_output": _duration(batch.output),
            }
            for size, batch in sorted(counted.batches.items())
        ],
        "memory_usage": [],
    }


def _duration(duration: Duration) -> dict[str, int]:
    return {"count": duration.count, "ns": int(duration.seconds * 1e9)}
