"""One inference of one version: sent, sent again elsewhere, answered or given up."""

import asyncio
import logging
import time
from collections.abc import Callable
from typing import TYPE_CHECKING, Final

import numpy as np
import orjson

from image_transformer.codecs.tensors import Probabilities, Written
from image_transformer.errors import ServiceError, VersionGoneError
from image_transformer.triton.connection import Answer, NotConnectedError
from image_transformer.triton.pool import Endpoint
from image_transformer.triton.served import Served
from model.contract import SCORE_NAME

if TYPE_CHECKING:
    from image_transformer.triton.client import Triton

# Triton's answers where it does not have the version, or not any more, or is about to end: nothing was run.
_UNSEEN: Final = (404, 503)
_PAUSE_SECONDS: Final = 0.05

log = logging.getLogger(__name__)

Inferred = Callable[[Probabilities | ServiceError], None]


def timed_out() -> ServiceError:
    """The answer to who waited in vain."""
    return ServiceError("model_timeout", "The model did not answer in time; try again in a moment.")


class Call:
    """One inference of one version, sent once more elsewhere when the connection breaks or Triton refuses.

    After that only where it makes sense: while time is left, at a Triton that has the version, if either one
    of those that were asked has it no more, or the last one refused it unseen, as it does while its versions
    change.
    """

    __slots__ = ("_count", "_done", "_request", "_requests", "_served", "_started", "_tried", "_triton")

    def __init__(
        self,
        triton: "Triton",
        served: Served,
        pixels: bytes,
        count: int,
        done: Inferred,
        requests: float,
        trace: bytes,
    ) -> None:
        self._triton = triton
        self._served = served
        head = served.head(count)
        if trace:
            head = head.replace(b"\r\n", b"\r\n" + trace, 1)
        self._request = head + pixels
        self._count = count
        self._requests = requests
        self._done = done
        self._tried: tuple[Endpoint, ...] = ()
        self._started = time.perf_counter()

    def send(self) -> None:
        """Sends it to a Triton that serves the version."""
        besides = self._tried[-1] if self._tried else None
        endpoint = self._triton.endpoints.pick(self._served, besides)
        if endpoint is None:
            asyncio.get_running_loop().call_soon(self._give_up, "no Triton has that version ready")
            return
        self._tried += (endpoint,)
        endpoint.ask(self._request, self._triton.seconds, self._answered)

    def _answered(self, answer: Answer | OSError) -> None:
        metrics = self._triton.metrics
        if isinstance(answer, Answer) and answer.status == 200:
            arrived = time.perf_counter()
            metrics.triton_seconds.add(arrived - self._started)
            metrics.call_images.add(self._count)
            self._read(answer, arrived)
        elif isinstance(answer, TimeoutError):
            self._done(timed_out())
        elif len(self._tried) < 2:
            metrics.retries += 1
            self.send()
        elif isinstance(answer, Answer):
            # A version that is being replaced or unloaded answers so; nothing a client sent can cause it.
            reason = f"status {answer.status}: {answer.body[:500]!r}"
            self._look(reason, unseen=answer.status in _UNSEEN)
        else:
            self._look(str(answer), unseen=isinstance(answer, NotConnectedError))

    def _read(self, answer: Answer, arrived: float) -> None:
        served = self._served
        try:
            head = orjson.loads(answer.body[: answer.json_length])
            probs = np.frombuffer(answer.body, "<f4", offset=answer.json_length or 0)
            if head["model_version"] != served.version:
                raise ValueError(f"version {head['model_version']} answered for version {served.version}")
            scores = None
            if served.unlike is not None:
                count = self._count
                if head["outputs"][0]["name"] == SCORE_NAME:  # they come in the backend's order
                    scores, probs = probs[:count], probs[count:]
                else:
                    probs, scores = probs[:-count], probs[-count:]
            probs = probs.reshape(self._count, *served.shape)
        except (ValueError, KeyError, TypeError) as error:
            self._look(str(error)[:500], unseen=False)
        else:
            served.counted.executed(self._count, self._requests, self._started, arrived, time.perf_counter())
            written = Written(probs, served.contract)
            self._done(Probabilities(probs, served.version, served.contract, scores, served.mark_at, written))

    def _look(self, reason: str, *, unseen: bool) -> None:
        """Sees whether those that were asked serve the version at all, before it is given up there."""
        asked = {endpoint for endpoint in self._tried if self._served in endpoint.served}
        looking = asyncio.gather(*(self._triton.look(endpoint) for endpoint in asked), return_exceptions=True)
        looking.add_done_callback(lambda done: self._looked(reason, unseen or False in done.result()))

    def _looked(self, reason: str, unseen: bool) -> None:
        """Asks again where it makes sense."""
        served = self._served
        stays = all(served in endpoint.served for endpoint in self._tried)
        late = time.perf_counter() - self._started > self._triton.seconds
        if late or not self._triton.endpoints.count(served) or (stays and not unseen):
            self._give_up(reason)
            return
        # Who still says that it is ready is about to say something else.
        asyncio.get_running_loop().call_later(_PAUSE_SECONDS if stays else 0, self._again)

    def _again(self) -> None:
        self._triton.metrics.retries += 1
        self._tried = self._tried[-1:]
        self.send()

    def _give_up(self, reason: str) -> None:
        """Tells that it cannot be had, or that the version is gone, so that the next one is asked."""
        triton, served = self._triton, self._served
        refused = triton.endpoints.count(served) and all(served in one.served for one in self._tried)
        if refused or not triton.ready:
            log.warning("Triton cannot be asked", extra={"version": served.version, "reason": reason})
        self._done(triton.unavailable() if refused else VersionGoneError())
