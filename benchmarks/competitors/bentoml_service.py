"""BentoML, run by a Python of its own (`bentoml serve benchmarks.competitors.bentoml_service:KIND`).

Settings: `workers`, and for `Batched` `batch` and `latency_ms`. See `model` for the environment.
"""

import base64
from typing import Any

import bentoml  # type: ignore[import-not-found] # of a Python of its own
import orjson
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import PlainTextResponse, Response
from starlette.routing import Route

from benchmarks.competitors.model import Model, settings

wanted = settings()
options: dict[str, Any] = {
    "workers": wanted.get("workers", 1),
    "metrics": {"enabled": False},
    "logging": {"access": {"enabled": False}},
    "traffic": {"timeout": 60},
}


@bentoml.service(**options)
class Batched:
    """As its page on adaptive batching has it: a list of images goes in, base64 in JSON."""

    def __init__(self) -> None:
        self._model = Model()

    @bentoml.api(  # type: ignore[untyped-decorator] # bentoml is not there for mypy
        route="/predict",
        batchable=True,
        max_batch_size=wanted.get("batch", 32),
        max_latency_ms=wanted.get("latency_ms", 1000),
    )
    async def predict(self, images: list[str]) -> list[list[float]]:
        pixels = [self._model.pixels(base64.b64decode(image)) for image in images]
        return [orjson.loads(answer)["probabilities"] for answer in self._model.probabilities(pixels)]


async def _predict(request: Request) -> Response:
    return Response(_model[0].answer(await request.body()), media_type="application/json")


async def _health(_: Request) -> Response:
    return PlainTextResponse("ok")


_model: list[Model] = []
_app = Starlette(routes=[Route("/predict", _predict, methods=["POST"]), Route("/health", _health)])


@bentoml.service(**options)
@bentoml.asgi_app(_app, path="/")
class Mounted:
    """As its page on ASGI integration has it: an application of one's own under its server."""

    def __init__(self) -> None:
        _model.append(Model())
