"""grpcio's asyncio server, whose main loop a client cannot end."""

import asyncio
from collections.abc import Sequence
from typing import Any

from grpc._cython import cygrpc
from grpc.aio import ServerInterceptor
from grpc.aio._server import Server


class _Core(cygrpc.AioServer):  # type: ignore[misc] # grpc has no types
    """The server's inside, which sees to calls of unknown methods itself.

    grpcio 1.85.1 decodes the path of such a call in its main loop. One that is no UTF-8 ends the loop and the
    server, and started again after some hundred of them, the process died of a segmentation fault. A method
    that is served never takes that way: it is registered, and matched by its bytes. So the main loop gets no
    other call; what comes is answered here as grpcio answers it, by UNIMPLEMENTED.

    All of this is grpcio's private affair: its version is locked, and a test makes such calls.
    """

    def _make_request_call_future(self, method: bytes | None) -> "asyncio.Task[Any]":
        """Returns what ends with the next call of a registered method; without one, with the server."""
        if method is not None:
            return super()._make_request_call_future(method)  # type: ignore[no-any-return]
        return asyncio.create_task(self._refuse_unknown())

    async def _refuse_unknown(self) -> None:
        loop = asyncio.get_running_loop()
        none = cygrpc._MethodResolver([], {})
        answering: set[asyncio.Task[None]] = set()
        while True:
            call = await self._request_call()
            refusal = cygrpc._handle_rpc("an unknown one", none, (), call, loop, False)
            task = loop.create_task(cygrpc._schedule_rpc_coro(refusal, call, loop, "an unknown one"))
            answering.add(task)
            task.add_done_callback(answering.discard)


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
        self._server = _Core(self._loop, None, (), interceptors, tuple(options), maximum_concurrent_rpcs)
