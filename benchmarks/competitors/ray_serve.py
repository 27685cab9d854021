"""Ray Serve, run by a Python of its own: `… PORT`; see `model` for the environment.

Settings: `replicas`, `batch`, `wait` (seconds), `ongoing` requests a replica takes. Its own flags for
throughput are set by who starts it.
"""

import sys
import time

import ray  # type: ignore[import-not-found] # of a Python of its own
from ray import serve
from starlette.requests import Request
from starlette.responses import Response

from benchmarks.competitors.model import Model, settings

wanted = settings()


@serve.deployment(
    num_replicas=wanted.get("replicas", 1),
    max_ongoing_requests=wanted.get("ongoing", 100),
    ray_actor_options={"num_cpus": 1},
)
class Answer:
    """A replica with a session of its own."""

    def __init__(self) -> None:
        self._model = Model()

    # Ray is not there for mypy.
    @serve.batch(max_batch_size=wanted.get("batch", 1), batch_wait_timeout_s=wanted.get("wait", 0.0))  # type: ignore[untyped-decorator]
    async def together(self, bodies: list[bytes]) -> list[bytes]:
        return self._model.answers(bodies)

    async def __call__(self, request: Request) -> Response:
        body = await request.body()
        answer = await self.together(body) if wanted.get("batch", 1) > 1 else self._model.answer(body)
        return Response(answer, media_type="application/json")


if __name__ == "__main__":
    ray.init(num_cpus=8, include_dashboard=False, log_to_driver=False)
    serve.start(
        http_options={"host": "127.0.0.1", "port": int(sys.argv[1])},
        logging_config={"enable_access_log": False},
    )
    serve.run(
        Answer.bind(),  # type: ignore[attr-defined] # ray is not there for mypy
        route_prefix="/predict",
    )
    while True:
        time.sleep(60)
