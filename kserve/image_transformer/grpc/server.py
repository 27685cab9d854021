"""grpcio's asyncio server, which a client cannot end, and which takes up many calls in a turn."""

import asyncio
from collections.abc import Mapping, Sequence
from typing import Any, Final

from grpc import RpcMethodHandler
from grpc._cython import cygrpc
from grpc.aio import ServerInterceptor
from grpc.aio._server import Server

_TAKEN_UP_A_TURN: Final = 16


class _Core(cygrpc.AioServer):  # type: ignore[misc] # grpc has no types
    """The server's inside, which takes up calls itself.

    grpcio 1.85.1 takes up one call of a method in a turn of the event loop, and looks through all methods for
    each: a third of what a small call costs, and calls that never meet make no batches. It decodes the path
    of a call of an unknown method in its main loop: one that is no UTF-8 ends the loop and the server, and
    started again after some hundred of them, the process died of a segmentation fault. So the main loop gets
    no call at all. A method that is served is registered, and matched by its bytes; what else comes is
    answered as grpcio answers it, by UNIMPLEMENTED.

    All of this is grpcio's private affair: its version is locked, and tests make such calls.
    """

    def __init__(
        self,
        loop: asyncio.AbstractEventLoop,
        interceptors: Sequence[ServerInterceptor],
        options: Sequence[tuple[str, int]],
        maximum_concurrent_rpcs: int,
    ) -> None:
        super().__init__(loop, None, (), interceptors, tuple(options), None)
        self._ours = tuple(interceptors)
        self._most = maximum_concurrent_rpcs
        self._methods: dict[str, RpcMethodHandler] = {}
        self._answering: set[asyncio.Task[None]] = set()

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
        while True:
            call = await self._request_registered_call(method)
            self._answer(path, resolver, self._ours, call, too_many=len(self._answering) >= self._most)

    async def _refuse_unknown(self) -> None:
        none = cygrpc._MethodResolver([], {})
        while True:
            self._answer("an unknown one", none, (), await self._request_call(), too_many=False)

    def _answer(
        self,
        path: str,
        resolver: Any,
        interceptors: Sequence[ServerInterceptor],
        call: Any,
        *,
        too_many: bool,
    ) -> None:
        loop = asyncio.get_running_loop()
        answer = cygrpc._handle_rpc(path, resolver, interceptors, call, loop, too_many)
        task = loop.create_task(cygrpc._schedule_rpc_coro(answer, call, loop, path))
        self._answering.add(task)
        task.add_done_callback(self._answering.discard)


class GrpcServer(Server):  # type: ignore[misc] # grpc has no types
    """Serves registered methods, and those alone."""

    def __init__(
        self,
        interceptors: Sequence[ServerInterceptor],
        options: Sequence[tuple[str, int]],
        maximum_concurrent_rpcs: int,
    ) -> None:
        """See `grpc.aio.server`, which makes no servers of another class than its own."""
        self._loop = cygrpc.get_working_loop()
        self._server = _Core(self._loop, interceptors, options, maximum_concurrent_rpcs)
