"""kserve's FastAPI application, behind our routes: its errors in our words."""

from fastapi import FastAPI, Request, Response
from fastapi.exceptions import RequestValidationError
from kserve.errors import InvalidInput, ModelNotReady, ServerNotReady
from starlette.exceptions import HTTPException

from image_transformer.errors import ServiceError
from image_transformer.http.request import request_id
from image_transformer.observe.requests import Observer

_BY_STATUS = {
    404: ("unknown_route", "There is no such route; /info and the README list them."),
    405: ("method_not_allowed", "This route does not take that method; see the README."),
}


def _translate(error: Exception) -> ServiceError:
    if isinstance(error, ServiceError):
        return error
    code, sentence = "internal", "The service failed; its log has the reason by the request's id."
    match error:
        case HTTPException():
            code, sentence = _BY_STATUS.get(error.status_code, ("invalid_request", str(error.detail)))
        case RequestValidationError():
            first = error.errors()[0]
            where = ".".join(str(part) for part in first["loc"])
            code, sentence = (
                "invalid_request",
                f"The request is not of the route's form: {where}: {first['msg']}.",
            )
        case InvalidInput():
            code, sentence = "invalid_request", error.reason
        case ModelNotReady() | ServerNotReady():
            code, sentence = "model_unavailable", "The model is not ready; try again in a moment."
        case NotImplementedError():
            code, sentence = _BY_STATUS[404]
    return ServiceError(code, sentence)


def use_our_errors(app: FastAPI, observer: Observer) -> None:
    """Makes kserve's routes answer errors as ours do: one sentence, a code, the request's id."""

    async def handle(request: Request, error: Exception) -> Response:
        identity = request_id(request.headers.get("x-request-id", "").encode() or None)
        translated = _translate(error)
        with observer.request("kserve", identity) as observation:
            observation.failed(translated)
        headers = {"x-request-id": identity}
        if translated.failure.retry_after is not None:
            headers["retry-after"] = str(translated.failure.retry_after)
        if isinstance(error, HTTPException) and error.headers and "Allow" in error.headers:
            allowed = error.headers["Allow"]  # with each 405 (RFC 9110, 15.5.6); HEAD is answered as GET
            headers["allow"] = "GET, HEAD" if allowed == "GET" else allowed
        return Response(translated.body(identity), translated.failure.http, headers, "application/json")

    for kind in (
        ServiceError,
        HTTPException,
        RequestValidationError,
        InvalidInput,
        ModelNotReady,
        ServerNotReady,
        NotImplementedError,
        Exception,
    ):
        app.add_exception_handler(kind, handle)
