#!/usr/bin/env bash
# kserve 0.21.0 (Python SDK): with which headers v1's two verbs are answered.
#
# Expected: `:predict` and `:explain` of one model answer with the headers that the model gives, beside the usual ones.
# Seen: `:explain` answers with the request's own headers, all but Content-Length, hop-by-hop ones such as Connection among
#       them; `:predict` with none of them. (`DataPlane.explain` begins the response's headers with the request's.)
set -euo pipefail
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
python3.11 -m venv "$work/venv"
"$work/venv/bin/pip" install -q --disable-pip-version-check kserve==0.21.0 fastapi==0.165.0 httpx==0.28.1
"$work/venv/bin/python" -W ignore - <<'PY'
import asyncio

import httpx
from fastapi import FastAPI
from kserve import Model
from kserve.model_repository import ModelRepository
from kserve.protocol.dataplane import DataPlane
from kserve.protocol.rest.v1_endpoints import register_v1_endpoints

SENT = {"X-Tenant": "blue", "Accept-Language": "en", "Connection": "keep-alive"}


class Answering(Model):
    def __init__(self) -> None:
        super().__init__("model")
        self.ready = True

    def predict(self, payload: dict, headers: dict | None = None) -> dict:
        return {"predictions": [1]}

    def explain(self, payload: dict, headers: dict | None = None) -> dict:
        return {"explanations": [1]}


async def came_back(verb: str) -> list[str]:
    models = ModelRepository()
    models.update(Answering())
    app = FastAPI()
    register_v1_endpoints(app, DataPlane(model_registry=models), None)
    transport = httpx.ASGITransport(app)
    async with httpx.AsyncClient(transport=transport, base_url="http://service.example") as client:
        answer = await client.post(f"/v1/models/model:{verb}", json={"instances": [[1]]}, headers=SENT)
    assert answer.status_code == 200, answer.text
    return [name for name, value in SENT.items() if answer.headers.get(name) == value]


seen = {verb: asyncio.run(came_back(verb)) for verb in ("predict", "explain")}
for verb, names in seen.items():
    print(f":{verb} gives back {', '.join(names) or 'none'} of the request's headers")
raise SystemExit(seen != {"predict": [], "explain": list(SENT)})
PY
echo "As seen before."
