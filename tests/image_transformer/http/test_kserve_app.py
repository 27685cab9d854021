"""Errors of kserve's own routes, in our words."""

import httpx
from fastapi import FastAPI

from image_transformer.http.kserve_app import use_our_errors
from image_transformer.observe.metrics import Metrics
from image_transformer.observe.requests import Observer


async def test_another_method_is_told_which_there_are() -> None:
    async def route() -> None: ...

    app = FastAPI()
    app.add_api_route("/", route, methods=["GET"])
    app.add_api_route("/load", route, methods=["POST"])
    metrics = Metrics()
    use_our_errors(app, Observer(metrics, log_all=False))
    client = httpx.AsyncClient(transport=httpx.ASGITransport(app), base_url="http://here")
    for method, path, allowed in (("POST", "/", "GET, HEAD"), ("GET", "/load", "POST")):
        answer = await client.request(method, path, headers={"x-request-id": "mine"})
        assert (answer.status_code, answer.headers["allow"]) == (405, allowed)
        assert answer.json()["code"] == "method_not_allowed"
    assert "allow" not in (await client.get("/nothing")).headers
    assert metrics.errors == {"method_not_allowed": 2, "unknown_route": 1}
