"""Triton's further methods: configuration, statistics, index, and those that are refused."""

from typing import Any, Final, NoReturn

from image_transformer.errors import ServiceError

_PROMOTE: Final = "Models are not loaded or unloaded here; promote a version."


class ManagementService:
    """What is told about models and server; what every method takes and gives is in inference.proto."""

    def __getattr__(self, name: str) -> Any:
        async def refuse(request: Any, context: Any) -> NoReturn:
            raise ServiceError("unknown_route", _PROMOTE)

        return refuse
