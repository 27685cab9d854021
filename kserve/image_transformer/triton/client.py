"""Triton as the transformer sees it: inference over binary v2, and whether the model is ready."""

import asyncio
import logging
import time
from collections.abc import Callable
from functools import lru_cache
from typing import Any, Final

import numpy as np
import orjson

from image_transformer.codecs.tensors import Probabilities
from image_transformer.errors import ServiceError
from image_transformer.observe.metrics import Metrics
from image_transformer.triton.connection import Answer
from image_transformer.triton.pool import Endpoint, Endpoints
from model.contract import CLASSES, IMAGE_SHAPE, INPUT_NAME, OUTPUT_NAME

_PROBE_SECONDS: Final = 2.0
_IMAGE_BYTES: Final = int(np.prod(IMAGE_SHAPE))

log = logging.getLogger(__name__)


Inferred = Callable[[Probabilities | ServiceError], None]


class Triton:
    """Calls the model, watches whether it is ready, and knows which version it last saw."""

    def __init__(self, host: str, model: str, seconds: float, metrics: Metrics) -> None:
        self._model = model
        self._seconds = seconds
        self._metrics = metrics
        self._probed = asyncio.Event()
        self.on_change: Callable[[], None] = lambda: None
        self.endpoints = Endpoints(host)
        self.version: str | None = None
        self.parameters: dict[str, str] = {}
        metrics.triton_up = lambda: self.ready
        metrics.model_decoder = lambda: self.parameters.get("decoder_version")

    @property
    def ready(self) -> bool:
        """Whether any address has the model ready."""
        return self.endpoints.healthy > 0

    def unavailable(self) -> ServiceError:
        """The answer while no Triton has the model ready."""
        return ServiceError("model_unavailable", "The model is not ready; try again in a moment.")

    def infer(self, pixels: bytes, count: int, done: Inferred) -> None:
        """Asks for the probabilities of images.

        Args:
            pixels: UINT8 `[count, 32, 32, 3]`, row after row.
            count: How many images.
            done: Takes the result, from the event loop.
        """
        _Call(self, _inference_head(self._model, count) + pixels, count, done).send()

    async def get(self, path: str, endpoint: Endpoint, seconds: float = _PROBE_SECONDS) -> tuple[int, Any]:
        """GETs a path of one Triton.

        Returns:
            The status, and the JSON in the body; None where there is none.

        Raises:
            OSError: no answer, or none in time.
        """
        result: asyncio.Future[Answer] = asyncio.get_running_loop().create_future()

        def done(answer: Answer | OSError) -> None:
            if result.done():
                return
            if isinstance(answer, OSError):
                result.set_exception(answer)
            else:
                result.set_result(answer)

        endpoint.ask(f"GET {path} HTTP/1.1\r\nHost: triton\r\n\r\n".encode(), seconds, done)
        answer = await result
        try:
            return answer.status, orjson.loads(answer.body) if answer.body else None
        except orjson.JSONDecodeError:
            return answer.status, None

    async def watch(self, pause: float) -> None:
        """Looks at every address again and again, until cancelled."""
        while True:
            try:
                await self.probe()
            except Exception:  # whatever is wrong, the watch goes on
                log.exception("looking at Triton failed")
            await asyncio.sleep(pause)

    async def probe(self) -> None:
        """Looks at every address once: is the model ready, and which version is it?"""
        await self.endpoints.resolve()
        was = self.ready if self._probed.is_set() else None
        await asyncio.gather(*(self._probe(endpoint) for endpoint in self.endpoints.all))
        if self.ready != was:
            log.log(
                logging.INFO if self.ready else logging.WARNING,
                "the model is ready" if self.ready else "the model is not ready",
                extra={"version": self.version},
            )
        self._probed.set()
        self.on_change()

    async def probed(self) -> None:
        """Returns once Triton has been looked at."""
        await self._probed.wait()

    async def _probe(self, endpoint: Endpoint) -> None:
        path = f"/v2/models/{self._model}"
        try:
            status, metadata = await self.get(path, endpoint)
            if status == 200:
                versions = metadata.get("versions") or []
                endpoint.healthy = (await self.get(f"{path}/ready", endpoint))[0] == 200
                if endpoint.healthy and versions and versions[-1] != self.parameters.get("version"):
                    await self._read_parameters(endpoint, str(versions[-1]))
            else:
                endpoint.healthy = False
        except OSError as error:
            now = asyncio.get_running_loop().time()
            if isinstance(error, TimeoutError) and now - endpoint.answered_at < _PROBE_SECONDS:
                return  # busy, but alive
            if endpoint.healthy:
                log.warning(
                    "Triton does not answer", extra={"address": endpoint.address, "reason": str(error)}
                )
            endpoint.healthy = False
            if isinstance(error, TimeoutError):
                endpoint.drop()  # it hangs: who waits for it is better off trying elsewhere, or hearing of it

    async def _read_parameters(self, endpoint: Endpoint, version: str) -> None:
        status, config = await self.get(f"/v2/models/{self._model}/config", endpoint)
        if status == 200 and isinstance(config, dict):
            parameters = config.get("parameters", {})
            self.parameters = {name: value["string_value"] for name, value in parameters.items()}
            self.parameters["version"] = version
            self.version = version


def timed_out() -> ServiceError:
    """The answer to who waited in vain."""
    return ServiceError("model_timeout", "The model did not answer in time; try again in a moment.")


class _Call:
    """One inference, sent once more elsewhere when the connection breaks or Triton refuses."""

    __slots__ = ("_count", "_done", "_endpoint", "_request", "_started", "_tries", "_triton")

    def __init__(self, triton: Triton, request: bytes, count: int, done: Inferred) -> None:
        self._triton = triton
        self._request = request
        self._count = count
        self._done = done
        self._endpoint: Endpoint | None = None
        self._tries = 0
        self._started = time.perf_counter()

    def send(self) -> None:
        self._endpoint = self._triton.endpoints.pick(besides=self._endpoint)
        if self._endpoint is None:
            asyncio.get_running_loop().call_soon(self._done, self._triton.unavailable())
            return
        self._tries += 1
        self._endpoint.ask(self._request, self._triton._seconds, self._answered)

    def _answered(self, answer: Answer | OSError) -> None:
        metrics = self._triton._metrics
        if isinstance(answer, TimeoutError):
            self._done(timed_out())
        elif self._tries < 2 and (isinstance(answer, OSError) or answer.status != 200):
            metrics.retries += 1
            self.send()
        elif isinstance(answer, OSError):
            log.warning("Triton cannot be reached", extra={"reason": str(answer)})
            self._done(self._triton.unavailable())
        else:
            metrics.triton_seconds.add(time.perf_counter() - self._started)
            metrics.call_images.add(self._count)
            self._done(self._read(answer))

    def _read(self, answer: Answer) -> Probabilities | ServiceError:
        try:
            if answer.status != 200:
                raise ValueError(answer.body[:500])
            head = orjson.loads(answer.body[: answer.json_length])
            probs = np.frombuffer(answer.body, "<f4", offset=answer.json_length or 0)
            version = head["model_version"]
            result = Probabilities(probs.reshape(self._count, len(CLASSES)), version)
        except (ValueError, KeyError, TypeError) as error:
            # A model that is being replaced or unloaded answers so; nothing a client sent can cause it.
            log.warning("Triton refused", extra={"status": answer.status, "reason": str(error)[:500]})
            return self._triton.unavailable()
        self._triton.version = version
        return result


@lru_cache(maxsize=256)
def _inference_head(model: str, count: int) -> bytes:
    """Everything of an inference request in front of the pixels; it depends on nothing else."""
    content = orjson.dumps(
        {
            "inputs": [
                {
                    "name": INPUT_NAME,
                    "datatype": "UINT8",
                    "shape": [count, *IMAGE_SHAPE],
                    "parameters": {"binary_data_size": count * _IMAGE_BYTES},
                }
            ],
            "outputs": [{"name": OUTPUT_NAME, "parameters": {"binary_data": True}}],
        }
    )
    return (
        f"POST /v2/models/{model}/infer HTTP/1.1\r\nHost: triton\r\n"
        "Content-Type: application/octet-stream\r\n"
        f"Inference-Header-Content-Length: {len(content)}\r\n"
        f"Content-Length: {len(content) + count * _IMAGE_BYTES}\r\n\r\n"
    ).encode() + content
