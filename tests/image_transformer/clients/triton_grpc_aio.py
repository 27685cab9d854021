"""tritonclient.grpc.aio against the transformer: `python triton_grpc_aio.py ADDRESS`; fails at a surprise."""

import asyncio
import sys
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import tritonclient.grpc.aio as grpc
from tritonclient.utils import InferenceServerException

EXAMPLES = Path(__file__).parents[3] / "model" / "sample" / "examples"
MODEL = "cnn-image"
JPEG = (EXAMPLES / "dog.jpg").read_bytes()


def encoded(image: bytes) -> Any:
    made = grpc.InferInput("image", [1], "BYTES")
    made.set_data_from_numpy(np.array([image], object))
    return made


async def main() -> None:
    async with grpc.InferenceServerClient(sys.argv[1]) as client:
        assert await client.is_server_live()
        assert await client.is_server_ready()
        assert await client.is_model_ready(MODEL, "7")
        assert (await client.get_model_metadata(MODEL)).inputs[0].datatype == "BYTES"
        assert (await client.get_model_config(MODEL)).config.max_batch_size == 256
        assert (await client.get_model_repository_index()).models[0].state == "READY"
        assert (await client.get_inference_statistics()).model_stats
        answers = await asyncio.gather(*(client.infer(MODEL, [encoded(JPEG)]) for _ in range(50)))
        probs = answers[0].as_numpy("probs")
        assert all(np.array_equal(answer.as_numpy("probs"), probs) for answer in answers)
        with pytest.raises(InferenceServerException) as raised:
            await client.load_model(MODEL)
        assert raised.value.status() == "StatusCode.UNIMPLEMENTED"

        async def messages() -> AsyncIterator[dict[str, Any]]:
            for number in range(300):
                image = b"no image" if number % 2 else JPEG
                yield {"model_name": MODEL, "inputs": [encoded(image)], "request_id": str(number)}

        number = 0
        async for result, error in client.stream_infer(messages()):
            if number % 2:
                assert "not an image" in str(error), error
            else:
                assert error is None, error
                assert result.get_response().id == str(number)
                np.testing.assert_allclose(result.as_numpy("probs"), probs, atol=1e-6)
            number += 1
        assert number == 300


asyncio.run(main())
