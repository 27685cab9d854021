"""ModelStreamInfer: many messages on one call, answered in their order, whatever becomes of each."""

import asyncio
import logging
from collections.abc import Coroutine
from typing import Any, Final, NamedTuple

import grpc

from image_transformer.errors import ServiceError
from image_transformer.grpc import inference_pb2 as pb
from image_transformer.grpc.calls.status import INTERNAL
from image_transformer.grpc.ending import Ending
from image_transformer.grpc.guard import refuse
from image_transformer.grpc.service import InferenceService
from image_transformer.http.request import request_id
from image_transformer.inference.held import Held
from image_transformer.inference.room import Room
from image_transformer.observe.requests import Observer

log = logging.getLogger(__name__)

_Answering = Coroutine[Any, Any, pb.ModelStreamInferResponse]

# What one stream may have under way, with answers that its client does not fetch: 128 messages of an image.
_UNDER_WAY_BYTES: Final = 16_000_000
_BYTES_AN_IMAGE: Final = 125_000
# Triton's parameters of a stream (docs/user_guide/decoupled_models.md of triton-inference-server/server).
_EMPTY_FINAL: Final = "triton_enable_empty_final_response"
_FINAL: Final = "triton_final_response"
# And its header (docs/customization_guide/inference_protocols.md there): an error is the stream's status.
_ENDS_WITH_AN_ERROR: Final = "triton_grpc_error"


class _Message(NamedTuple):
    """One message under way.

    Attributes:
        answer: What becomes its answer; it never fails.
        room: What it takes of the stream's.
    """

    answer: "asyncio.Task[pb.ModelStreamInferResponse]"
    room: int


class StreamService:
    """The streams of all clients."""

    def __init__(self, inference: InferenceService, held: Held, observer: Observer, ending: Ending) -> None:
        self._inference = inference
        self._held = held
        self._observer = observer
        self._ending = ending

    async def model_stream_infer(self, requests: Any, context: Any) -> None:
        """Answers a stream until its client ends it, or the server does."""
        stream = _Stream(self._inference, self._held, self._observer, context)
        reading = asyncio.create_task(stream.read())
        try:
            with self._ending.of(reading):
                await stream.answer()
                await asyncio.wait((reading,))
            if reading.cancelled():
                await self._ending.refuse(context)
            reading.result()
        finally:
            reading.cancel()
            stream.drop()


class _Stream:
    """One client's: messages are read while there is room, begun side by side, and answered in turn."""

    def __init__(self, inference: InferenceService, held: Held, observer: Observer, context: Any) -> None:
        self._inference = inference
        self._held = held
        self._observer = observer
        self._context = context
        metadata = dict(context.invocation_metadata() or ())
        self._ends_with_an_error = metadata.get(_ENDS_WITH_AN_ERROR) == "true"
        self._room = Room(_UNDER_WAY_BYTES)
        self._under_way: asyncio.Queue[_Message | None] = asyncio.Queue()

    async def read(self) -> None:
        """Takes messages up until the client sends no more, or nobody wants more of them."""
        try:
            while await self._read_one():
                pass
        finally:
            self._under_way.put_nowait(None)

    async def answer(self) -> None:
        """Sends the answers, each after those of the messages before it."""
        while await self._answer_one():
            pass

    def drop(self) -> None:
        """Gives up what nobody waits for any more."""
        while not self._under_way.empty():
            message = self._under_way.get_nowait()
            if message is not None:
                message.answer.cancel()

    # A message and its answer may have megabytes, and a stream be silent for hours after them. So each is
    # taken up, and sent, by a coroutine of its own, which ends.

    async def _read_one(self) -> bool:
        request = await self._context.read()
        if request is grpc.aio.EOF:
            return False
        await self._take_up(request)
        return True

    async def _answer_one(self) -> bool:
        message = await self._under_way.get()
        if message is None:
            return False
        answer = await message.answer
        if self._ends_with_an_error and answer.error_message:
            code = answer.infer_response.parameters["code"].string_param
            identity = request_id(answer.infer_response.id.encode() or None)
            await refuse(self._context, ServiceError(code, answer.error_message), identity)
        await self._context.write(answer)
        self._room.leave(message.room)
        return True

    async def _take_up(self, request: pb.ModelInferRequest | ServiceError) -> None:
        """Begins a message as soon as there is room for it; its bytes are held from now on."""
        if isinstance(request, ServiceError):
            await self._begin(self._refuse("", request), _BYTES_AN_IMAGE)
            return
        length = request.ByteSize()
        try:
            self._held.take(length)
        except ServiceError as error:
            await self._begin(self._refuse(request.id, error), _BYTES_AN_IMAGE)
            return
        begun = None
        try:
            begun = await self._begin(self._answer(request), length + self._answers(request))
            begun.add_done_callback(lambda _: self._held.give_back(length))
        finally:
            if begun is None:
                self._held.give_back(length)

    async def _begin(self, answering: _Answering, size: int) -> "asyncio.Task[pb.ModelStreamInferResponse]":
        try:
            room = await self._room.enter(size)
        except asyncio.CancelledError:
            answering.close()
            raise
        begun = asyncio.create_task(answering)
        self._under_way.put_nowait(_Message(begun, room))
        return begun

    async def _answer(self, request: pb.ModelInferRequest) -> pb.ModelStreamInferResponse:
        identity = request_id(request.id.encode() or None)
        with self._observer.request("grpc_stream", identity) as observation:
            try:
                if request.parameters and _EMPTY_FINAL in request.parameters:
                    _check_flag(request.parameters[_EMPTY_FINAL])
                answer = await self._inference.infer(request, lambda: not self._context.cancelled())
            except ServiceError as error:
                observation.failed(error)
                return _failure(request.id, error)
            except Exception:
                log.exception("a message of a stream failed", extra={"request_id": identity})
                ours = ServiceError("internal", INTERNAL)
                observation.failed(ours)
                return _failure(request.id, ours)
            observation.status = 200
        answer.parameters[_FINAL].bool_param = True
        return pb.ModelStreamInferResponse(infer_response=answer)

    def _answers(self, request: pb.ModelInferRequest) -> int:
        """What a message takes of the room beside its bytes: for as many images as it says that it has."""
        shape = request.inputs[0].shape if request.inputs else ()
        images = max(1, shape[0]) if shape else 1
        each = self._inference.answer_bytes(request.model_name)
        # The filters' may be megabytes; while that is not known, one message is under way.
        return _UNDER_WAY_BYTES if each is None else images * max(each, _BYTES_AN_IMAGE)

    async def _refuse(self, message_id: str, error: ServiceError) -> pb.ModelStreamInferResponse:
        with self._observer.request("grpc_stream", request_id(message_id.encode() or None)) as observation:
            observation.failed(error)
        return _failure(message_id, error)


def _check_flag(parameter: pb.InferParameter) -> None:
    """Triton's own words for it; whether it is set changes nothing where every message has one answer."""
    if parameter.WhichOneof("parameter_choice") != "bool_param":
        raise ServiceError(
            "invalid_request", f"invalid value type for '{_EMPTY_FINAL}' parameter, expected bool_param."
        )


def _failure(message_id: str, error: ServiceError) -> pb.ModelStreamInferResponse:
    """Triton's form of an error in a stream, and the code that other clients find behind the status."""
    response = pb.ModelStreamInferResponse(
        error_message=error.sentence, infer_response=pb.ModelInferResponse(id=message_id)
    )
    response.infer_response.parameters["code"].string_param = error.code
    return response
