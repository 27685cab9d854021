"""Where a version comes from: everything about it that is known before it has a number."""

import json
from dataclasses import asdict
from datetime import datetime
from typing import Annotated, Any, Final, Literal

from pydantic import (
    AwareDatetime,
    BaseModel,
    ConfigDict,
    Field,
    JsonValue,
    SerializerFunctionWrapHandler,
    field_validator,
    model_serializer,
    model_validator,
)

from model.contract import DEFAULT_CONTRACT, Contract

NEW_IN_2: Final = frozenset({"contract", "class_list", "evidence", "pretrained"})
"""What a manifest of layout 1 has not; see `export.store.manifest`."""


class Record(BaseModel):
    """What is read as it was written: unknown fields are refused, nothing changes."""

    model_config = ConfigDict(frozen=True, extra="forbid")


class DataLineage(Record):
    """What was trained on.

    Attributes:
        digest: Of the images and labels used, whatever file they came in.
        source: Folder, archive or address, as the user named it.
        kind: The whole of CIFAR-10's five classes, the small sample of the repository, or one's own images.
    """

    digest: str
    source: str
    kind: Literal["cifar10", "sample", "images"]


class Parity(Record):
    """How far the exported graph is from the trained model.

    Attributes:
        images: Compared on so many.
        max_difference: Largest absolute difference of any probability.
        disagreements: Images whose most probable class differs.
    """

    images: int
    max_difference: float
    disagreements: int


class Pretrained(Record):
    """Where the weights are from that a training began with; `model.network.pretrained.source` finds it out.

    Attributes:
        network: What they are for.
        origin: The package and its version, or the file as its user named it.
        sha256: Of the file.
        licence: SPDX identifier; None where a file of one's own does not say it.
        dataset: What they were trained on; None where a file of one's own does not say it.
    """

    network: str
    origin: str
    sha256: Annotated[str, Field(pattern="^[0-9a-f]{64}$")]
    licence: str | None = None
    dataset: str | None = None


class Lineage(Record):
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
        pretrained: Where the weights are from that it began with; None where it learned from nothing.
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
    pretrained: Pretrained | None = None

    @model_serializer(mode="wrap")
    def _without_what_earlier_releases_refuse(self, handler: SerializerFunctionWrapHandler) -> dict[str, Any]:
        """A field is written where it says something, so that what has none is read by those as ever."""
        content: dict[str, Any] = handler(self)
        if self.pretrained is None:
            content.pop("pretrained", None)
        return content

    @model_validator(mode="before")
    @classmethod
    def _from_before_contracts(cls, content: Any) -> Any:
        """Layout 1, and the lineage that an earlier release left in the folder of a run."""
        if not isinstance(content, dict) or (content.get("layout") != 1 and "classes" not in content):
            return content
        if content.get("layout", 1) != 1:
            raise ValueError(f"layout {content['layout']} has no classes")
        if newer := sorted(NEW_IN_2 & content.keys()):
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
        **({"pretrained": lineage.pretrained.model_dump_json()} if lineage.pretrained else {}),
    }
