"""v2's routes about models: description, configuration, statistics, index; and what of v2 is not offered.

As Triton has them (https://github.com/triton-inference-server/server/tree/main/docs/protocol). What would
change the server is refused with the reason; what tells how it stands answers that there is nothing.
"""

import asyncio
from collections.abc import Awaitable, Callable
from typing import Any, Final

import orjson

from image_transformer.codecs.management import REFUSED
from image_transformer.codecs.v2 import invalid, parse_json
from image_transformer.errors import ServiceError
from image_transformer.http.request import Request, Response
from image_transformer.inference.answer import Inference

_SHARED: Final = ("/v2/systemsharedmemory/", "/v2/cudasharedmemory/")

Handler = Callable[[Request], Awaitable[Response]]


class ManagementRoutes:
    """What begins with /v2/models, /v2/repository, or with an extension that is not offered."""

    def __init__(self, inference: Inference) -> None:
        self._inference = inference
        self._catalogue = inference.catalogue
        self._about: dict[str, Callable[[str, str | None], Awaitable[dict[str, Any]]]] = {
            "": self._catalogue.metadata,
            "config": self._catalogue.configuration,
            "stats": self._catalogue.statistics,
            "ready": self._ready,
        }
        self._whole: dict[str, tuple[str, Handler]] = {
            "/v2/models": ("GET", self._models),
            "/v2/models/stats": ("GET", self._statistics),
            "/v2/repository/index": ("POST", self._index),
        }

    def find(self, path: str, method: str) -> tuple[str, str, Handler] | None:
        """Returns a route's name for the metrics, its method and its handler; None for what is not here.

        Args:
            path: The request's.
            method: The request's; some routes take two.
        """
        if (whole := self._whole.get(path)) is not None:
            return path, *whole
        _, v2, extension, *_ = [*path.split("/"), "", ""]
        if v2 != "v2":
            return None
        if extension == "models":
            _, version, verb = _named(path)
            route = "/v2/models/NAME" if version is None else "/v2/models/versions"
            # What is no route, such as /generate, has no right method either.
            any_method = verb not in self._about and (verb != "trace/setting" or method == "POST")
            return route, method if any_method else "GET", self._model
        if extension in REFUSED:
            changes = extension == "repository" or method == "POST"
            return f"/v2/{extension}", "POST" if changes else "GET", self._refused
        return None

    async def _models(self, request: Request) -> Response:
        return _json({"models": await self._catalogue.names()})

    async def _statistics(self, request: Request) -> Response:
        return _json(await self._catalogue.statistics())

    async def _model(self, request: Request) -> Response:
        """What is asked about one model; see `_named`."""
        name, version, verb = _named(request.path)
        if verb == "trace/setting":
            await self._catalogue.ready(name, version)
            return self._state(request.method, "trace")
        if verb not in self._about:
            await self._catalogue.ready(name)
            raise ServiceError("unknown_route", "There is no such route; /info and the README list them.")
        return _json(await self._about[verb](name, version))

    async def _index(self, request: Request) -> Response:
        """The index of the repository, with `{"ready": true}` that of what is ready alone."""
        body = await request.body()
        # In a thread, as it may be as long as a request with pictures.
        ready = (await asyncio.to_thread(parse_json, body)).get("ready", False) if body.strip() else False
        if not isinstance(ready, bool):
            raise invalid("The field `ready` is neither true nor false; send one of them, or none.")
        return _json(await self._catalogue.index(ready_only=ready))

    async def _refused(self, request: Request) -> Response:
        if request.path.startswith(_SHARED) and request.path.endswith("/unregister"):
            return Response(200, b"")  # as Triton, where nothing of that name is registered
        return self._state(request.method, request.path.split("/")[2])

    def _state(self, method: str, extension: str) -> Response:
        """How an extension that is not offered stands: there is nothing; a change is refused."""
        if method == "GET":
            return _json({} if extension in {"trace", "logging"} else [])
        raise ServiceError("not_offered", REFUSED[extension])

    async def _ready(self, name: str, version: str | None) -> dict[str, Any]:
        if not await self._inference.catalogue.ready(name, version):
            raise self._inference.triton.unavailable()
        return {"name": name, "ready": True}


def _named(path: str) -> tuple[str, str | None, str]:
    """Takes `/v2/models/NAME[/versions/VERSION][/VERB]` apart: name, version if any, verb or nothing."""
    name, _, verb = path.removeprefix("/v2/models/").partition("/")
    if not verb.startswith("versions/"):
        return name, None, verb
    version, _, verb = verb.removeprefix("versions/").partition("/")
    return name, version, verb


def _json(content: object) -> Response:
    return Response(200, orjson.dumps(content))
