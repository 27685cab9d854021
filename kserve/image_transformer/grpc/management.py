"""Triton's further methods: configuration, statistics and index; and what of them is not offered."""

from typing import Any, NoReturn

from google.protobuf.json_format import ParseDict

from image_transformer.codecs.management import REFUSED
from image_transformer.errors import ServiceError
from image_transformer.grpc import inference_pb2 as pb
from image_transformer.inference.catalogue import Catalogue


class ManagementService:
    """What is told about models and server; what every method takes and gives is in inference.proto."""

    def __init__(self, catalogue: Catalogue) -> None:
        self._catalogue = catalogue

    async def model_config(self, request: pb.ModelConfigRequest, context: Any) -> pb.ModelConfigResponse:
        """Describes what a model takes and gives here."""
        config = await self._catalogue.configuration(request.name, request.version or None)
        # The JSON has fields that Triton always writes, and that say nothing here; our message has none.
        return pb.ModelConfigResponse(config=ParseDict(config, pb.ModelConfig(), ignore_unknown_fields=True))

    async def model_statistics(
        self, request: pb.ModelStatisticsRequest, context: Any
    ) -> pb.ModelStatisticsResponse:
        """Tells what all models have done, or one, or one version of it."""
        counted = await self._catalogue.statistics(request.name or None, request.version or None)
        return ParseDict(counted, pb.ModelStatisticsResponse(), ignore_unknown_fields=True)

    async def repository_index(
        self, request: pb.RepositoryIndexRequest, context: Any
    ) -> pb.RepositoryIndexResponse:
        """Lists every version of every model, or what is ready."""
        index = await self._catalogue.index(ready_only=request.ready)
        return pb.RepositoryIndexResponse(models=index)

    async def trace_setting(self, request: pb.TraceSettingRequest, context: Any) -> pb.TraceSettingResponse:
        """Tells that there are no settings, and refuses to change any."""
        if request.model_name:
            await self._catalogue.ready(request.model_name)
        if request.settings:
            _refuse("trace")
        return pb.TraceSettingResponse()

    async def log_settings(self, request: pb.LogSettingsRequest, context: Any) -> pb.LogSettingsResponse:
        """Tells that there are no settings, and refuses to change any."""
        if request.settings:
            _refuse("logging")
        return pb.LogSettingsResponse()

    async def repository_model_load(self, request: Any, context: Any) -> NoReturn:
        """Refuses: which version is served is decided by a promotion."""
        _refuse("repository")

    async def repository_model_unload(self, request: Any, context: Any) -> NoReturn:
        """Refuses: which version is served is decided by a promotion."""
        _refuse("repository")

    async def system_shared_memory_status(
        self, request: Any, context: Any
    ) -> pb.SystemSharedMemoryStatusResponse:
        """Tells that no region is registered."""
        return pb.SystemSharedMemoryStatusResponse()

    async def system_shared_memory_register(self, request: Any, context: Any) -> NoReturn:
        """Refuses: clients are on other machines."""
        _refuse("systemsharedmemory")

    async def system_shared_memory_unregister(
        self, request: Any, context: Any
    ) -> pb.SystemSharedMemoryUnregisterResponse:
        """Does nothing, as Triton does where no region is registered."""
        return pb.SystemSharedMemoryUnregisterResponse()

    async def cuda_shared_memory_status(
        self, request: Any, context: Any
    ) -> pb.CudaSharedMemoryStatusResponse:
        """Tells that no region is registered."""
        return pb.CudaSharedMemoryStatusResponse()

    async def cuda_shared_memory_register(self, request: Any, context: Any) -> NoReturn:
        """Refuses: there is no GPU's memory here."""
        _refuse("cudasharedmemory")

    async def cuda_shared_memory_unregister(
        self, request: Any, context: Any
    ) -> pb.CudaSharedMemoryUnregisterResponse:
        """Does nothing, as Triton does where no region is registered."""
        return pb.CudaSharedMemoryUnregisterResponse()


def _refuse(extension: str) -> NoReturn:
    raise ServiceError("not_offered", REFUSED[extension])
