"""POST /train: who may start a training, and what is told of it. Where it runs is the trainer's business."""

import asyncio
import hmac
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Final, Literal, Protocol

import orjson

from image_transformer.codecs.v2 import invalid, parse_json
from image_transformer.errors import ServiceError
from image_transformer.http.request import Request, Response

_POLL_SECONDS: Final = 1.0
_LARGEST: Final = {"epochs": 1000, "batch_size": 8192}


@dataclass(frozen=True)
class Training:
    """How a training stands.

    Attributes:
        state: `waiting` until it runs.
        detail: What it said last, or why it failed.
        metrics: `accuracy`, `val_accuracy`, `loss`, `val_loss`; of one that succeeded.
        model_path: Where the version lies; of one that succeeded.
    """

    state: Literal["waiting", "running", "succeeded", "failed"]
    detail: str = ""
    metrics: Mapping[str, float] | None = None
    model_path: str | None = None


class Trainer(Protocol):
    """Runs one training at a time."""

    async def start(self, wishes: Mapping[str, int]) -> str:
        """Starts a training with `epochs` and `batch_size` where they are given; returns its name.

        Raises:
            ServiceError: one runs already, or it cannot be started.
        """

    async def look(self, name: str) -> Training | None:
        """Returns how a training stands; None when there is no such training."""

    async def close(self) -> None:
        """Ends what ends with this process."""


class TrainRoutes:
    """POST /train and GET /train/NAME."""

    def __init__(self, trainer: Trainer | None, token: str) -> None:
        self._trainer = trainer
        self._token = token.encode()

    async def start(self, request: Request) -> Response:
        """Starts a training, and answers when it has ended; at once with `Prefer: respond-async`."""
        trainer = self._allowed(request)
        request.check_json()
        wishes = _wishes(await request.body())
        name = await trainer.start(wishes)
        location = (b"location", f"/train/{name}".encode())
        if "respond-async" in request.header(b"prefer").lower():
            body = orjson.dumps({"status": "started", "name": name})
            return Response(202, body, (location, (b"preference-applied", b"respond-async")))
        while (training := await trainer.look(name)) is not None:
            if training.state == "succeeded":
                return Response(200, _body(training), (location,))
            if training.state == "failed":
                raise ServiceError("training_failed", f"The training failed: {_sentence(training.detail)}")
            await asyncio.sleep(_POLL_SECONDS)
        raise ServiceError("training_failed", "The training is gone; look at the Job, or start it again.")

    async def look(self, request: Request) -> Response:
        """Tells how a training stands."""
        trainer = self._allowed(request)
        training = await trainer.look(request.path.removeprefix("/train/"))
        if training is None:
            raise ServiceError("unknown_training", "There is no such training; POST /train starts one.")
        return Response(200, _body(training))

    def _allowed(self, request: Request) -> Trainer:
        if self._trainer is None:
            raise ServiceError(
                "training_disabled",
                "Training over HTTP is off; set CNN_IMAGE_TRAIN_API and a token to allow it.",
            )
        scheme, _, token = request.header(b"authorization").partition(" ")
        given = token.strip().encode("latin-1")
        if scheme.lower() != "bearer" or not hmac.compare_digest(given, self._token):
            raise ServiceError("unauthorized", "Send the training token as `Authorization: Bearer …`.")
        return self._trainer


def _wishes(body: bytes) -> dict[str, int]:
    content: dict[str, Any] = parse_json(body) if body.strip() else {}
    for name, value in content.items():
        if name not in _LARGEST:
            raise invalid(f"There is no setting {name[:40]!r}; send `epochs` and `batch_size`, or neither.")
        if type(value) is not int or not 1 <= value <= _LARGEST[name]:
            raise invalid(f"The setting {name!r} has to be a whole number from 1 to {_LARGEST[name]}.")
    return content


def _body(training: Training) -> bytes:
    if training.state == "succeeded":
        return orjson.dumps(
            {"status": "success", "metrics": training.metrics, "model_path": training.model_path}
        )
    return orjson.dumps({"status": training.state, "detail": training.detail})


def _sentence(detail: str) -> str:
    text = detail.strip() or "it gave no reason"
    return text if text.endswith(".") else text + "."
