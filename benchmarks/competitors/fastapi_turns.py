"""FastAPI with ONNX Runtime in process, tuned further than `fastapi_onnx`: see `model` for the environment.

Settings: `batch` (default 1) is how many requests are asked for together at most. All that one turn of the
event loop has read are there at once, so nobody waits for anybody.
"""

import asyncio

from fastapi import FastAPI, Request, Response

from benchmarks.competitors.model import Model, settings

model = Model()
most = int(settings().get("batch", 1))
app = FastAPI()
waiting: list[tuple[bytes, "asyncio.Future[bytes]"]] = []


@app.get("/health")
async def health() -> dict[str, str]:
    return {"status": "ok"}


def answer_waiting() -> None:
    """Answers what has come; what is more than `most` in turns."""
    while waiting:
        now = waiting[:most]
        del waiting[:most]
        for (_, future), answer in zip(now, model.answers([body for body, _ in now]), strict=True):
            if not future.done():
                future.set_result(answer)


@app.post("/predict")
async def predict(request: Request) -> Response:
    body = await request.body()
    if most == 1:
        return Response(model.answer(body), media_type="application/json")
    loop = asyncio.get_running_loop()
    future = loop.create_future()
    waiting.append((body, future))
    if len(waiting) == 1:
        loop.call_soon(answer_waiting)
    return Response(await future, media_type="application/json")
