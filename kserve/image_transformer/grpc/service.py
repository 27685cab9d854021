"""v2 over gRPC: the Open Inference Protocol's own methods, with our model behind them."""

import math
from collections.abc import Callable, Mapping, Sequence
from typing import Any, Final

import numpy as np
from kserve.protocol.dataplane import DataPlane

from image_transformer.codecs.outputs import (
    Asked,
    Datatype,
    check_memory,
    check_output,
    check_top,
    once,
    tensor,
)
from image_transformer.codecs.tensors import Filtered, Images, Probabilities, Shape
from image_transformer.codecs.v2 import check_shape, from_raw, invalid
from image_transformer.errors import ServiceError
from image_transformer.grpc import inference_pb2 as pb
from image_transformer.grpc.guard import refuse
from image_transformer.http.request import request_id
from image_transformer.inference.answer import Inference
from image_transformer.inference.catalogue import unknown_model
from image_transformer.inference.offers import offers
from image_transformer.observe.requests import Observer
from model.contract import INPUT_NAME

_FLOAT_BYTES: Final = 4


def parse_request(request: pb.ModelInferRequest, max_images: int, taken: Sequence[Shape]) -> Images:
    """Takes the images out of a request, raw or as typed contents.

    Args:
        request: The message.
        max_images: How many images it may have.
        taken: Shapes of pixels; see `image_transformer.codecs.v2.check_shape`.

    Raises:
        ServiceError: it is not of the model's form.
    """
    if len(request.inputs) != 1 or request.inputs[0].name != INPUT_NAME:
        raise invalid(f"The request has to have one input, named {INPUT_NAME!r}.")
    sent = request.inputs[0]
    check_memory(sent.parameters)
    datatype, shape = check_shape(sent.datatype, list(sent.shape), max_images, taken)
    version = request.model_version or None
    if request.raw_input_contents:
        if len(request.raw_input_contents) != 1 or sent.HasField("contents"):
            raise invalid("The input has to come once: in raw_input_contents, or in its contents.")
        return from_raw(datatype, request.raw_input_contents[0], shape, version)
    if datatype == "BYTES":
        count = shape[0]
        if len(sent.contents.bytes_contents) != count:
            raise invalid(
                f"The input has {len(sent.contents.bytes_contents)} elements; its shape says {count}."
            )
        return Images(list(sent.contents.bytes_contents), version=version)
    values = np.fromiter(sent.contents.uint_contents, np.uint32)
    if values.max(initial=0) > 255:
        raise invalid("The input has values outside 0 to 255; send 8-bit pixels.")
    return from_raw("UINT8", values.astype(np.uint8).tobytes(), shape, version)


def parse_outputs(request: pb.ModelInferRequest, offered: Mapping[str, Datatype]) -> tuple[Asked, ...]:
    """Returns the outputs that a request asks for, in its order.

    Args:
        request: The message.
        offered: The model's outputs; see `codecs.outputs.check_output`.

    Raises:
        ServiceError: the model has no such, or not in that form.
    """
    if not request.outputs:
        return (Asked(next(iter(offered))),)
    return once(_asked(output, offered) for output in request.outputs)


def _asked(output: pb.ModelInferRequest.InferRequestedOutputTensor, offered: Mapping[str, Datatype]) -> Asked:
    name = check_output(output.name, tuple(output.parameters), offered)
    if "classification" not in output.parameters:
        return Asked(name)
    return Asked(name, top=check_top(name, _number(output.parameters["classification"])))


def _number(parameter: pb.InferParameter) -> object:
    kind = parameter.WhichOneof("parameter_choice")
    return getattr(parameter, kind) if kind == "int64_param" else None


def answer(
    request: pb.ModelInferRequest, outputs: Sequence[Asked], result: Probabilities | Filtered
) -> pb.ModelInferResponse:
    """Writes the answer: raw where the request was raw, as Triton does."""
    response = pb.ModelInferResponse(
        model_name=request.model_name, model_version=result.version, id=request.id
    )
    for asked in outputs:
        made = tensor(asked, result)
        output = response.outputs.add(name=made.name, datatype=made.datatype, shape=made.shape)
        if request.raw_input_contents:
            response.raw_output_contents.append(made.raw())
        elif isinstance(made.values, list):
            output.contents.bytes_contents.extend(text.encode() for text in made.values)
        elif made.datatype == "INT64":
            output.contents.int64_contents.extend(made.values.ravel().tolist())
        else:
            output.contents.fp32_contents.extend(made.values.ravel().tolist())
    return response


class InferenceService:
    """Inference, metadata and readiness; what every method takes and gives is in inference.proto."""

    def __init__(self, data_plane: DataPlane, inference: Inference, observer: Observer) -> None:
        self._data_plane = data_plane
        self._inference = inference
        self._offers = offers(inference)
        self._observer = observer

    async def server_live(self, request: pb.ServerLiveRequest, context: Any) -> pb.ServerLiveResponse:
        """Tells that the process answers."""
        return pb.ServerLiveResponse(live=True)

    async def server_ready(self, request: pb.ServerReadyRequest, context: Any) -> pb.ServerReadyResponse:
        """Tells whether the model answers."""
        return pb.ServerReadyResponse(ready=self._inference.ready)

    async def server_metadata(
        self, request: pb.ServerMetadataRequest, context: Any
    ) -> pb.ServerMetadataResponse:
        """Describes the server."""
        return pb.ServerMetadataResponse(**self._data_plane.metadata())

    async def model_metadata(
        self, request: pb.ModelMetadataRequest, context: Any
    ) -> pb.ModelMetadataResponse:
        """Describes the model or one of its versions, and names those that are served."""
        described = await self._inference.catalogue.metadata(request.name, request.version or None)
        return pb.ModelMetadataResponse(**described)

    async def model_ready(self, request: pb.ModelReadyRequest, context: Any) -> pb.ModelReadyResponse:
        """Tells whether the model answers."""
        ready = await self._inference.catalogue.ready(request.name, request.version or None)
        return pb.ModelReadyResponse(ready=ready)

    async def model_infer(self, request: pb.ModelInferRequest, context: Any) -> pb.ModelInferResponse:
        """Answers an inference."""
        metadata = dict(context.invocation_metadata() or ())
        identity = request_id(str(metadata.get("x-request-id", "")).encode() or None)
        traced = {
            name.encode(): str(metadata[name]).encode()
            for name in ("traceparent", "tracestate")
            if name in metadata
        }
        with self._observer.request("grpc", identity, traced) as observation:
            try:
                with self._inference.held.during(request.ByteSize()):
                    response = await self.infer(request, lambda: not context.cancelled())
            except ServiceError as error:
                observation.failed(error)
                await refuse(context, error, identity)
            observation.status = 200
            return response

    async def infer(self, request: pb.ModelInferRequest, alive: Callable[[], bool]) -> pb.ModelInferResponse:
        """Answers one message, of a call or of a stream.

        Args:
            request: The message, whose bytes are counted as held.
            alive: Tells whether the client still waits.

        Raises:
            ServiceError: see `Inference.classify`.
        """
        offer = self._offers.get(request.model_name)
        if offer is None:
            raise unknown_model(request.model_name, self._inference.triton.model)
        outputs = parse_outputs(request, offer.outputs)
        images = parse_request(request, self._inference.settings.max_images, offer.triton.shapes)
        return answer(request, outputs, await offer.answer(images, alive))

    def answer_bytes(self, model: str) -> int | None:
        """What an answer has for an image at most; None while nobody knows, 0 where there is no model."""
        offer = self._offers.get(model)
        if offer is None:
            return 0
        return max((math.prod(one.shape) * _FLOAT_BYTES for one in offer.triton.known), default=None)
