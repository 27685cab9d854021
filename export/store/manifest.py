"""What a version is and where it comes from: the one object that makes a version exist."""

import hashlib
import json
import re
from dataclasses import asdict
from datetime import datetime
from pathlib import Path
from typing import Annotated, Any, Final, Literal, Self

from pydantic import (
    AwareDatetime,
    BaseModel,
    ConfigDict,
    Field,
    JsonValue,
    ValidationError,
    field_validator,
    model_validator,
)

from export.errors import IntegrityError
from model.contract import DEFAULT_CONTRACT, Contract

MANIFEST_NAME: Final = "manifest.json"
LAYOUT: Final = 2
"""What is written. Layout 1, which had `classes` in place of a contract and no evidence, is read for ever."""

_NEW_IN_2: Final = frozenset({"contract", "class_list", "evidence"})
_FILE = re.compile(
    r"(?P<model>[^/]+)/"
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
        kind: The whole of CIFAR-10's five classes, the small sample of the repository, or one's own images.
    """

    digest: str
    source: str
    kind: Literal["cifar10", "sample", "images"]


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
        contract: What it takes and what it answers.
        class_list: Which list of the store's class ids it follows; see `export.store.classes`.
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
    contract: Contract = DEFAULT_CONTRACT
    class_list: Annotated[int, Field(ge=1)] = 1

    @model_validator(mode="before")
    @classmethod
    def _from_before_contracts(cls, content: Any) -> Any:
        """Layout 1, and the lineage that an earlier release left in the folder of a run."""
        if not isinstance(content, dict) or (content.get("layout") != 1 and "classes" not in content):
            return content
        if content.get("layout", 1) != 1:
            raise ValueError(f"layout {content['layout']} has no classes")
        if newer := sorted(_NEW_IN_2 & content.keys()):
            raise ValueError(f"layout 1 has no {', '.join(newer)}")
        kept = {name: value for name, value in content.items() if name != "classes"}
        if "classes" not in content:
            return kept
        return {**kept, "contract": asdict(DEFAULT_CONTRACT) | {"classes": content["classes"]}}

    @field_validator("contract", mode="before")
    @classmethod
    def _contract_in_its_own_words(cls, value: object) -> object:
        """What cannot be kept, or what a newer cnn-image wrote, is told by the contract's own sentence."""
        return Contract.from_json(json.dumps(value)) if isinstance(value, dict) else value

    @property
    def classes(self) -> tuple[str, ...]:
        """In the order of the probabilities."""
        return self.contract.classes


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
    evidence: dict[Annotated[str, Field(pattern=r"^[a-z0-9][a-z0-9_.-]*\z")], FileDigest] = {}

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
            for name in _NEW_IN_2:
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


def lineage_parameters(lineage: Lineage, version: int) -> dict[str, str]:
    """The lineage a reader of the served model needs, as text for config.pbtxt's `parameters`.

    `contract` is the contract, in JSON. `classes` repeats its names, joined by commas as they always were;
    where one of them has a comma it is left out, because who splits it there would read other classes.
    """
    created: datetime = lineage.created
    commas = any("," in name for name in lineage.classes)
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
        **({} if commas else {"classes": ",".join(lineage.classes)}),
        "contract": lineage.contract.to_json(),
        "metrics": json.dumps(lineage.metrics, sort_keys=True),
    }


def _dump(content: dict[str, Any]) -> bytes:
    return (json.dumps(content, indent=2, sort_keys=True) + "\n").encode()


def _digest(content: dict[str, Any]) -> str:
    return hashlib.sha256(_dump(content)).hexdigest()
