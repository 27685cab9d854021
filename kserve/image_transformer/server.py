"""kserve's model server with our routes in front, our service in gRPC, and an end that loses no request."""

import asyncio
import contextlib
import logging
import resource
import signal
import socket
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from importlib import metadata
from typing import Final

import uvicorn
import uvloop
from kserve.protocol.rest.server import RESTServer
from prometheus_client import REGISTRY

from image_transformer.grpc.ending import Ending
from image_transformer.grpc.health import HealthService
from image_transformer.grpc.management import ManagementService
from image_transformer.grpc.methods import methods
from image_transformer.grpc.server import GrpcServer, ServerLimits
from image_transformer.grpc.service import InferenceService
from image_transformer.grpc.stream import StreamService
from image_transformer.http.cors import Cors
from image_transformer.http.http1.connections import LIMIT, close_slow
from image_transformer.http.http1.protocol import guarded
from image_transformer.http.kserve_app import use_our_errors
from image_transformer.http.routes import Routes
from image_transformer.inference.answer import Inference
from image_transformer.kserve_model import ImageDataPlane, ImageModel
from image_transformer.observe.memory import collect_rarely, give_back_large_blocks
from image_transformer.observe.metrics import Metrics
from image_transformer.observe.requests import Observer
from image_transformer.observe.tracing import configured
from image_transformer.page.served import Page
from image_transformer.settings import LEAVE_SECONDS, Settings
from image_transformer.training.cluster import ClusterTrainer
from image_transformer.training.local import LocalTrainer
from image_transformer.training.routes import Trainer, TrainRoutes
from image_transformer.triton.client import Triton
from kserve import model_server
from model import addresses

_BODY_THREADS: Final = 2
_FILES: Final = 3 * LIMIT  # HTTP's connections and gRPC's; beyond the limit they are accepted, to be told

log = logging.getLogger(__name__)


class PortTakenError(RuntimeError):
    """Somebody else listens there, or it is no address of ours; the message says what to do."""


class _HttpServer(uvicorn.Server):
    """uvicorn without signal handlers of its own: HTTP and gRPC end together."""

    @contextlib.contextmanager
    def capture_signals(self) -> Iterator[None]:
        yield

    async def shutdown(self, sockets: list[socket.socket] | None = None) -> None:
        """Sends clients away before closing: none asks over a connection that is just being closed."""
        self.server_state.default_headers = [*self.server_state.default_headers, (b"connection", b"close")]
        ends = time.monotonic() + LEAVE_SECONDS
        while self.server_state.connections and time.monotonic() < ends:  # noqa: ASYNC110 - there is no event
            await asyncio.sleep(0.05)
        await super().shutdown(sockets)


class ImageServer(model_server.ModelServer):
    """The transformer's two servers."""

    def __init__(self, settings: Settings) -> None:
        model_server.args.configure_logging = False  # ours is configured
        super().__init__(http_port=settings.http_port, grpc_port=settings.grpc_port)
        self._settings = settings

    def run(self) -> None:
        """Serves until SIGTERM or SIGINT, and then until requests under way are answered.

        Raises:
            PortTakenError: a port is in use.
        """
        give_back_large_blocks()
        allow_open_files()
        listener = listen(self._settings.host, self._settings.http_port, "PORT")
        for_grpc = listen(self._settings.host, self._settings.grpc_port, "GRPC_PORT")
        uvloop.run(self._run(listener, for_grpc))

    async def _run(self, listener: socket.socket, for_grpc: socket.socket) -> None:
        settings = self._settings
        # Large bodies are taken apart here: by as many threads as there is memory for, not cores on the node.
        asyncio.get_running_loop().set_default_executor(ThreadPoolExecutor(_BODY_THREADS, "body"))
        metrics = Metrics()
        REGISTRY.register(metrics)
        tracing = configured(settings.model_name)
        observer = Observer(metrics, log_all=settings.log_requests, tracing=tracing)
        triton = Triton(settings.predictor_host, settings.model_name, settings.triton_seconds, metrics)
        inference = Inference(settings, triton, metrics)
        self.register_model(ImageModel(inference))
        self.dataplane = ImageDataPlane(inference, metadata.version("cnn-image"), self.registered_models)
        trainer = _trainer(settings)
        http = self._http(
            listener, inference, observer, TrainRoutes(trainer, settings.train_token.get_secret_value())
        )
        stop = asyncio.Event()
        for number in (signal.SIGTERM, signal.SIGINT):
            asyncio.get_running_loop().add_signal_handler(number, stop.set)
        watches = [
            asyncio.create_task(triton.watch(settings.health_seconds)),
            asyncio.create_task(close_slow(http.server_state.connections)),
        ]
        ending = Ending()
        grpc = self._grpc(inference, observer, ending)
        await grpc.start(for_grpc)
        serving = asyncio.create_task(http.serve(sockets=[listener]))
        collect_rarely()
        log.info("serving", extra={"http_port": settings.http_port, "grpc_port": settings.grpc_port})
        await stop.wait()
        log.info("ending once requests under way are answered")
        inference.closing = True
        http.should_exit = True
        if trainer is not None:  # who waits for a training hears of its end
            await trainer.close()
        await asyncio.gather(serving, self._end_grpc(grpc, ending))
        for watch in watches:
            watch.cancel()
        inference.close()
        triton.endpoints.close()
        tracing.close()

    def _http(
        self, listener: socket.socket, inference: Inference, observer: Observer, train: TrainRoutes
    ) -> uvicorn.Server:
        behind = Page(observer, model_server.app) if self._settings.page else model_server.app
        routes = Routes(inference, observer, train, behind)
        origins = self._settings.cors_origins
        cors = Cors(origins, observer, routes) if origins else None
        rest = RESTServer(
            cors or routes,  # type: ignore[arg-type] # uvicorn takes either
            self.dataplane,
            self.model_repository_extension,
            self._settings.http_port,
            grace_period=self._settings.finish_seconds,
        )
        rest.create_application()  # type: ignore[no-untyped-call]
        use_our_errors(model_server.app, observer)
        rest.config.http = guarded(
            listener,
            self._settings.max_requests,
            lambda: inference.saturated,
            observer.turned_away,
            inference.triton.endpoints.receive_between,
            cors,
        )
        rest.config.ws = "none"
        rest.config.server_header = False
        rest.config.timeout_keep_alive = self._settings.keep_alive_seconds
        rest.config.proxy_headers = False  # nobody asks for the client's address
        return _HttpServer(rest.config)

    def _grpc(self, inference: Inference, observer: Observer, ending: Ending) -> GrpcServer:
        settings = self._settings
        limits = ServerLimits(
            calls=settings.max_requests,
            message_bytes=settings.max_body_bytes,
            ping_seconds=settings.grpc_ping_seconds,
            connection_seconds=settings.grpc_connection_seconds,
            connection_grace_seconds=settings.grpc_connection_grace_seconds,
        )
        server = GrpcServer(observer, limits)
        service = InferenceService(self.dataplane, inference, observer)
        stream = StreamService(service, inference.held, observer, ending)
        health = HealthService(lambda: inference.ready, inference.catalogue.ready, ending)
        management = ManagementService(inference.catalogue)
        server.add(methods((service, stream, management), health, ending, observer))
        return server

    async def _end_grpc(self, server: GrpcServer, ending: Ending) -> None:
        """Ends gRPC as HTTP ends: clients, where there are any, hear of it before no new call is taken."""
        if server.asked:
            await asyncio.sleep(LEAVE_SECONDS)
        ending.begin()
        await server.stop(self._settings.finish_seconds)


def _trainer(settings: Settings) -> Trainer | None:
    if not settings.train_api:
        return None
    if settings.namespace:
        return ClusterTrainer(settings.namespace, settings.model_name)
    return LocalTrainer(settings.state / "train")


def allow_open_files() -> None:
    """Lets the process open a file for every connection; a user may often open only 1,024."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    wanted = _FILES if hard == resource.RLIM_INFINITY else min(_FILES, hard)
    if soft != resource.RLIM_INFINITY and soft < wanted:
        resource.setrlimit(resource.RLIMIT_NOFILE, (wanted, hard))


def listen(host: str, port: int, variable: str) -> socket.socket:
    """Listens on an address, or says what is in the way.

    Args:
        host: A name or an address, as `model.addresses.listen` takes it.
        port: Port to listen on.
        variable: Environment variable that chooses another one, for the sentence.

    Raises:
        PortTakenError: it cannot be had.
    """
    try:
        return addresses.listen(host, port, backlog=2048)
    except OSError as error:
        if addresses.leads_nowhere(error):
            raise PortTakenError(
                f"CNN_IMAGE_HOST is {host!r}, no address of this machine: name one, or `::` for all."
            ) from None
        raise PortTakenError(
            f"Port {port} cannot be used ({error.strerror}): end what listens there, or set {variable}."
        ) from None
