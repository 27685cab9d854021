"""Every way a request can fail: a stable code, its HTTP status, its gRPC status, and one sentence."""

from dataclasses import dataclass
from typing import Final

import orjson


@dataclass(frozen=True)
class Failure:
    """A kind of failure.

    Attributes:
        http: HTTP status.
        grpc: Name of the gRPC status.
        retry_after: Seconds after which trying again makes sense; None when it never does.
    """

    http: int
    grpc: str
    retry_after: int | None = None


_INVALID: Final = "INVALID_ARGUMENT"

FAILURES: Final[dict[str, Failure]] = {
    # The image itself; these codes are the decoder's.
    "not_an_image": Failure(400, _INVALID),
    "broken_image": Failure(400, _INVALID),
    "unsupported_format": Failure(415, _INVALID),
    "too_many_pixels": Failure(413, _INVALID),
    "too_many_bytes": Failure(413, _INVALID),
    # The request around it.
    "too_many_images": Failure(413, _INVALID),
    "invalid_request": Failure(422, _INVALID),
    "unlike_training": Failure(422, _INVALID),
    "unsupported_media_type": Failure(415, _INVALID),
    "unsupported_encoding": Failure(415, _INVALID),
    "slow_body": Failure(408, "DEADLINE_EXCEEDED"),
    "not_offered": Failure(400, "UNIMPLEMENTED"),
    "unknown_model": Failure(404, "NOT_FOUND"),
    "unknown_version": Failure(404, "NOT_FOUND"),
    "unknown_route": Failure(404, "UNIMPLEMENTED"),
    "method_not_allowed": Failure(405, "UNIMPLEMENTED"),
    "origin_not_allowed": Failure(403, "PERMISSION_DENIED"),
    "invalid_http": Failure(400, _INVALID),
    "head_too_long": Failure(431, _INVALID),
    # Training over HTTP.
    "training_disabled": Failure(403, "PERMISSION_DENIED"),
    "unauthorized": Failure(401, "UNAUTHENTICATED"),
    "training_under_way": Failure(409, "ABORTED", retry_after=60),
    "training_failed": Failure(502, "UNKNOWN"),
    "unknown_training": Failure(404, "NOT_FOUND"),
    # The service.
    "overloaded": Failure(429, "RESOURCE_EXHAUSTED", retry_after=1),
    "shutting_down": Failure(503, "UNAVAILABLE", retry_after=1),
    "model_unavailable": Failure(503, "UNAVAILABLE", retry_after=2),
    "model_timeout": Failure(504, "DEADLINE_EXCEEDED", retry_after=2),
    "explanation_timeout": Failure(503, "UNAVAILABLE", retry_after=5),
    "internal": Failure(500, "INTERNAL"),
}


class ClientGoneError(Exception):
    """The client hung up: nobody is left to be told anything."""


class ServiceError(Exception):
    """A request that fails, for whoever sent it.

    Attributes:
        code: A key of `FAILURES`.
        sentence: What happened and what to do.
        index: The image it is about, where a request has many.
    """

    def __init__(self, code: str, sentence: str, index: int | None = None) -> None:
        super().__init__(sentence)
        self.code = code
        self.sentence = sentence if index is None else f"Image {index}: {sentence}"
        self.index = index
        self.failure = FAILURES[code]

    def again(self) -> "ServiceError":
        """The same for somebody else: an exception belongs to whom it is raised for."""
        return ServiceError(self.code, self.sentence)

    def body(self, request_id: str) -> bytes:
        """The JSON a client gets: the sentence as `error`, as v2 has it, the code and the request's id."""
        content: dict[str, object] = {"error": self.sentence, "code": self.code, "request_id": request_id}
        if self.index is not None:
            content["index"] = self.index
        return orjson.dumps(content)


class VersionGoneError(ServiceError):
    """The version that a request was made ready for is served no more; the next one is to be asked."""

    def __init__(self) -> None:
        super().__init__("model_unavailable", "The model is being replaced; try again in a moment.")

    def again(self) -> "VersionGoneError":
        """See `ServiceError.again`."""
        return VersionGoneError()
