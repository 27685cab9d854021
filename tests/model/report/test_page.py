import json
import re
from dataclasses import replace
from html.parser import HTMLParser
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from model.contract import CLASSES, DEFAULT_CONTRACT, Contract
from model.data.dataset import Dataset, Split
from model.network.cnn import Classify
from model.report import page as module
from model.report.page import write_report
from model.report.reasons import drawing
from model.training.runs import Run


class _Page(HTMLParser):
    def __init__(self) -> None:
        super().__init__()
        self.sources: list[str] = []
        self.text = ""
        self.open: list[str] = []

    def handle_starttag(self, tag: str, attributes: list[tuple[str, str | None]]) -> None:
        self.sources += [value or "" for name, value in attributes if name in {"src", "href"}]
        if tag not in {"meta", "img"}:
            self.open.append(tag)

    def handle_endtag(self, tag: str) -> None:
        assert self.open.pop() == tag

    def handle_data(self, data: str) -> None:
        self.text += f"{data} "


def by_brightness(images: np.ndarray) -> np.ndarray:
    """Right on easy images, but for the brightest class, which it takes for the one before."""
    classes = np.clip((images.mean(axis=(1, 2, 3)) - 20) / 40, 0, 4).round().astype(int)
    return (0.1 + 0.5 * np.eye(5)[np.minimum(classes, 3)]).astype(np.float32)


pytestmark = pytest.mark.slow  # draws five pictures


@pytest.fixture
def run(tmp_path: Path, easy: Dataset) -> Run:
    history = {name: [0.1, 0.2] for name in ("loss", "accuracy", "val_loss", "val_accuracy")}
    splits = {"train": 320, "validation": 100, "test": 100}
    return Run(
        folder=tmp_path / "run <7>",
        temperature=1.25,
        metrics={"seconds": 12.0, "images_per_second": 900.0},
        history=history,
        recipe={"name": "quick & easy", "teacher": {"name": "teacher", "epochs": 3, "teacher": None}},
        seed=3,
        data={"digest": easy.digest, "source": easy.source, "kind": easy.kind, "images": splits},
        commit="c0ffee",
        mlflow_run=None,
        created="2026-11-22T12:00:00+00:00",
    )


def corner_maps(network: object, images: np.ndarray, class_ids: np.ndarray) -> np.ndarray:
    """Every class rests on the upper left."""
    assert len(images) == len(class_ids)
    maps = np.zeros(images.shape[:3], np.float32)
    maps[:, :9, :9] = 1
    return maps


@pytest.fixture(autouse=True)
def _maps(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(drawing, "class_maps", corner_maps)


def test_the_report_stands_alone_and_says_how_good_the_run_is(
    run: Run, easy: Dataset, monkeypatch: pytest.MonkeyPatch
) -> None:
    def classifier(network: object, temperature: float, contract: Contract) -> Classify:
        assert contract == DEFAULT_CONTRACT
        assert temperature == 1.25
        return by_brightness

    monkeypatch.setattr(module, "classifier", classifier)
    run.folder.mkdir()
    written = write_report(run, easy, network=object())  # type: ignore[arg-type]
    assert written.evaluation.accuracy == 0.8
    assert written.evaluation.per_class == {**dict.fromkeys(CLASSES, 1.0), "dog": 0.0}

    page = _Page()
    page.feed(written.page.read_text())
    assert not page.open
    assert page.sources
    assert all(source.startswith("data:image/png;base64,") for source in page.sources)
    assert "http" not in re.sub(r"base64,[^\"]*", "", written.page.read_text())
    # Six pictures, and a thumbnail for each of the 20 dogs that were taken for cats.
    assert len(page.sources) == 6 + 20
    text = " ".join(page.text.split())
    assert "80.0% of 100 test images" in text
    assert "95 % interval 71.1% to 86.7%" in text
    # Recall, its interval, precision: cats are all found, and half of what is called one is a dog.
    assert "cat 100.0% 83.9% to 100.0% 50.0%" in text
    assert "dog 0.0% 0.0% to 16.1% never said" in text
    assert "dog, taken for cat (60% sure)" in text
    assert "run <7>" in text
    assert "quick & easy" in text
    assert "name teacher, epochs 3" in text
    assert "None" not in text
    assert "small sample" in text
    assert "Doubtful labels" not in text
    assert written.disputed is None
    for name in (*CLASSES, "rotation (degrees)", "grey", easy.digest, "c0ffee", "1.250"):
        assert name in text
    assert "What answers rest on" in text
    names = {"confusion", "curves", "filters", "reasons", "reliability", "robustness"}
    assert {path.stem for path in written.pictures.iterdir()} == names
    for path in written.pictures.iterdir():
        with Image.open(path) as picture:
            assert picture.width > 300


def test_the_report_of_ones_own_pictures_names_them_and_lists_doubtful_labels(
    run: Run, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Forty classes of 96 pixels: one is not learned, one has no test image, and one label is wrong."""
    names = tuple(f"<{number}> $" for number in range(40))
    contract = Contract(names, 96, "pad", unlearned=(39,))

    def split(labels: list[int]) -> Split:
        images = np.broadcast_to(np.array(labels)[:, None, None, None] * 6, (len(labels), 96, 96, 3))
        return Split(
            images.astype(np.uint8), np.array(labels), names, names=tuple(f"<{row}>.png" for row in labels)
        )

    train, validation = split([*range(38), 38]), split([*range(38), 39])
    test = split([*range(38), 0, 39])
    test.images[38] = 6 * 7  # labelled 0, looks like 7
    dataset = Dataset(train, validation, test, "pictures", "images", "pad")

    said = (0.02 + 0.2 * np.eye(40)).astype(np.float32)

    def classifier(network: object, temperature: float, told: Contract) -> Classify:
        assert told == contract
        return lambda images: said[np.minimum(images[:, 0, 0, 0] // 6, 38)]

    monkeypatch.setattr(module, "classifier", classifier)
    own = replace(run, contract=contract)
    own.folder.mkdir()
    written = write_report(own, dataset, network=object(), out_of_fold=said[train.labels])
    assert written.evaluation.images == 39
    assert len(written.evaluation.per_class) == 38
    assert json.dumps(written.evaluation.per_class, allow_nan=False)

    page = _Page()
    page.feed(written.page.read_text())
    assert not page.open
    assert all(
        source.startswith(("data:image/png;base64,", "data:image/webp;base64,")) for source in page.sources
    )
    text = " ".join(page.text.split())
    assert "<0> $ 50.0% 9.5% to 90.5% 100.0% 2 <1> $ 100.0%" in text, "the worst class stands first"
    assert "The other 8 classes" in text
    assert "Without a test image: <38> $." in text
    assert "Known by name alone, not learned: <39> $." in text
    assert "right class taken for images of the class <0> $ <7> $ 1 50.0%" in text
    assert "<0> $, taken for <7> $ (22% sure) <0>.png" in text
    assert "input 96 x 96 pixels, pad" in text
    assert "Of 118 images (train, validation and test) 1 looks" in text
    assert written.disputed is not None
    assert written.disputed.read_text().splitlines() == [
        "image,label,suggested,probability,split,fix",
        "<0>.png,<0> $,<7> $,0.220,test,",
    ]


def test_maps_are_of_a_picture_of_each_class_and_of_both_classes_of_the_worst_mistakes(
    easy: Dataset, monkeypatch: pytest.MonkeyPatch
) -> None:
    asked: list[tuple[np.ndarray, np.ndarray]] = []

    def maps(network: object, images: np.ndarray, class_ids: np.ndarray) -> np.ndarray:
        asked.append((images, class_ids))
        return corner_maps(network, images, class_ids)

    monkeypatch.setattr(drawing, "class_maps", maps)
    probs = by_brightness(easy.test.images)  # dogs, 4, are taken for cats, 3
    probs[easy.test.labels == 4, 3] += np.linspace(0, 0.1, 20, dtype=np.float32)
    figure = drawing.reasons(object(), easy.test, probs, ())  # type: ignore[arg-type]
    ((images, class_ids),) = asked
    assert class_ids.tolist() == [0, 1, 2, 3, *[3] * 8, *[4] * 8]
    surest = np.flatnonzero(easy.test.labels == 4)[::-1][:8]
    assert np.array_equal(images[4:12], easy.test.images[surest])
    assert np.array_equal(images[12:], images[4:12])
    assert figure is not None
    titles = [axes.get_title() for axes in figure.axes if axes.get_title()]
    assert titles.count("given: cat") == titles.count("right: dog") == 8
    assert drawing.reasons(object(), easy.test, probs, range(5)) is None  # type: ignore[arg-type]
