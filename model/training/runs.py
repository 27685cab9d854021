"""A finished training run on disk: the network and what is known of it, written whole or not at all."""

import json
import os
import subprocess
from dataclasses import asdict, dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

from model.contract import DEFAULT_CONTRACT, Contract
from model.data.dataset import Dataset
from model.network.pretrained.source import PretrainedSource
from model.training.checkpoint import remove_checkpoint
from model.training.device import load_tensorflow
from model.training.observer import TrainedModel

if TYPE_CHECKING:
    import keras

NETWORK_FILE: Final = "model.keras"
RUN_FILE: Final = "run.json"


class RunError(ValueError):
    """A run folder is missing, unfinished or damaged; the sentence says what to do."""


@dataclass(frozen=True)
class Run:
    """A finished run as it lies in its folder.

    Attributes:
        folder: Where.
        temperature: What the logits are divided by before softmax.
        metrics: See `TrainedModel.metrics`.
        history: One value an epoch, by metric.
        recipe: As it was used.
        seed: Of weights, order, augmentation and dropout.
        data: `digest`, `source`, `kind` and the number of images in each split.
        commit: The code's git commit; None when it is unknown.
        mlflow_run: MLflow's id of the run; None when there is none.
        created: When it was saved, UTC, ISO 8601.
        contract: What the network takes and answers; of an older run the default's.
        pretrained: Where the weights are from that it began with; None where it learned from nothing.
    """

    folder: Path
    temperature: float
    metrics: dict[str, float]
    history: dict[str, list[float]]
    recipe: dict[str, Any]
    seed: int
    data: dict[str, Any]
    commit: str | None
    mlflow_run: str | None
    created: str
    contract: Contract = DEFAULT_CONTRACT
    pretrained: PretrainedSource | None = None

    def network(self) -> "keras.Model":
        """Load the network: uint8 image → float32 logits.

        Raises:
            RunError: The file is damaged.
        """
        load_tensorflow()
        import keras

        path = self.folder / NETWORK_FILE
        try:
            return keras.saving.load_model(path, compile=False)
        except (OSError, ValueError, KeyError) as error:
            raise RunError(f"{path} is damaged ({error}); train again.") from error


def save_run(folder: Path, trained: TrainedModel, dataset: Dataset, *, mlflow_run: str | None = None) -> Run:
    """Write `model.keras` and, last, `run.json`; a folder without the latter is no run.

    The checkpoint is removed afterwards: until then, a kill costs nothing but the saving.
    """
    folder.mkdir(parents=True, exist_ok=True)
    part = folder / f"part-{NETWORK_FILE}"
    trained.network.save(part)
    part.replace(folder / NETWORK_FILE)
    splits = {"train": dataset.train, "validation": dataset.validation, "test": dataset.test}
    run = Run(
        folder=folder,
        temperature=trained.temperature,
        metrics=trained.metrics,
        history=trained.history,
        recipe=asdict(trained.recipe),
        seed=trained.seed,
        data={
            "digest": dataset.digest,
            "source": dataset.source,
            "kind": dataset.kind,
            "images": {name: len(split) for name, split in splits.items()},
        },
        commit=code_commit(),
        mlflow_run=mlflow_run,
        created=datetime.now(UTC).isoformat(timespec="seconds"),
        contract=trained.contract,
        pretrained=trained.pretrained,
    )
    about = asdict(run)
    del about["folder"]
    if run.pretrained is None:  # a field that earlier releases refuse
        del about["pretrained"]
    part = folder / f"{RUN_FILE}.part"
    part.write_text(json.dumps(about, indent=2) + "\n")
    part.replace(folder / RUN_FILE)
    remove_checkpoint(folder)
    return run


def load_run(folder: Path) -> Run:
    """Read a finished run.

    Raises:
        RunError: There is none in `folder`, or its `run.json` is damaged.
    """
    path = folder / RUN_FILE
    if not path.is_file():
        raise RunError(f"{folder} holds no finished training run ({RUN_FILE} is missing); train first.")
    try:
        about = json.loads(path.read_text())
        if "contract" in about:
            about["contract"] = Contract.from_json(json.dumps(about["contract"]))
        if "pretrained" in about:
            about["pretrained"] = PretrainedSource(**about["pretrained"])
        return Run(folder=folder, **about)
    except (ValueError, TypeError) as error:
        raise RunError(f"{path} is damaged ({error}); train again.") from error


def code_commit() -> str | None:
    """The commit this code is: CNN_IMAGE_COMMIT in an image built with it, else git's, else None.

    Uncommitted changes show as `-dirty` at its end, as `git describe` does it.
    """
    named = os.environ.get("CNN_IMAGE_COMMIT")
    if named:
        return named
    here = Path(__file__).parent
    try:
        commit = _git("rev-parse", "HEAD", cwd=here)
        changed = _git("status", "--porcelain", "--untracked-files=no", cwd=here)
    except (OSError, subprocess.SubprocessError):
        return None
    return f"{commit}-dirty" if changed else commit


def _git(*arguments: str, cwd: Path) -> str:
    done = subprocess.run(  # noqa: S603
        ["git", *arguments],  # noqa: S607
        cwd=cwd,
        check=True,
        capture_output=True,
        text=True,
        timeout=10,
    )
    return done.stdout.strip()
