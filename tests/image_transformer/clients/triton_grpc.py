"""tritonclient.grpc against the transformer: `python triton_grpc.py ADDRESS`; fails at the first surprise."""

import queue
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import tritonclient.grpc as grpc
from tritonclient.utils import InferenceServerException

EXAMPLES = Path(__file__).parents[3] / "model" / "sample" / "examples"
MODEL, FILTERS = "cnn-image", "cnn-image-filters"
JPEG = (EXAMPLES / "dog.jpg").read_bytes()


def encoded(*images: bytes) -> Any:
    made = grpc.InferInput("image", [len(images)], "BYTES")
    made.set_data_from_numpy(np.array(images, object))
    return made


def refused(status: str, ask: Any, *arguments: Any, **named: Any) -> str:
    with pytest.raises(InferenceServerException) as raised:
        ask(*arguments, **named)
    assert raised.value.status() == f"StatusCode.{status}", raised.value
    return str(raised.value.message())


def manage(client: grpc.InferenceServerClient) -> None:
    config = client.get_model_config(MODEL, as_json=True)["config"]
    assert config["input"][0]["data_type"] == "TYPE_STRING", config
    assert config["max_batch_size"] == 256, config
    assert client.get_model_config(FILTERS).config.output[0].dims == [32, 32, 12]
    index = {model.name: model for model in client.get_model_repository_index().models}
    assert {name: (one.version, one.state) for name, one in index.items()} == {
        MODEL: ("7", "READY"),
        FILTERS: ("7", "READY"),
    }
    (before,) = client.get_inference_statistics(MODEL).model_stats
    client.infer(MODEL, [encoded(JPEG, JPEG)])
    (after,) = client.get_inference_statistics(MODEL, "7").model_stats
    assert after.inference_count == before.inference_count + 2
    assert after.inference_stats.success.count == before.inference_stats.success.count + 1
    assert after.inference_stats.success.ns > before.inference_stats.success.ns
    assert {one.name for one in client.get_inference_statistics().model_stats} == {MODEL, FILTERS}
    refused("NOT_FOUND", client.get_model_config, "other")
    refused("NOT_FOUND", client.get_inference_statistics, MODEL, "6")


def refuse(client: grpc.InferenceServerClient) -> None:
    assert "promote" in refused("UNIMPLEMENTED", client.load_model, MODEL)
    assert "promote" in refused("UNIMPLEMENTED", client.unload_model, MODEL)
    assert not client.get_trace_settings(MODEL).settings
    assert not client.get_log_settings().settings
    refused("UNIMPLEMENTED", client.update_trace_settings, settings={"trace_level": ["TIMESTAMPS"]})
    refused("UNIMPLEMENTED", client.update_log_settings, {"log_verbose_level": 1})
    client.unregister_system_shared_memory()  # what examples begin with
    client.unregister_cuda_shared_memory()
    assert not client.get_system_shared_memory_status().regions
    assert not client.get_cuda_shared_memory_status().regions
    said = refused("UNIMPLEMENTED", client.register_system_shared_memory, "mine", "/mine", 1000)
    assert "other machines" in said
    refused("UNIMPLEMENTED", client.register_cuda_shared_memory, "mine", b"aGFuZGxl", 0, 1000)
    inside = grpc.InferInput("image", [1], "BYTES")
    inside.set_shared_memory("mine", 1000)
    outside = grpc.InferRequestedOutput("probs")
    outside.set_shared_memory("mine", 1000)
    for tensors, outputs in (([inside], None), ([encoded(JPEG)], [outside])):
        said = refused("INVALID_ARGUMENT", client.infer, MODEL, tensors, outputs=outputs)
        assert said.startswith("Shared memory is not offered, as clients are on other machines")
    for algorithm in ("gzip", "deflate"):
        said = refused("UNIMPLEMENTED", client.infer, MODEL, [encoded(JPEG)], compression_algorithm=algorithm)
        assert said == f"Compression algorithm '{algorithm}' is disabled."


def filters(client: grpc.InferenceServerClient) -> None:
    pixels = np.arange(3072, dtype=np.uint8).reshape(1, 32, 32, 3)
    tensor = grpc.InferInput("image", [1, 32, 32, 3], "UINT8")
    tensor.set_data_from_numpy(pixels)
    answer = client.infer(FILTERS, [tensor])
    # The stand-in for the filters gives the image four times.
    np.testing.assert_array_equal(answer.as_numpy("filtered"), np.tile(pixels, 4).astype(np.float32))
    assert client.infer(FILTERS, [encoded(JPEG, JPEG)]).as_numpy("filtered").shape == (2, 32, 32, 12)
    wanted = [grpc.InferRequestedOutput("probs")]
    assert "'filtered'" in refused("INVALID_ARGUMENT", client.infer, FILTERS, [tensor], outputs=wanted)


def stream(client: grpc.InferenceServerClient) -> None:
    """Some thousand messages, each third one faulty; every callback in turn."""
    told: queue.Queue[tuple[Any, Any]] = queue.Queue()
    client.start_stream(lambda result, error: told.put((result, error)))
    image, broken, count = [encoded(JPEG)], [encoded(b"no image")], 3000
    for number in range(count):
        client.async_stream_infer(
            "other" if number % 6 == 2 else MODEL,
            broken if number % 6 == 5 else image,
            request_id=str(number),
            enable_empty_final_response=number % 2 == 0,
        )
    for number in range(count):
        result, error = told.get(timeout=60)
        if number % 3 == 2:
            assert "other" in str(error) if number % 6 == 2 else "not an image" in str(error), error
            continue
        assert error is None, error
        assert result.get_response().id == str(number)
        assert result.get_response().parameters["triton_final_response"].bool_param is True
        assert result.as_numpy("probs").shape == (1, 5)
    client.async_stream_infer(FILTERS, image, request_id="filters")
    result, error = told.get(timeout=60)
    assert error is None, error
    assert result.as_numpy("filtered").shape == (1, 32, 32, 12)
    client.stop_stream()
    assert told.empty()


if __name__ == "__main__":
    with grpc.InferenceServerClient(sys.argv[1]) as connected:
        for part in (manage, refuse, filters, stream):
            part(connected)
