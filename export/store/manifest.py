"""What a version is and where it comes from: the one object that makes a version exist."""

import hashlib
import json
import re
from datetime import datetime
from pathlib import Path
from typing import Annotated, Any, Final, Literal, Self

from pydantic import AwareDatetime, BaseModel, ConfigDict, Field, JsonValue, ValidationError, model_validator

from export.errors import IntegrityError
from model.contract import CLASSES, FILTERS_MODEL_NAME, MODEL_NAME

MANIFEST_NAME: Final = "manifest.json"

_FILE = re.compile(
    rf"({MODEL_NAME}|{FILTERS_MODEL_NAME})/"
    r"(config\.pbtxt|configs/[a-z]+(-[0-9]+)?\.pbtxt|labels\.txt|(?P<version>[1-9][0-9]*)/model\.onnx)"
)


class _Record(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid")


class FileDigest(_Record):
    """What a file of a version must be."""

    sha256: Annotated[str, Field(pattern="^[0-9a-f]{64}$")]
    size: Annotated[int, Field(ge=0)]


class DataLineage(_Record):
    """What was trained on.

    Attributes:
        digest: Of the images and labels used, whatever file they came in.
        source: Folder, archive or address, as the user named it.
        kind: The whole of CIFAR-10's five classes, or the small sample of the repository.
    """

    digest: str
    source: str
    kind: Literal["cifar10", "sample"]


class Parity(_Record):
    """How far the exported graph is from the trained model.

    Attributes:
        images: Compared on so many.
        max_difference: Largest absolute difference of any probability.
        disagreements: Images whose most probable class differs.
    """

    images: int
    max_difference: float
    disagreements: int


class Lineage(_Record):
    """Where a version comes from; everything about it that is known before it has a number.

    Attributes:
        created: When it was exported.
        created_by: The user or the service account.
        metrics: `accuracy`, `val_accuracy`, `loss`, `val_loss` of training and validation.
        data: What was trained on.
        commit: The product's git commit, or its release where there is no git.
        mlflow_run: The run's id; None where MLflow was not reached.
        recipe: The training recipe's fields.
        seed: Of the run.
        temperature: The softmax temperature inside the graph.
        parity: Of the classifier; for an int8 graph to the float model it was made from.
        filters_parity: Of the filter model.
        decoder_version: Of `model.images.decode`, which prepared the images it was judged by.
        precision: Of the classifier's weights and activations.
        quantized_from: The version that an int8 graph was made from.
        classes: In the order of the probabilities.
    """

    created: AwareDatetime
    created_by: str
    metrics: dict[str, float]
    data: DataLineage
    commit: str
    mlflow_run: str | None
    recipe: dict[str, JsonValue]
    seed: int
    temperature: Annotated[float, Field(gt=0)]
    parity: Parity
    filters_parity: Parity
    decoder_version: str
    precision: Literal["float32", "int8"] = "float32"
    quantized_from: Annotated[int, Field(ge=1)] | None = None
    classes: tuple[str, ...] = CLASSES


class Manifest(Lineage):
    """A version: its number, its files, its lineage.

    Attributes:
        layout: Of the manifest itself and of the version's folder.
        version: The number, which is also Triton's version directory.
        files: Path below the version's folder → what the file must be. Only the names that
            `export.artifact` lays out are taken: nothing that runs as code, and no way out of the folder.
    """

    layout: Literal[1] = 1
    version: Annotated[int, Field(ge=1)]
    files: dict[str, FileDigest]

    @model_validator(mode="after")
    def _files_belong(self) -> Self:
        for path in self.files:
            match = _FILE.fullmatch(path)
            if not match or match["version"] not in {None, str(self.version)}:
                raise ValueError(f"{path!r} is no file of version {self.version}")
        needed = {f"{name}/{self.version}/model.onnx" for name in (MODEL_NAME, FILTERS_MODEL_NAME)}
        needed |= {f"{name}/config.pbtxt" for name in (MODEL_NAME, FILTERS_MODEL_NAME)}
        if missing := sorted(needed - self.files.keys()):
            raise ValueError(f"it does not list {', '.join(missing)}")
        return self

    def to_json(self) -> bytes:
        """The manifest as it is stored: readable JSON that carries a digest of itself."""
        content = self.model_dump(mode="json")
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
        if content.get("layout") != 1:
            raise IntegrityError(
                f"{name} has layout {content.get('layout')!r}, which this cnn-image does not know; update it."
            )
        try:
            return cls.model_validate_json(_dump(content))
        except ValidationError as error:
            first = error.errors()[0]
            where = ".".join(str(part) for part in first["loc"])
            raise IntegrityError(
                f"{name} is refused: {where + ': ' if where else ''}{first['msg']}."
            ) from None


def file_digest(path: Path) -> FileDigest:
    """Digest and size of a file."""
    data = path.read_bytes()
    return FileDigest(sha256=hashlib.sha256(data).hexdigest(), size=len(data))


def lineage_parameters(lineage: Lineage, version: int) -> dict[str, str]:
    """The lineage a reader of the served model needs, as text for config.pbtxt's `parameters`."""
    created: datetime = lineage.created
    return {
        "version": str(version),
        "created": created.isoformat(timespec="seconds"),
        "created_by": lineage.created_by,
        "commit": lineage.commit,
        "mlflow_run": lineage.mlflow_run or "",
        "data_digest": lineage.data.digest,
        "data_kind": lineage.data.kind,
        "decoder_version": lineage.decoder_version,
        "precision": lineage.precision,
        "temperature": f"{lineage.temperature:.6g}",
        "seed": str(lineage.seed),
        "classes": ",".join(lineage.classes),
        "metrics": json.dumps(lineage.metrics, sort_keys=True),
    }


def _dump(content: dict[str, Any]) -> bytes:
    return (json.dumps(content, indent=2, sort_keys=True) + "\n").encode()


def _digest(content: dict[str, Any]) -> str:
    return hashlib.sha256(_dump(content)).hexdigest()
