"""The transformer's own routes, answered ahead of kserve's routing.

FastAPI and kserve's middlewares cost more than all of a request's other work here. What is not listed below
goes on to kserve's own application: `/metrics`, health, the server's metadata, v1's lists.
"""

import asyncio
import logging
from collections.abc import Awaitable, Callable
from functools import partial
from typing import Final, ParamSpec, TypeVar
from urllib.parse import parse_qs

import orjson

from image_transformer.codecs.explanation import (
    check_explain,
    explain_of,
    explained_prediction,
    v1_explanation,
)
from image_transformer.codecs.predict import prediction, uploaded
from image_transformer.codecs.tensors import Filtered, Images, Probabilities
from image_transformer.codecs.v1 import V1Request, v1_answer, v1_request
from image_transformer.codecs.v2 import answer, parse_json, parse_request
from image_transformer.errors import ClientGoneError, ServiceError
from image_transformer.http.encodings import WORTH, accepted, folded
from image_transformer.http.events import Event, is_event, unwrapped, wrapped
from image_transformer.http.http1.cycle import Cycle
from image_transformer.http.info import information
from image_transformer.http.management import Handler, ManagementRoutes
from image_transformer.http.openapi.document import document
from image_transformer.http.openapi.page import docs_page, docs_part
from image_transformer.http.request import Receive, Request, Response, Scope, Send
from image_transformer.inference.answer import Inference
from image_transformer.inference.catalogue import check_version, unknown_model
from image_transformer.inference.held import Held
from image_transformer.inference.offers import Offer, offers
from image_transformer.observe.requests import Observation, Observer
from image_transformer.training.routes import TrainRoutes
from model.contract import DEFAULT_CONTRACT

P = ParamSpec("P")
T = TypeVar("T")
ASGIApp = Callable[[Scope, Receive, Send], Awaitable[None]]

# From here on, taking a body apart is left to a thread: the event loop has other clients.
_LARGE_BODY: Final = 256 * 1024
# Answers longer than that which clients have not taken yet: a client that takes none must not cost memory.
_ANSWERS_BYTES: Final = 64_000_000

# How the metrics call it: what takes a thousand times as long must not change what /predict seems to take.
_EXPLAINING: Final = "/predict?explain=true"

log = logging.getLogger(__name__)


class Routes:
    """An ASGI application in front of another one."""

    def __init__(self, inference: Inference, observer: Observer, train: TrainRoutes, behind: ASGIApp) -> None:
        self._inference = inference
        self._settings = inference.settings
        self._observer = observer
        self._train = train
        self._behind = behind
        self._answers = Held(_ANSWERS_BYTES)
        model = self._settings.model_name
        self._management = ManagementRoutes(inference)
        self._offers = offers(inference)
        classifier, filters = self._offers.values()
        self._handlers: dict[str, tuple[str, Handler]] = {
            "/predict": ("POST", self._predict),
            f"/v1/models/{model}:explain": ("POST", self._v1_explained),
            "/train": ("POST", train.start),
            "/health": ("GET", self._health),
            "/info": ("GET", self._info),
            f"/v2/models/{filters.triton.model}/infer": ("POST", partial(self._infer, filters)),
            "/openapi.json": ("GET", self._openapi),
            "/docs": ("GET", self._docs),
        }
        if self._settings.fast_routes:
            self._handlers[f"/v2/models/{model}/infer"] = ("POST", partial(self._infer, classifier))
            self._handlers[f"/v1/models/{model}:predict"] = ("POST", self._v1)

        # Paths that begin with the first and contain the second; these handlers see to the method themselves.
        self._families: list[tuple[str, str, str, Handler]] = [
            ("/train/", "", "/train/NAME", self._training),
            ("/docs/", "", "/docs/FILE", self._docs_part),
        ]
        if self._settings.fast_routes:
            self._families.append(("/v1/models/", ":", "/v1/models/predict", self._other_model))

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answers a request, or passes it on."""
        if scope["type"] != "http":
            await self._behind(scope, receive, send)
            return
        if scope["method"] == "HEAD":  # as GET; uvicorn, whose own scope this is not, leaves out the body
            scope = {**scope, "method": "GET"}
        found = self._find(scope["path"], scope["method"])
        if b"explain" in scope["query_string"] and scope["path"] == "/predict":
            found = self._predict_by_query(scope["query_string"].decode("latin-1")) or found
        if found is None:
            await self._behind(scope, receive, send)
        else:
            await self._answer(*found, Request(scope, receive, self._settings, self._inference.held), send)

    def _find(self, path: str, method: str) -> tuple[str, str, Handler] | None:
        """Returns a route's name for the metrics, its method and its handler; None for kserve's routes."""
        if (handler := self._handlers.get(path)) is not None:
            return path, *handler
        for start, part, route, any_method in self._families:
            if path.startswith(start) and part in path:
                return route, method, any_method
        if path.startswith("/v2/models/") and path.endswith("/infer"):
            if "/versions/" in path:
                return "/v2/models/versions", "POST", self._versioned
            if self._settings.fast_routes:
                return "/v2/models/infer", "POST", self._other_model
            return None
        return self._management.find(path, method)

    def _predict_by_query(self, query: str) -> tuple[str, str, Handler] | None:
        return (_EXPLAINING, "POST", self._predict_explained) if explain_of(query) != "false" else None

    async def _answer(self, route: str, method: str, handler: Handler, request: Request, send: Send) -> None:
        traced = request.headers if method == "POST" else None
        with self._observer.request(route, request.id, traced) as observation:
            large = 0
            try:
                if request.method != method:
                    raise ServiceError("method_not_allowed", f"This route takes {method} alone; use that.")
                response = await handler(request)
                if len(response.body) > _LARGE_BODY:
                    wanted = min(len(response.body), _ANSWERS_BYTES)  # the largest of all goes alone
                    self._answers.take(wanted)
                    large = wanted
            except ClientGoneError:
                return
            except (Exception, asyncio.CancelledError) as error:
                response = self._failed(error, request, method, observation)
            finally:
                request.release()
            observation.status = response.status
            try:
                await _send(response, request, send, self._settings.body_seconds)
            finally:
                if large:
                    self._answers.give_back(large)

    def _failed(
        self, error: BaseException, request: Request, method: str, observation: Observation
    ) -> Response:
        # Not in `_answer`, whose frame the error's traceback has: what it holds, it would hold in a cycle.
        failure = self._explain(error, request)
        observation.failed(failure)
        return _told(failure, request, method)

    def _explain(self, error: BaseException, request: Request) -> ServiceError:
        if isinstance(error, ServiceError):
            return error
        if isinstance(error, asyncio.CancelledError):  # uvicorn's patience is over
            if not self._inference.closing:
                raise error
            return ServiceError("shutting_down", "The service is shutting down; try again.")
        log.error("a request failed for a reason of ours", exc_info=error, extra={"request_id": request.id})
        return ServiceError("internal", "The service failed; its log has the reason by the request's id.")

    # The routes, in the order of README.md's table
    async def _predict(self, request: Request) -> Response:
        body = await request.body()
        content_type = request.header(b"content-type")
        if len(body) < _LARGE_BODY:
            encoded, many = uploaded(content_type, body, self._settings.max_images)
        else:
            encoded, many = await _apart(body, uploaded, content_type, body, self._settings.max_images)
        del body  # images out of a form are copies
        result = await self._inference.classify(Images(encoded), request.alive)
        return _answered(result, prediction(result, many=many))

    async def _predict_explained(self, request: Request) -> Response:
        check_explain(request.query)
        body = await request.body()
        content_type = request.header(b"content-type")
        encoded, _ = await _apart(body, uploaded, content_type, body, self._settings.max_images)
        images = Images(encoded)
        del body, encoded
        explanation = await self._inference.explain(images, request.alive, request.release)
        # In a thread: of 224 pixels the map is 50,000 numbers and a picture.
        content = await asyncio.to_thread(explained_prediction, explanation)
        return _answered(explanation.answer, content)

    async def _infer(self, offer: Offer, request: Request, version: str | None = None) -> Response:
        request.check_json()
        body = await request.body()
        event = None
        if is_event(request.headers):
            event, body = await _apart(body, unwrapped, request.headers, body)
        length = request.header(b"inference-header-content-length") or None
        asked = body, length, version, self._settings.max_images, offer.triton.shapes, offer.outputs
        parsed = (
            parse_request(*asked) if len(body) < _LARGE_BODY else await _apart(body, parse_request, *asked)
        )
        result = await offer.answer(parsed.images, request.alive)
        content, json_length = answer(offer.triton.model, parsed, result)
        if json_length is None:
            response = _answered(result, content)
        else:
            response = _answered(
                result,
                content,
                (b"inference-header-content-length", str(json_length).encode()),
                content_type=b"application/octet-stream",
            )
        return response if event is None else wrapped(event, offer.triton.model, response)

    async def _v1(self, request: Request) -> Response:
        event, parsed = await self._v1_asked(request)
        result = await self._inference.classify(Images(parsed.images), request.alive)
        response = _answered(result, v1_answer(parsed.key, result))
        return response if event is None else wrapped(event, self._settings.model_name, response)

    async def _v1_explained(self, request: Request) -> Response:
        event, parsed = await self._v1_asked(request)
        key, images = parsed.key, Images(parsed.images)
        del parsed
        explanation = await self._inference.explain(images, request.alive, request.release)
        content = await asyncio.to_thread(v1_explanation, key, explanation)
        response = _answered(explanation.answer, content)
        return response if event is None else wrapped(event, self._settings.model_name, response)

    async def _v1_asked(self, request: Request) -> tuple[Event | None, V1Request]:
        """Returns a body of v1 taken apart, and the event that it came in, if it came in one."""
        request.check_json()
        body = await request.body()
        event = None
        if is_event(request.headers):
            event, body = await _apart(body, unwrapped, request.headers, body)
        parsed = await _apart(body, lambda: v1_request(parse_json(body), self._settings.max_images))
        return event, parsed

    async def _health(self, request: Request) -> Response:
        if self._inference.closing:
            raise ServiceError("shutting_down", "The service is shutting down; try again elsewhere.")
        if not self._inference.ready:
            raise self._inference.triton.unavailable()
        return _json({"status": "healthy", "model": self._settings.model_name, "version": self._version})

    async def _info(self, request: Request) -> Response:
        triton = self._inference.triton
        if not triton.ready:
            raise triton.unavailable()
        (asked,) = parse_qs(request.query).get("version", [triton.known[0].version])[-1:]
        check_version(triton, asked)
        served = next(one for one in triton.known if one.version == asked)
        return _json(information(self._settings, served, self._versions))

    async def _openapi(self, request: Request) -> Response:
        triton = self._inference.triton
        contract = triton.newest.contract if triton.newest is not None else DEFAULT_CONTRACT
        return _json(document([*self._offers], self._versions, contract, self._settings.max_images))

    async def _docs(self, request: Request) -> Response:
        return docs_page()

    async def _docs_part(self, request: Request) -> Response:
        if request.method != "GET":
            raise ServiceError("method_not_allowed", "This route takes GET alone; use that.")
        return await docs_part(request.path.removeprefix("/docs/"))

    async def _versioned(self, request: Request) -> Response:
        """Inference by a version that the path names, which kserve does not offer."""
        name, _, rest = request.path.removeprefix("/v2/models/").partition("/versions/")
        offer = self._offers.get(name)
        if offer is None:
            raise unknown_model(name, self._settings.model_name)
        return await self._infer(offer, request, rest.removesuffix("/infer"))

    async def _training(self, request: Request) -> Response:
        if request.method != "GET":
            raise ServiceError("method_not_allowed", "This route takes GET alone; use that.")
        return await self._train.look(request)

    async def _other_model(self, request: Request) -> Response:
        """Inference by a model that is not served."""
        name = request.path.split("/")[3].partition(":")[0]
        self._inference.check_model(name)
        raise ServiceError("unknown_route", "There is no such route; /info and the README list them.")

    @property
    def _versions(self) -> list[str]:
        return sorted({served.version for served in self._inference.triton.known}, key=int)

    @property
    def _version(self) -> str | None:
        newest = self._inference.triton.newest
        return newest.version if newest is not None else None


async def _apart(body: bytes, parse: Callable[P, T], *args: P.args, **kwargs: P.kwargs) -> T:
    """Takes a body apart, in a thread when it is large."""
    if len(body) < _LARGE_BODY:
        return parse(*args, **kwargs)

    def attempt() -> T | ServiceError:
        try:
            return parse(*args, **kwargs)
        except ServiceError as error:  # its frames hold all that was parsed, until the collector comes
            error.__context__ = None
            return error.with_traceback(None)

    result = await asyncio.to_thread(attempt)
    if isinstance(result, ServiceError):
        try:
            raise result
        finally:
            del result  # as above: this frame is now one of the error's, and has the body
    return result


def _json(content: object) -> Response:
    return Response(200, orjson.dumps(content))


def _answered(
    result: Probabilities | Filtered,
    body: bytes,
    *headers: tuple[bytes, bytes],
    content_type: bytes = b"application/json",
) -> Response:
    told = ((b"x-model-version", result.version.encode()), *headers)
    if isinstance(result, Probabilities) and (marks := result.told_marks) is not None:
        told += ((b"x-out-of-distribution", marks.encode()),)
    return Response(200, body, told, content_type)


def _told(error: ServiceError, request: Request, method: str) -> Response:
    headers: list[tuple[bytes, bytes]] = []
    if error.failure.retry_after is not None:
        headers.append((b"retry-after", str(error.failure.retry_after).encode()))
    if error.code == "unauthorized":
        headers.append((b"www-authenticate", b"Bearer"))
    if error.code == "unsupported_encoding":
        headers.append((b"accept-encoding", b"gzip, deflate"))
    if error.code == "method_not_allowed":
        headers.append((b"allow", b"GET, HEAD" if method == "GET" else method.encode()))
    return Response(error.failure.http, error.body(request.id), tuple(headers))


async def _send(response: Response, request: Request, send: Send, seconds: float) -> None:
    """Sends an answer; a large one as the client takes it, which has so long for each part."""
    body, headers = response.body, response.headers
    if len(body) >= WORTH:
        headers = (*headers, (b"vary", b"accept-encoding"))
        if (encoding := accepted(request.header(b"accept-encoding"))) is not None:
            body = await folded(body, encoding)
            headers = (*headers, (b"content-encoding", encoding.encode()))
    headers = (
        (b"content-type", response.content_type),
        (b"content-length", b"%d" % len(body)),
        (b"x-request-id", request.id.encode()),
        *headers,
    )
    small = len(body) <= _LARGE_BODY
    cycle = getattr(send, "__self__", None)  # where nobody stands between
    if small and isinstance(cycle, Cycle) and cycle.answer(response.status, headers, body):
        return
    await send({"type": "http.response.start", "status": response.status, "headers": headers})
    if small:
        await send({"type": "http.response.body", "body": body})
        return
    view = memoryview(body)
    try:
        for start in range(0, len(body), _LARGE_BODY):
            part, more = bytes(view[start : start + _LARGE_BODY]), start + _LARGE_BODY < len(body)
            async with asyncio.timeout(seconds):
                await send({"type": "http.response.body", "body": part, "more_body": more})
    except TimeoutError:
        request.give_up()
