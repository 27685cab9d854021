"""Triton's management extensions: configuration, statistics and index as its JSON has them. No I/O.

The dictionaries are protobuf's JSON form of `ModelConfig` and `ModelStatistics`, numbers as numbers, so that
gRPC's messages can be parsed from them
(https://github.com/triton-inference-server/server/tree/main/docs/protocol).
"""

import time
from collections.abc import Mapping
from typing import Any, Final

from image_transformer.observe.statistics import Statistics
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
    answered = counted.successes
    last = time.time() - (time.perf_counter() - counted.last) if counted.last else 0
    return {
        "name": name,
        "version": version,
        "last_inference": int(last * 1000),
        "inference_count": counted.images,
        "execution_count": sum(calls.count for calls in counted.calls.values()),
        "inference_stats": {
            "success": _duration(answered, counted.success_seconds),
            "fail": _duration(counted.failures, counted.failure_seconds),
            "queue": _duration(answered, counted.queue_seconds),
            "compute_input": _duration(answered, counted.decode_seconds),
            "compute_infer": _duration(answered, counted.infer_seconds),
            "compute_output": _duration(answered, counted.output_seconds),
            "cache_hit": _duration(0, 0),
            "cache_miss": _duration(0, 0),
        },
        "response_stats": {},
        "batch_stats": [
            {
                "batch_size": images,
                # Pictures are decoded before it is known which of them go together.
                "compute_input": _duration(0, 0),
                "compute_infer": _duration(calls.count, calls.infer_seconds),
                "compute_output": _duration(calls.count, calls.output_seconds),
            }
            for images, calls in sorted(counted.calls.items())
        ],
        "memory_usage": [],
    }


def _duration(count: int, seconds: float) -> dict[str, int]:
    return {"count": count, "ns": int(seconds * 1e9)}
