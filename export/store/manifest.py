"""What a version is: the one object that makes a version exist."""

import hashlib
import json
import re
from pathlib import Path
from typing import Annotated, Any, Final, Literal, Self

from pydantic import Field, ValidationError, model_validator

from export.errors import IntegrityError
from export.store.lineage import NEW_IN_2, Lineage, Record

MANIFEST_NAME: Final = "manifest.json"
LAYOUT: Final = 2
"""What is written. Layout 1, which had `classes` in place of a contract and no evidence, is read for ever."""

_FILE = re.compile(
    r"(?P<model>[^/]+)/"
    r"(config\.pbtxt|configs/[a-z]+(-[0-9]+)?\.pbtxt|labels\.txt|(?P<version>[1-9][0-9]*)/model\.onnx)"
)


class FileDigest(Record):
    """What a file of a version must be."""

    sha256: Annotated[str, Field(pattern="^[0-9a-f]{64}$")]
    size: Annotated[int, Field(ge=0)]


class Manifest(Lineage):
    """A version: its number, its files, its lineage.

    Attributes:
        layout: Of the manifest itself and of the version's folder.
        version: The number, which is also Triton's version directory.
        files: Path below the version's folder → what the file must be. Only the names that
            `export.artifact` lays out are taken: nothing that runs as code, and no way out of the folder.
        evidence: Name → what was attached to the version as it was published: the splits of its data, known
            images. Not in the version's folder; see `export.store.versions.Store.evidence`.
    """

    layout: Literal[1, 2] = LAYOUT
    version: Annotated[int, Field(ge=1)]
    files: dict[str, FileDigest]
    evidence: dict[Annotated[str, Field(pattern=r"^[a-z0-9][a-z0-9_.-]*\z")], FileDigest] = Field(
        default_factory=dict
    )

    @property
    def classifier_file(self) -> str:
        """The classifier's graph, as a path below the version's folder."""
        return f"{self.contract.model}/{self.version}/model.onnx"

    @property
    def filters_file(self) -> str:
        """The filter model's graph, as a path below the version's folder."""
        return f"{self.contract.filters_model}/{self.version}/model.onnx"

    @model_validator(mode="after")
    def _files_belong(self) -> Self:
        models = (self.contract.model, self.contract.filters_model)
        for path in self.files:
            match = _FILE.fullmatch(path)
            if not match or match["model"] not in models or match["version"] not in {None, str(self.version)}:
                raise ValueError(f"{path!r} is no file of version {self.version}")
        needed = {self.classifier_file, self.filters_file, *(f"{name}/config.pbtxt" for name in models)}
        if missing := sorted(needed - self.files.keys()):
            raise ValueError(f"it does not list {', '.join(missing)}")
        return self

    def to_json(self) -> bytes:
        """The manifest as it is stored: readable JSON that carries a digest of itself.

        One that was read gives back the bytes it was read from, in either layout.
        """
        # Layout 1 is only ever read, and what it does not say must not be added.
        content = self.model_dump(mode="json", exclude_unset=self.layout == 1)
        if self.layout == 1:
            for name in NEW_IN_2:
                content.pop(name, None)
            if "contract" in self.model_fields_set:
                content["classes"] = list(self.classes)
        return _dump({**content, "sha256": _digest(content)})

    @classmethod
    def from_json(cls, data: bytes, *, name: str) -> Self:
        """Read a manifest and check that it is what was written.

        Args:
            data: What `to_json` made.
            name: What to call it in an error.

        Raises:
            IntegrityError: It was changed, is cut short, or was written by a newer cnn-image.
        """
        try:
            content = json.loads(data)
            stated = content.pop("sha256")
        except (ValueError, KeyError, AttributeError, TypeError):
            raise IntegrityError(
                f"{name} is not a manifest; publish the model again as a new version."
            ) from None
        if stated != _digest(content):
            raise IntegrityError(f"{name} is not what was published (digest); publish the model again.")
        if content.get("layout") not in {1, LAYOUT}:
            raise IntegrityError(
                f"{name} has layout {content.get('layout')!r}, which this cnn-image does not know; update it."
            )
        try:
            return cls.model_validate_json(_dump(content))
        except ValidationError as error:
            first = error.errors()[0]
            where = ".".join(str(part) for part in first["loc"])
            reason = first["msg"].removeprefix("Value error, ").removesuffix(".")
            raise IntegrityError(f"{name} is refused: {where + ': ' if where else ''}{reason}.") from None


def read_manifest(folder: Path) -> Manifest:
    """The manifest in a folder that a version was fetched to.

    Raises:
        IntegrityError: There is none, or it is not what was published.
    """
    path = folder / MANIFEST_NAME
    try:
        return Manifest.from_json(path.read_bytes(), name=str(path))
    except FileNotFoundError:
        raise IntegrityError(f"There is no {MANIFEST_NAME} in {folder}; fetch the version again.") from None


def file_digest(path: Path) -> FileDigest:
    """Digest and size of a file."""
    return digest_of(path.read_bytes())


def digest_of(data: bytes) -> FileDigest:
    """Digest and size of a file's content."""
    return FileDigest(sha256=hashlib.sha256(data).hexdigest(), size=len(data))


def _dump(content: dict[str, Any]) -> bytes:
    return (json.dumps(content, indent=2, sort_keys=True) + "\n").encode()


def _digest(content: dict[str, Any]) -> str:
    return hashlib.sha256(_dump(content)).hexdigest()
