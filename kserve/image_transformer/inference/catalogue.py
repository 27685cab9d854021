"""What is told about the models: which there are, what they take and give, and what they have done.

Every protocol asks here, and everything it gets is in Triton's JSON form.
"""

import math
from collections.abc import Callable
from typing import Any, Final

from image_transformer.codecs import management
from image_transformer.codecs.v2 import metadata
from image_transformer.errors import ServiceError
from image_transformer.inference.asking import not_served
from image_transformer.settings import Settings
from image_transformer.triton.client import Triton
from image_transformer.triton.served import Served
from model.contract import DEFAULT_CONTRACT, OUTPUT_NAME

# What the filters make of a picture of 224 pixels has 2.4 MB, sixteen times the picture.
_FILTERED_BYTES: Final = 16_000_000
_FLOAT_BYTES: Final = 4


class Catalogue:
    """The classifier, and the small model beside it that shows what the filter bank makes of an image.

    Nobody watches the filters: who asks about them has Triton looked at first, so the methods are coroutines.
    """

    def __init__(
        self, settings: Settings, classifier: Triton, filters: Triton, closing: Callable[[], bool]
    ) -> None:
        """Takes both models.

        Args:
            settings: How many images a request may have, and how often Triton is looked at.
            classifier: The one that is watched.
            filters: The other.
            closing: Tells whether the service is about to end.
        """
        self._settings = settings
        self._classifier = classifier
        self._filters = filters
        self._closing = closing

    async def names(self) -> list[str]:
        """The models that there are, the classifier first."""
        await self._filters.fresh(self._settings.health_seconds)
        return [self._classifier.model, *([self._filters.model] if self._filters.ready else [])]

    async def ready(self, name: str, version: str | None = None) -> bool:
        """Tells whether a model, or one of its versions, answers.

        Raises:
            ServiceError: there is no such model, or another version is asked for than one that is served.
        """
        triton = await self._model(name)
        check_version(triton, version)
        return triton.ready and not self._closing()

    async def metadata(self, name: str, version: str | None = None) -> dict[str, Any]:
        """v2's description of a model, or of one of its versions.

        Raises:
            ServiceError: see `ready`.
        """
        triton = await self._model(name)
        known = _known(triton, version)
        versions = sorted((one.version for one in known), key=int)
        if not known:
            return metadata(name, versions, OUTPUT_NAME, [len(DEFAULT_CONTRACT.classes)])
        return metadata(name, versions, known[0].output, known[0].shape)

    async def configuration(self, name: str, version: str | None = None) -> dict[str, Any]:
        """A model's configuration as it is offered here, or that of a version; see `codecs.management`.

        Raises:
            ServiceError: see `ready`; or none was ready yet.
        """
        triton = await self._model(name)
        known = _known(triton, version)
        if not known:
            raise triton.unavailable()
        served = known[0]
        return management.configuration(
            name, self.most_images(served), {served.output: served.shape}, served.lineage
        )

    async def statistics(self, name: str | None = None, version: str | None = None) -> dict[str, Any]:
        """What every version that is served has done, or those of one model, or one version: `model_stats`.

        Raises:
            ServiceError: see `ready`.
        """
        tritons = await self._all() if name is None else [await self._model(name)]
        return {
            "model_stats": [
                management.statistics(triton.model, served.version, served.counted)
                for triton in tritons
                for served in reversed(_known(triton, version))
            ]
        }

    async def index(self, *, ready_only: bool = False) -> list[dict[str, str]]:
        """Every version that is served, or was until Triton went away: `name`, `version`, `state`, `reason`.

        Args:
            ready_only: Leaves out what is not ready.
        """
        rows = []
        for triton in await self._all():
            name = triton.model
            live = () if self._closing() else triton.endpoints.live
            for served in reversed(triton.known):
                row = {"name": name, "version": served.version, "state": "READY"}
                if served not in live:
                    reason = (
                        "The service is shutting down." if self._closing() else triton.unavailable().sentence
                    )
                    row |= {"state": "UNAVAILABLE", "reason": reason}
                rows.append(row)
            if not triton.known:
                rows.append({"name": name, "state": "UNAVAILABLE", "reason": triton.unavailable().sentence})
        return [row for row in rows if row["state"] == "READY" or not ready_only]

    async def check_filters(self, count: int) -> None:
        """Raises ServiceError when there are no filters, or not for so many images at once."""
        await self._model(self._filters.model)
        most = min(map(self.most_images, self._filters.known))
        if count > most:
            raise ServiceError(
                "too_many_images", f"The request has {count} images; send the filters at most {most} at once."
            )

    def most_images(self, served: Served) -> int:
        """How many images a request may have."""
        if served.output == OUTPUT_NAME:
            return self._settings.max_images
        fits = _FILTERED_BYTES // (math.prod(served.shape) * _FLOAT_BYTES)
        return max(1, min(self._settings.max_images, fits))

    async def _all(self) -> list[Triton]:
        """The models that there are, the classifier first; both also where Triton went away with them."""
        filters = self._filters
        await filters.fresh(self._settings.health_seconds)
        there = filters.ready or (filters.known and not self._classifier.ready)
        return [self._classifier, filters] if there else [self._classifier]

    async def _model(self, name: str) -> Triton:
        """Returns the model of a name.

        Raises:
            ServiceError: there is none.
        """
        if name == self._classifier.model:
            return self._classifier
        if name != self._filters.model:
            raise unknown_model(name, self._classifier.model)
        await self._filters.fresh(self._settings.health_seconds)
        if not self._filters.ready:
            if not self._classifier.ready:
                raise self._classifier.unavailable()
            raise ServiceError(
                "unknown_model",
                f"The version that is served came without {name!r}; ask for {self._classifier.model!r}.",
            )
        return self._filters


def unknown_model(name: str, known: str) -> ServiceError:
    """The answer to who asks for a model that there is not."""
    return ServiceError("unknown_model", f"There is no model {name[:80]!r}; ask for {known!r}.")


def check_version(triton: Triton, asked: str | None) -> None:
    """Raises ServiceError when another version is asked for than one that is served."""
    known = triton.known
    if asked is not None and known and all(served.version != asked for served in known):
        raise not_served(asked, known)


def _known(triton: Triton, version: str | None) -> list[Served]:
    """The versions that are served, the newest first, or the one that is asked for."""
    check_version(triton, version)
    return [served for served in triton.known if version in {None, served.version}]
