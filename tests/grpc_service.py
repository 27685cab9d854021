"""A small gRPC service, for tests of the server itself."""

import asyncio
from typing import Any

import grpc
from http2_peer import DATA, END_STREAM, frame, message

MANY = "/tests.Service/Many"
READS = "/tests.Service/Reads"


class Service:
    """Answers as it is told.

    Attributes:
        begun: Messages whose answering has begun, in turns of the event loop.
        gone: Messages that were cancelled.
    """

    def __init__(self) -> None:
        self.may = asyncio.Event()
        self.may.set()
        self.begun: list[bytes] = []
        self.gone: list[bytes] = []
        self.answer: Any = None

    async def one(self, request: bytes, context: Any) -> bytes:
        self.begun.append(request)
        try:
            await self.may.wait()
        except asyncio.CancelledError:
            self.gone.append(request)
            raise
        if isinstance(self.answer, Exception):
            raise self.answer
        return request if self.answer is None else self.answer

    async def reads(self, requests: Any, context: Any) -> None:
        while (request := await context.read()) is not grpc.aio.EOF:
            self.begun.append(request)

    async def many(self, requests: Any, context: Any) -> None:
        while (request := await context.read()) is not grpc.aio.EOF:
            self.begun.append(request)
            await self.may.wait()
            await context.write(request if self.answer is None else self.answer)


def data(stream: int, *contents: bytes, flags: int = END_STREAM) -> bytes:
    return frame(DATA, flags, stream, b"".join(message(one) for one in contents))


def written(answer: Any) -> bytes:
    """Takes bytes alone, as protobuf takes messages of a method alone."""
    if not isinstance(answer, bytes):
        raise TypeError(answer)
    return answer
