import json
import subprocess
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from model.data.dataset import Dataset
from model.network.pretrained.source import PretrainedSource
from model.training import runs
from model.training.observer import TrainedModel
from model.training.runs import RunError, code_commit, load_run, save_run
from model.training.train import QUICK


def test_a_folder_without_a_finished_run_says_so(tmp_path: Path) -> None:
    (tmp_path / "model.keras").write_bytes(b"saved, but the run was killed before run.json")
    with pytest.raises(RunError, match="no finished training run"):
        load_run(tmp_path)


@pytest.mark.parametrize("content", ["", "{", "[]", '{"temperature": 1}'])
def test_a_damaged_run_says_so(tmp_path: Path, content: str) -> None:
    (tmp_path / "run.json").write_text(content)
    with pytest.raises(RunError, match=r"run\.json is damaged"):
        load_run(tmp_path)


def test_the_commit_of_an_image_is_the_one_it_was_built_with(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("CNN_IMAGE_COMMIT", "abc123")
    assert code_commit() == "abc123"


def test_the_commit_of_a_clone_is_gits(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("CNN_IMAGE_COMMIT", raising=False)
    head = subprocess.run(
        ["git", "rev-parse", "HEAD"], cwd=Path(__file__).parent, capture_output=True, text=True, check=False
    )
    if head.returncode:
        pytest.skip("this copy has no git history")
    assert (code_commit() or "").removesuffix("-dirty") == head.stdout.strip()


def test_without_git_the_commit_is_unknown(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("CNN_IMAGE_COMMIT", raising=False)
    monkeypatch.setenv("PATH", "/nowhere")
    assert code_commit() is None


@pytest.mark.slow
def test_a_saved_run_loads_as_it_was(easy: Dataset, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from model.network.cnn import build_network

    (tmp_path / "checkpoint.npz").write_bytes(b"of this run")
    network = build_network(5)
    metrics = {"accuracy": 0.5, "val_accuracy": 0.4, "loss": 1.0, "val_loss": 1.1}
    trained = TrainedModel(network, 1.7, metrics, {"loss": [1.0]}, replace(QUICK, epochs=1), 5)
    saved = save_run(tmp_path, trained, easy, mlflow_run="abc")
    assert sorted(path.name for path in tmp_path.iterdir()) == ["model.keras", "run.json"]
    loaded = load_run(tmp_path)
    assert loaded == saved
    assert (loaded.temperature, loaded.seed, loaded.metrics, loaded.mlflow_run) == (1.7, 5, metrics, "abc")
    assert loaded.recipe["epochs"] == 1
    assert loaded.data == {
        "digest": easy.digest,
        "source": "easy images",
        "kind": "sample",
        "images": {"train": 320, "validation": 100, "test": 100},
    }
    np.testing.assert_array_equal(loaded.network()(easy.test.images), network(easy.test.images))
    assert "pretrained" not in json.loads((tmp_path / "run.json").read_text()), "earlier releases refuse it"
    assert "test" not in json.loads((tmp_path / "run.json").read_text())["metrics"]

    (tmp_path / "model.keras").write_bytes((tmp_path / "model.keras").read_bytes()[:1000])
    with pytest.raises(RunError, match=r"model\.keras is damaged"):
        load_run(tmp_path).network()


@pytest.mark.slow
def test_a_run_says_which_weights_it_began_with(easy: Dataset, tmp_path: Path) -> None:
    from model.network.cnn import build_network

    source = PretrainedSource("efficientnet-lite0", "mine.pth", "a" * 64)
    trained = TrainedModel(build_network(5), 1.7, {}, {"loss": [1.0]}, QUICK, 5, pretrained=source)
    saved = save_run(tmp_path, trained, easy)
    assert load_run(tmp_path) == saved
    assert saved.pretrained == source


@pytest.mark.slow
def test_a_save_that_is_cut_short_leaves_no_run_and_keeps_the_checkpoint(
    easy: Dataset, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from model.network.cnn import build_network

    def killed() -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr(runs, "code_commit", killed)
    (tmp_path / "checkpoint.npz").write_bytes(b"of this run")
    trained = TrainedModel(build_network(5), 1.0, {}, {}, QUICK, 5)
    with pytest.raises(KeyboardInterrupt):
        save_run(tmp_path, trained, easy)
    with pytest.raises(RunError):
        load_run(tmp_path)
    assert (tmp_path / "checkpoint.npz").exists()
