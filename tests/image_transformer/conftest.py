"""A Triton that a test can make slow, wrong or silent, and the transformer's routes without a socket."""

import asyncio
import sys
from collections.abc import AsyncIterator, Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import orjson
import pytest

from image_transformer.errors import ServiceError
from image_transformer.http.routes import Routes
from image_transformer.inference.answer import Inference
from image_transformer.observe.metrics import Metrics
from image_transformer.observe.requests import Observer
from image_transformer.settings import Settings
from image_transformer.training.routes import Trainer, TrainRoutes
from image_transformer.triton import client
from image_transformer.triton.client import Triton
from model.contract import FILTERED_NAME, FILTERS_MODEL_NAME, MODEL_NAME, OUTPUT_NAME, SCORE_NAME
from model.images.decode import DECODER_VERSION

# kserve reads the command line when it is imported; pytest's has flags that it takes for its own.
with pytest.MonkeyPatch.context() as patch:
    patch.setattr(sys, "argv", sys.argv[:1])
    import kserve  # noqa: F401

EXAMPLES = Path(__file__).parents[2] / "model" / "sample" / "examples"


@dataclass
class FakeTriton:
    """Speaks as much v2 as the transformer needs; answers by the small model's numbers.

    Attributes:
        older: Models of versions that are ready beside the newest, `model`, which is `version`.
        answers: Cleared, inferences wait until it is set again.
        calls: Images of each inference, in order of arrival.
        traces: What each names as its trace.
        break_next: So many inferences lose their connection instead of an answer.
        break_looks: So many questions about the model lose their connection instead of an answer.
        refuse_next: So many inferences are refused, as of a version that is not there.
        status: What every request is answered with, besides 200 the reason alone.
        silent: Whether nothing at all is answered.
        filters: Whether the small model beside it is there too: it gives the image, four times.
        scored: Whether the model tells how unlike anything learned an image is: by its first pixel's red.
        score_first: Whether that output comes in front of the other.
        refused: Connections up to this one, counted from 1, are answered 503: their pod is told to end.
    """

    model: Any
    port: int = 0
    version: str = "7"
    older: list[Any] = field(default_factory=list)
    parameters: dict[str, str] = field(default_factory=lambda: {"decoder_version": "1", "version": "7"})
    answers: asyncio.Event = field(default_factory=asyncio.Event)
    calls: list[int] = field(default_factory=list)
    traces: list[str | None] = field(default_factory=list)
    waiting: int = 0
    most_waiting: int = 0
    break_next: int = 0
    break_looks: int = 0
    refuse_next: int = 0
    status: int = 200
    silent: bool = False
    filters: bool = False
    scored: bool = False
    score_first: bool = False
    connections: int = 0
    refused: int = 0
    _server: asyncio.Server | None = None
    _writers: list[asyncio.StreamWriter] = field(default_factory=list)

    async def start(self) -> None:
        self.answers.set()
        self._server = await asyncio.start_server(self._connection, "127.0.0.1", self.port)
        self.port = self._server.sockets[0].getsockname()[1]

    async def stop(self) -> None:
        assert self._server is not None
        self._server.close()
        for writer in self._writers:
            writer.transport.abort()
        self._writers.clear()

    async def _connection(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.connections += 1
        number = self.connections
        self._writers.append(writer)
        try:
            while True:
                head = (await reader.readuntil(b"\r\n\r\n")).decode().split("\r\n")
                headers = dict(line.lower().split(": ", 1) for line in head[1:] if line)
                body = await reader.readexactly(int(headers.get("content-length", 0)))
                method, path, _ = head[0].split(" ")
                while self.silent:  # noqa: ASYNC110
                    await asyncio.sleep(0.01)
                status = 503 if number <= self.refused else self.status
                if status != 200:
                    self._send(writer, status, orjson.dumps({"error": "as the test wants"}))
                elif method == "GET" and self.break_looks:
                    self.break_looks -= 1
                    writer.transport.abort()
                    return
                elif method == "GET":
                    self._describe(writer, path)
                elif (model := self._asked(path)) is None or self.refuse_next:
                    self.refuse_next -= bool(self.refuse_next)
                    self._send(writer, 404, b'{"error":"Request for unknown model"}')
                elif not await self._infer(writer, model, path, headers, body):
                    return
        except (asyncio.IncompleteReadError, asyncio.CancelledError, ConnectionError):
            pass
        finally:
            writer.close()

    @property
    def _ready(self) -> dict[str, Any]:
        return {**{str(model.version): model for model in self.older}, self.version: self.model}

    def _asked(self, path: str) -> Any:
        """The model of the version that a path names, `/v2/models/MODEL/versions/VERSION/…`."""
        name, kind, version = path.split("/")[3:6]
        return self._ready.get(version) if name in self._names and kind == "versions" else None

    @property
    def _names(self) -> list[str]:
        return [MODEL_NAME, *([FILTERS_MODEL_NAME] if self.filters else [])]

    def _describe(self, writer: asyncio.StreamWriter, path: str) -> None:
        name = path.split("/")[3]
        if name not in self._names:
            self._send(writer, 404, b'{"error":"Request for unknown model"}')
        elif path.endswith("/ready"):
            self._send(writer, 200, b"")
        elif path.endswith("/config"):
            texts = dict(self.parameters)
            model = self._asked(path)
            if model is None:
                self._send(writer, 503, b'{"error":"Request for unknown model"}')
                return
            if model.written is not None:
                texts["contract"] = model.written.to_json()
            outputs = [{"name": FILTERED_NAME, "dims": [model.contract.size, model.contract.size, 12]}]
            if self.scored:
                texts["unlike"] = '{"mark_at": 100.0, "refuse_at": 200.0, "images": 2000}'
                outputs.append({"name": SCORE_NAME, "dims": [1]})
            parameters = {name: {"string_value": text} for name, text in texts.items()}
            self._send(writer, 200, orjson.dumps({"output": outputs, "parameters": parameters}))
        else:
            self._send(writer, 200, orjson.dumps({"name": name, "versions": [*self._ready]}))

    async def _infer(
        self, writer: asyncio.StreamWriter, model: Any, path: str, headers: dict[str, str], body: bytes
    ) -> bool:
        length = int(headers["inference-header-content-length"])
        content = orjson.loads(body[:length])
        (tensor,), asked = content["inputs"], content["outputs"]
        pixels = np.frombuffer(body[length:], np.uint8).reshape(-1, *model.contract.image_shape)
        assert tensor["shape"] == list(pixels.shape)
        self.calls.append(len(pixels))
        self.traces.append(headers.get("traceparent"))
        self.waiting += 1
        self.most_waiting = max(self.most_waiting, self.waiting)
        await self.answers.wait()
        self.waiting -= 1
        if self.break_next:
            self.break_next -= 1
            writer.transport.abort()
            return False
        name, version = path.split("/")[3:6:2]
        if name == MODEL_NAME:
            given = model.probs(pixels)
        else:
            given = np.concatenate([pixels] * 4, axis=3).astype(np.float32)
        made = [(asked[0]["name"], given)]
        if self.scored and name == MODEL_NAME:
            assert [one["name"] for one in asked] == [OUTPUT_NAME, SCORE_NAME]
            made.insert(0 if self.score_first else 1, (SCORE_NAME, pixels[:, 0, 0, :1].astype(np.float32)))
        else:
            assert len(asked) == 1
        outputs = [
            {
                "name": output,
                "datatype": "FP32",
                "shape": list(values.shape),
                "parameters": {"binary_data_size": values.nbytes},
            }
            for output, values in made
        ]
        answer = orjson.dumps({"model_name": name, "model_version": version, "outputs": outputs})
        self._send(writer, 200, answer + b"".join(values.tobytes() for _, values in made), len(answer))
        return True

    @staticmethod
    def _send(writer: asyncio.StreamWriter, status: int, body: bytes, json_length: int | None = None) -> None:
        extra = f"Inference-Header-Content-Length: {json_length}\r\n" if json_length is not None else ""
        head = f"HTTP/1.1 {status} X\r\nContent-Length: {len(body)}\r\n{extra}\r\n"
        writer.write(head.encode() + body)


@dataclass
class Reply:
    """An answer of the transformer."""

    status: int
    headers: dict[str, str]
    body: bytes

    def json(self) -> Any:
        return orjson.loads(self.body)


@dataclass
class Service:
    """The transformer without its sockets."""

    settings: Settings
    metrics: Metrics
    triton: Triton
    inference: Inference
    routes: Routes
    fake: FakeTriton

    async def call(
        self,
        method: str,
        path: str,
        body: bytes | list[bytes] = b"",
        *,
        receive: Callable[[], Any] | None = None,
        **headers: str,
    ) -> Reply:
        """Sends a request; a list is a body in chunks whose length is not announced."""
        chunks = [body] if isinstance(body, bytes) else list(body)
        named = {name.replace("_", "-"): text for name, text in headers.items()}
        if isinstance(body, bytes):
            named.setdefault("content-length", str(len(body)))
        sent: list[Any] = []

        async def from_client() -> dict[str, Any]:
            if not chunks:
                return {"type": "http.disconnect"}
            return {"type": "http.request", "body": chunks.pop(0), "more_body": bool(chunks)}

        async def to_client(message: Any) -> None:
            sent.append(message)

        scope = {
            "type": "http",
            "method": method,
            "path": path.partition("?")[0],
            "query_string": path.partition("?")[2].encode(),
            "headers": [(name.encode(), text.encode("latin-1")) for name, text in named.items()],
        }
        await self.routes(scope, receive or from_client, to_client)
        if not sent:
            return Reply(0, {}, b"")
        answered = {name.decode(): text.decode() for name, text in sent[0]["headers"]}
        return Reply(sent[0]["status"], answered, b"".join(message.get("body", b"") for message in sent[1:]))


async def no_route(scope: Any, receive: Any, send: Any) -> None:
    """What stands behind the routes here, in kserve's application's place."""
    await send({"type": "http.response.start", "status": 299, "headers": []})
    await send({"type": "http.response.body", "body": b"behind"})


def settings_of(**changes: Any) -> Settings:
    return Settings(_cli_parse_args=False, **changes)  # type: ignore[call-arg]


@pytest.fixture
async def fake_triton(small_model: Any) -> AsyncIterator[FakeTriton]:
    fake = FakeTriton(small_model)
    await fake.start()
    yield fake
    fake.silent = False
    fake.answers.set()
    await fake.stop()


StartService = Callable[..., Any]


@pytest.fixture
async def start_service(
    fake_triton: FakeTriton, monkeypatch: pytest.MonkeyPatch
) -> AsyncIterator[StartService]:
    """Makes the transformer in front of `fake_triton`; settings by name.

    It waits for no version to come back: a test that is about that says for how long.
    """
    made: list[Service] = []
    monkeypatch.setattr(client, "_RETURN_SECONDS", 0.0)

    async def start(*, trainer: Trainer | None = None, **changes: Any) -> Service:
        settings = settings_of(**{"predictor_host": f"127.0.0.1:{fake_triton.port}", **changes})
        metrics = Metrics()
        triton = Triton(settings.predictor_host, settings.model_name, settings.triton_seconds, metrics)
        inference = Inference(settings, triton, metrics)
        routes = Routes(inference, Observer(metrics, log_all=False), TrainRoutes(trainer, "token"), no_route)
        service = Service(settings, metrics, triton, inference, routes, fake_triton)
        made.append(service)
        await triton.probe()
        return service

    yield start
    for service in made:
        service.inference.close()
        service.triton.endpoints.close()


@pytest.fixture
async def service(start_service: StartService) -> Service:
    return await start_service()  # type: ignore[no-any-return]


@pytest.fixture
async def beside(service: Service) -> AsyncIterator[Callable[..., Any]]:
    """Starts another Triton behind the service's name, with another version."""
    started = []

    async def start(model: Any, *, scored: bool = False, **parameters: str) -> FakeTriton:
        other = FakeTriton(model, version=str(model.version), scored=scored)
        other.parameters = {"decoder_version": DECODER_VERSION, **parameters}
        started.append(other)
        await other.start()
        endpoints = service.triton.endpoints
        endpoints._resolved_at = float("inf")  # the name is an address, which leads to one of them alone
        endpoints.add(("127.0.0.1", other.port))
        await service.triton.probe()
        return other

    yield start
    for other in started:
        other.answers.set()
        await other.stop()


@pytest.fixture(scope="session")
def jpegs() -> list[bytes]:
    """A few real images, one a class."""
    return [path.read_bytes() for path in sorted(EXAMPLES.glob("*.jpg"))]


@pytest.fixture(scope="session")
def failure() -> Callable[[str], Any]:
    """`with failure(code):` expects a ServiceError of that code."""
    return lambda code: pytest.raises(ServiceError, check=lambda error: error.code == code)
