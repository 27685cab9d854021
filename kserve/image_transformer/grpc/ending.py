"""The end of streams that their clients would keep open for ever, when the server ends."""

import asyncio
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager, contextmanager
from typing import Any, NoReturn

from image_transformer.errors import ServiceError
from image_transformer.grpc.guard import refuse
from image_transformer.http.request import request_id


class Ending:
    """Cancels what is under way, once."""

    def __init__(self) -> None:
        self._tasks: set[asyncio.Task[Any]] = set()
        self._begun = False

    @contextmanager
    def of(self, task: asyncio.Task[Any]) -> Iterator[None]:
        """Has a task cancelled at the end, if that comes within the block or has come before."""
        self._tasks.add(task)
        if self._begun:
            task.cancel()
        try:
            yield
        finally:
            self._tasks.discard(task)

    @asynccontextmanager
    async def of_call(self, context: Any) -> AsyncIterator[None]:
        """Sends a call's client away at the end, if that comes within the block."""
        task = asyncio.current_task()
        if task is None:
            raise RuntimeError("a call is answered by a task")
        try:
            with self.of(task):
                yield
        except asyncio.CancelledError:
            if not self._begun:
                raise
            task.uncancel()
            await self.refuse(context)

    async def refuse(self, context: Any) -> NoReturn:
        """Tells a client that its stream ends here."""
        error = ServiceError("shutting_down", "The service ends; open a new stream for what comes next.")
        await refuse(context, error, request_id(None))

    def begin(self) -> None:
        """Cancels all that is under way."""
        self._begun = True
        for task in self._tasks:
            task.cancel()
