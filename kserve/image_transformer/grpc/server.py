"""grpcio's asyncio server, which a client cannot end, and which takes up many calls in a turn."""

import asyncio
from collections.abc import Mapping, Sequence
from typing import Any, Final

from grpc import RpcMethodHandler
from grpc._cython import cygrpc
from grpc.aio._server import Server

from image_transformer.grpc.guard import Guard

_TAKEN_UP_A_TURN: Final = 16


class _Core(cygrpc.AioServer):  # type: ignore[misc] # grpc has no types
    """The server's inside, which takes up calls itself.

    grpcio 1.85.1 takes up one call of a method in a turn of the event loop, and looks through all methods for
    each: a third of what a small call costs, and calls that never meet make no batches. It decodes the path
    of a call of an unknown method in its main loop: one that is no UTF-8 ends the loop and the server, and
    started again after some hundred of them, the process died of a segmentation fault. So the main loop gets
    no call at all. A method that is served is registered, and matched by its bytes; what else comes is
    answered as grpcio answers it, by UNIMPLEMENTED.

    Streams may live for days, and each is a call under way: they get half of the places at most, so that idle
    ones never keep single calls out.

    All of this is grpcio's private affair: its version is locked, and tests make such calls.
    """

    def __init__(
        self,
        loop: asyncio.AbstractEventLoop,
        options: Sequence[tuple[str, int]],
        maximum_concurrent_rpcs: int,
    ) -> None:
        super().__init__(loop, None, (), (), tuple(options), None)
        self._most = maximum_concurrent_rpcs
        self._methods: dict[str, RpcMethodHandler] = {}
        self._answering: set[asyncio.Task[None]] = set()
        self._streams: set[asyncio.Task[None]] = set()
        self.asked = False

    def add_registered_method_handlers(self, handlers: Mapping[str, RpcMethodHandler]) -> None:
        """Serves methods, each by its path."""
        self._methods.update(handlers)
        super().add_registered_method_handlers(handlers)

    def _make_request_call_future(self, method: bytes | None) -> "asyncio.Task[Any]":
        """Returns what the main loop waits for: it ends with the server, and never for a call."""
        if method is None:
            return asyncio.create_task(self._refuse_unknown())
        return asyncio.create_task(self._take_up(method))

    async def _take_up(self, method: bytes) -> None:
        await asyncio.gather(*(self._take_up_one_by_one(method) for _ in range(_TAKEN_UP_A_TURN)))

    async def _take_up_one_by_one(self, method: bytes) -> None:
        path = method.decode()
        resolver = cygrpc._MethodResolver([], self._methods)
        streaming = self._methods[path].request_streaming or self._methods[path].response_streaming
        while True:
            call = await self._request_registered_call(method)
            self.asked = True
            too_many = len(self._answering) >= self._most
            if not streaming:
                self._answer(path, resolver, call, too_many=too_many)
                continue
            too_many = too_many or len(self._streams) >= self._most // 2
            stream = self._answer(path, resolver, call, too_many=too_many)
            self._streams.add(stream)
            stream.add_done_callback(self._streams.discard)

    async def _refuse_unknown(self) -> None:
        none = cygrpc._MethodResolver([], {})
        while True:
            self._answer("an unknown one", none, await self._request_call(), too_many=False)

    def _answer(self, path: str, resolver: Any, call: Any, *, too_many: bool) -> "asyncio.Task[None]":
        loop = asyncio.get_running_loop()
        answer = cygrpc._handle_rpc(path, resolver, (), call, loop, too_many)
        task = loop.create_task(cygrpc._schedule_rpc_coro(answer, call, loop, path))
        self._answering.add(task)
        task.add_done_callback(self._answering.discard)
        return task


class GrpcServer(Server):  # type: ignore[misc] # grpc has no types
    """Serves registered methods, and those alone, each behind the guard."""

    def __init__(
        self, guard: Guard, options: Sequence[tuple[str, int]], maximum_concurrent_rpcs: int
    ) -> None:
        """See `grpc.aio.server`, which makes no servers of another class than its own."""
        self._loop = cygrpc.get_working_loop()
        self._server = _Core(self._loop, options, maximum_concurrent_rpcs)
        self._guard = guard

    @property
    def asked(self) -> bool:
        """Whether anybody ever called a method."""
        return bool(self._server.asked)

    def add_registered_method_handlers(
        self, service_name: str, handlers: Mapping[str, RpcMethodHandler]
    ) -> None:
        """Serves a service's methods, each by its name."""
        paths = {f"/{service_name}/{name}": handler for name, handler in handlers.items()}
        self._server.add_registered_method_handlers(
            {path: self._guard.around(path, handler) for path, handler in paths.items()}
        )
