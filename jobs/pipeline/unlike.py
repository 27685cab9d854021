"""The score of what is unlike anything learned: learned with a run, exported with it, and its thresholds.

A float version and its int8 twin score alike and not the same, so each has thresholds by its own graph.
"""

from typing import TYPE_CHECKING, Final

import numpy as np
from numpy.typing import NDArray

from export.graph.export import Graphs
from export.graph.parity import onnx_outputs
from export.store.unlike import Unlike, unlike_of
from jobs.console import say
from jobs.errors import RefusedError
from jobs.training_runs import Run
from model.contract import SCORE_NAME
from model.data.images import Images
from model.report.alarms import LEAST

if TYPE_CHECKING:
    from model.data.dataset import Dataset
    from model.network.unlike import Score
    from model.training.observer import TrainedModel

_PICTURES: Final = 10_000
_BYTES: Final = 256 * 2**20


def usual_pictures(dataset: "Dataset") -> NDArray[np.uint8]:
    """The validation pictures that thresholds are from; of many some, chosen at random."""
    images = dataset.validation.images
    most = min(_PICTURES, _BYTES // images[0].nbytes) if len(images) else 0
    return images[np.sort(np.random.default_rng(0).permutation(len(images))[:most])]


def learn_score(run: Run, dataset: "Dataset", trained: "TrainedModel") -> None:
    """Learn a trained network's score, and keep in the run's folder what its export needs.

    With too few validation pictures to tell what is usual, the run has no score, and says so.
    """
    from model.network.unlike import fit_score

    usual = usual_pictures(dataset)
    if len(usual) < LEAST:
        say(
            f"{len(usual)} validation pictures are too few to tell what is unlike them ({LEAST} are needed): "
            "the version marks nothing."
        )
        return
    np.save(run.usual, usual)
    score = fit_score(
        trained.network, trained.temperature, trained.contract, dataset.train.images, usual, trained.seed
    )
    score.save(run.score)


def exported_score(run: Run) -> "Score | None":
    """What `learn_score` kept; None of a run without, as those that an earlier release trained."""
    from model.network.unlike import Score

    return Score.load(run.score) if run.score.is_file() else None


def thresholds(graphs: Graphs, usual: Images) -> Unlike:
    """Where a graph's own scores of usual pictures, uint8 `[N, S, S, 3]`, say that others are unlike them.

    Raises:
        RefusedError: They are no numbers.
    """
    scores = onnx_outputs(graphs.classifier, usual, output=SCORE_NAME)[:, 0]
    if not np.isfinite(scores).all():
        raise RefusedError("The trained network answers with values that are no numbers; train again.")
    return unlike_of(scores)
