"""LitServe, run by a Python of its own: `… PORT`; see `model` for the environment.

Settings: `workers`, `servers` (processes that speak HTTP), `batch`, `timeout` (seconds a batch waits) and
`fast_queue`, as its pages on batching and on speed have them.
"""

import sys
from typing import Annotated, Any

import litserve  # type: ignore[import-not-found] # of a Python of its own
from fastapi import Body, Response

from benchmarks.competitors.model import Model, settings


class Api(litserve.LitAPI):  # type: ignore[misc] # litserve is not there for mypy
    """Bodies as they are; in batches if so set."""

    def setup(self, device: str) -> None:
        self.model = Model()

    def decode_request(self, request: Annotated[bytes, Body(media_type="image/jpeg")]) -> bytes:
        return request

    def batch(self, inputs: list[bytes]) -> list[bytes]:
        return inputs

    def predict(self, x: Any) -> Any:
        return self.model.answers(x) if isinstance(x, list) else self.model.answer(x)

    def unbatch(self, output: list[bytes]) -> list[bytes]:
        return output

    def encode_response(self, output: bytes) -> Response:
        return Response(output, media_type="application/json")


if __name__ == "__main__":
    wanted = settings()
    api = Api(
        api_path="/predict", max_batch_size=wanted.get("batch", 1), batch_timeout=wanted.get("timeout", 0.0)
    )
    server = litserve.LitServer(
        api,
        accelerator="cpu",
        workers_per_device=wanted.get("workers", 1),
        fast_queue=wanted.get("fast_queue", False),
    )
    server.run(
        host="127.0.0.1",
        port=int(sys.argv[1]),
        num_api_servers=wanted.get("servers", 1),
        log_level="warning",
        generate_client_file=False,
        access_log=False,
    )
