"""kserve's view of the service: the model its own routes call, and what they tell about it."""

from typing import Any, Final

from kserve.model import Model
from kserve.model_repository import ModelRepository
from kserve.protocol.dataplane import DataPlane
from kserve.protocol.grpc.grpc_predict_v2_pb2 import ModelInferRequest
from kserve.protocol.infer_type import InferOutput, InferRequest, InferResponse
from kserve.utils.utils import generate_uuid

from image_transformer.codecs.outputs import check_output
from image_transformer.codecs.tensors import Images
from image_transformer.codecs.v1 import v1_request
from image_transformer.codecs.v2 import check_input, check_shape, invalid, json_images
from image_transformer.inference.answer import Inference
from model.contract import INPUT_NAME, OUTPUT_NAME

# Triton's names of v2's extensions; perf_analyzer asks for statistics where they are named alone.
_EXTENSIONS: Final = ("binary_tensor_data", "classification", "model_configuration", "statistics")


class ImageModel(Model):
    """The model behind kserve's ordinary REST routes: v1 bodies, and v2 bodies that kserve has parsed."""

    def __init__(self, inference: Inference) -> None:
        super().__init__(inference.settings.model_name, return_response_headers=True)
        self._inference = inference
        self.ready = True

    async def predict(
        self,
        payload: dict[str, Any] | InferRequest | ModelInferRequest,
        headers: dict[str, str] | None = None,
        response_headers: dict[str, str] | None = None,
    ) -> dict[str, Any] | InferResponse:
        """Answers a request that came by kserve's own routing."""
        if isinstance(payload, ModelInferRequest):  # gRPC has a service of its own
            raise TypeError("kserve's REST routes never pass a gRPC message")
        key = ""
        if isinstance(payload, dict):
            encoded, key = v1_request(payload, self._inference.settings.max_images)
            images = Images(encoded)
        else:
            images = self._v2(payload)
        result = await self._inference.classify(images)
        if response_headers is not None:
            response_headers["x-model-version"] = result.version
            if (marks := result.told_marks) is not None:
                response_headers["x-out-of-distribution"] = marks
        if isinstance(payload, dict):
            return {key: result.probs.tolist()}
        output = InferOutput(OUTPUT_NAME, list(result.probs.shape), "FP32")
        output.set_data_from_numpy(result.probs, binary_data=bool(payload.use_binary_outputs))
        return InferResponse(
            response_id=payload.id or generate_uuid(),  # kserve answers 500 without one
            model_name=self.name,
            model_version=result.version,
            infer_outputs=[output],
            use_binary_outputs=payload.use_binary_outputs,
            requested_outputs=payload.request_outputs,
        )

    def _v2(self, payload: InferRequest) -> Images:
        if len(payload.inputs) != 1:
            raise invalid(f"The field `inputs` has to be a list of one tensor named {INPUT_NAME!r}.")
        check_input(payload.inputs[0].name)
        for output in payload.request_outputs or ():
            if check_output(output.name) != OUTPUT_NAME:
                raise invalid(f"By this route there is the output {OUTPUT_NAME!r} alone; ask for that.")
        tensor = payload.inputs[0]
        check_shape(
            tensor.datatype, tensor.shape, self._inference.settings.max_images, self._inference.triton.shapes
        )
        return json_images(tensor.datatype, tensor.data, tensor.shape, None)


class ImageDataPlane(DataPlane):
    """What kserve's routes and its gRPC service say about the server and the model."""

    def __init__(self, inference: Inference, server_version: str, registry: ModelRepository) -> None:
        super().__init__(registry)
        self._inference = inference
        self._server_name = "cnn-image-transformer"
        self._server_version = server_version

    def metadata(self) -> dict[str, Any]:
        """Describes the server."""
        return {
            "name": self._server_name,
            "version": self._server_version,
            "extensions": list(_EXTENSIONS),
        }

    async def model_metadata(self, model_name: str) -> dict[str, Any]:
        """Describes the model, with the versions that are served."""
        return await self._inference.catalogue.metadata(model_name)

    async def ready(self) -> bool:
        """Tells whether the model answers: a transformer without one is not ready."""
        return self._inference.ready

    async def model_ready(self, model_name: str, disable_predictor_health_check: bool = False) -> bool:
        """Tells whether the model answers; requests themselves are not held up by it."""
        ready = await self._inference.catalogue.ready(model_name)
        return disable_predictor_health_check or ready
