"""The score of what is unlike anything learned, where a run has too little for one or nothing to say."""

from dataclasses import dataclass
from pathlib import Path
from typing import Any, cast

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper

from export.graph.export import Graphs
from jobs.errors import RefusedError
from jobs.pipeline.unlike import exported_score, learn_score, thresholds, usual_pictures
from jobs.training_runs import Run
from model.contract import CLASSES, INPUT_NAME, SCORE_NAME
from model.data.dataset import Dataset, Split
from model.report.alarms import LEAST


def dataset(validation: Any) -> Dataset:
    """Of these validation pictures."""
    labels = np.zeros(len(validation), np.int64)
    split = Split(validation, labels, CLASSES)
    return Dataset(split, split, split, "here", "images")


def test_with_too_few_pictures_a_run_has_none_and_says_so(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    run = Run(tmp_path)
    few = np.zeros((LEAST - 1, 32, 32, 3), np.uint8)
    learn_score(run, dataset(few), cast(Any, None))
    assert "19 validation pictures are too few" in capsys.readouterr().err
    assert exported_score(run) is None  # as of a run that an earlier release trained
    assert list(tmp_path.iterdir()) == []


@dataclass
class Rows:
    """As many pictures as there may be, none of which lies in memory; what is asked for is noted."""

    shape: tuple[int, ...]
    asked: Any = None

    def __len__(self) -> int:
        return self.shape[0]

    def __getitem__(self, rows: Any) -> Any:
        if isinstance(rows, int):
            return np.broadcast_to(np.uint8(0), self.shape[1:])
        self.asked = rows
        return rows


@pytest.mark.parametrize(("side", "most"), [(32, 10_000), (224, 1783)])
def test_of_many_pictures_some_are_chosen_that_memory_holds(side: int, most: int) -> None:
    images = Rows((1_000_000, side, side, 3))
    usual_pictures(dataset(images))
    assert len(np.unique(images.asked)) == len(images.asked) == most
    assert images.asked[-1] > 900_000  # from the whole length
    assert len(usual_pictures(dataset(np.zeros((0, side, side, 3), np.uint8)))) == 0


def scoring(path: Path, score: str) -> Graphs:
    """A graph whose score is what a kind of node makes of the means minus 100."""
    nodes = [
        helper.make_node("Cast", [INPUT_NAME], ["real"], to=TensorProto.FLOAT),
        helper.make_node("ReduceMean", ["real", "axes"], ["means"], keepdims=0),
        helper.make_node("Sub", ["means", "hundred"], ["around"]),
        helper.make_node(score, ["around"], [SCORE_NAME]),
    ]
    constants = [
        helper.make_tensor("axes", TensorProto.INT64, [2], [2, 3]),
        helper.make_tensor("hundred", TensorProto.FLOAT, [], [100]),
    ]
    image = helper.make_tensor_value_info(INPUT_NAME, TensorProto.UINT8, ["batch", 32, 32, 3])
    scores = helper.make_tensor_value_info(SCORE_NAME, TensorProto.FLOAT, ["batch", 32])
    graph = helper.make_graph(nodes, "scores", [image], [scores], constants)
    onnx.save(helper.make_model(graph, opset_imports=[helper.make_opsetid("", 18)], ir_version=10), path)
    return Graphs(path, path)


def test_scores_that_are_no_numbers_are_refused(tmp_path: Path) -> None:
    usual = np.random.default_rng(0).integers(90, 110, (200, 32, 32, 3)).astype(np.uint8)
    found = thresholds(scoring(tmp_path / "identity.onnx", "Identity"), usual)
    assert found.images == 200
    assert found.mark_at < found.refuse_at
    with pytest.raises(RefusedError, match="values that are no numbers; train again"):
        thresholds(scoring(tmp_path / "root.onnx", "Sqrt"), usual)  # of what is below 0
