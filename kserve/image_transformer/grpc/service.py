"""v2 over gRPC: kserve's service with our model behind it."""

from collections.abc import Awaitable, Callable, Sequence
from typing import Any, NoReturn

import numpy as np
from google.protobuf.message import DecodeError
from grpc import HandlerCallDetails, StatusCode, aio, unary_unary_rpc_method_handler
from grpc_interceptor.exceptions import GrpcException
from kserve.protocol.dataplane import DataPlane
from kserve.protocol.grpc import grpc_predict_v2_pb2 as pb
from kserve.protocol.grpc.servicer import InferenceServicer
from kserve.protocol.model_repository_extension import ModelRepositoryExtension

from image_transformer.codecs.outputs import Asked, check_output, check_top, once, tensor
from image_transformer.codecs.tensors import Images, Probabilities, Shape
from image_transformer.codecs.v2 import check_shape, from_raw, invalid
from image_transformer.errors import ServiceError
from image_transformer.grpc.message_size import MOST, is_modest
from image_transformer.http.request import request_id
from image_transformer.inference.answer import Inference
from image_transformer.observe.requests import Observer
from model.contract import INPUT_NAME


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


def parse_outputs(request: pb.ModelInferRequest) -> tuple[Asked, ...]:
    """Returns the outputs that a request asks for, in its order.

    Raises:
        ServiceError: the model has no such, or not in that form.
    """
    if not request.outputs:
        return (Asked(),)
    return once(_asked(output) for output in request.outputs)


def _asked(output: pb.ModelInferRequest.InferRequestedOutputTensor) -> Asked:
    name = check_output(output.name, tuple(output.parameters))
    if "classification" not in output.parameters:
        return Asked(name)
    return Asked(name, top=check_top(name, _number(output.parameters["classification"])))


def _number(parameter: pb.InferParameter) -> object:
    kind = parameter.WhichOneof("parameter_choice")
    return getattr(parameter, kind) if kind == "int64_param" else None


def answer(
    request: pb.ModelInferRequest, outputs: Sequence[Asked], result: Probabilities
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


class ImageServicer(InferenceServicer):
    """kserve's service; inference, versions and readiness are ours. Nobody unloads the model from outside."""

    def __init__(
        self,
        data_plane: DataPlane,
        repository: ModelRepositoryExtension,
        inference: Inference,
        observer: Observer,
    ) -> None:
        super().__init__(data_plane, repository)
        self._inference = inference
        self._observer = observer

    async def ModelInfer(self, request: pb.ModelInferRequest, context: Any) -> pb.ModelInferResponse:  # noqa: N802
        """Answers an inference."""
        metadata = dict(context.invocation_metadata() or ())
        identity = request_id(str(metadata.get("x-request-id", "")).encode() or None)
        with self._observer.request("grpc", identity) as observation:
            try:
                self._inference.check_model(request.model_name)
                with self._inference.held.during(request.ByteSize()):
                    outputs = parse_outputs(request)
                    images = parse_request(
                        request, self._inference.settings.max_images, self._inference.triton.shapes
                    )
                    result = await self._inference.classify(images, lambda: not context.cancelled())
                observation.status = 200
                return answer(request, outputs, result)
            except ServiceError as error:
                observation.failed(error)
                _refuse(context, error, identity)

    async def ModelMetadata(self, request: pb.ModelMetadataRequest, context: Any) -> pb.ModelMetadataResponse:  # noqa: N802
        """Describes the model or one of its versions, and names those that are served."""
        try:
            described = await self._inference.catalogue.metadata(request.name, request.version or None)
        except ServiceError as error:
            _refuse(context, error, "")
        return pb.ModelMetadataResponse(**described)

    async def ModelReady(self, request: pb.ModelReadyRequest, context: Any) -> pb.ModelReadyResponse:  # noqa: N802
        """Tells whether the model answers."""
        try:
            ready = await self._inference.catalogue.ready(request.name, request.version or None)
        except ServiceError as error:
            _refuse(context, error, "")
        return pb.ModelReadyResponse(ready=ready)

    async def RepositoryModelLoad(self, request: Any, context: Any) -> NoReturn:  # noqa: N802
        """Refuses: which version is served is decided by a promotion."""
        _refuse(context, _no_repository(), "")

    async def RepositoryModelUnload(self, request: Any, context: Any) -> NoReturn:  # noqa: N802
        """Refuses: which version is served is decided by a promotion."""
        _refuse(context, _no_repository(), "")


class MessageInterceptor(aio.ServerInterceptor):  # type: ignore[misc] # grpc has no types
    """Refuses bytes that are no message of the method's, or would become a far larger one.

    grpc itself calls the first a fault of the server, and parses the second.
    """

    def __init__(self, observer: Observer) -> None:
        self._observer = observer

    async def intercept_service(
        self, continuation: Callable[[HandlerCallDetails], Awaitable[Any]], handler_call_details: Any
    ) -> Any:
        """Wraps a method; its request is a ServiceError where it is not read."""
        method = await continuation(handler_call_details)
        if method is None or method.unary_unary is None:
            return method

        infer = handler_call_details.method.endswith("/ModelInfer")

        def read(message: bytes) -> Any:
            if not is_modest(message, infer=infer):
                return ServiceError(
                    "too_many_bytes",
                    f"The message has over {MOST:,} bytes beside raw tensors and encoded images; send less.",
                )
            try:
                return method.request_deserializer(message)
            except DecodeError:
                return invalid("The message is not the method's protobuf message; send one.")

        async def answer(request: Any, context: Any) -> Any:
            if not isinstance(request, ServiceError):
                return await method.unary_unary(request, context)
            identity, error = request_id(None), request
            with self._observer.request("grpc", identity) as observation:
                observation.failed(error)
            _refuse(context, error, identity)

        return unary_unary_rpc_method_handler(answer, read, method.response_serializer)


def _no_repository() -> ServiceError:
    return ServiceError("unknown_route", "Models are not loaded or unloaded here; promote a version.")


def _refuse(context: Any, error: ServiceError, identity: str) -> NoReturn:
    trailer = [("code", error.code), ("x-request-id", identity)]
    if error.failure.retry_after is not None:
        trailer.append(("retry-after", str(error.failure.retry_after)))
    context.set_trailing_metadata(tuple(trailer))
    # kserve's interceptor makes the status of this exception.
    raise GrpcException(error.sentence, StatusCode[error.failure.grpc]) from None
