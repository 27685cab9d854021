import csv
from pathlib import Path

import numpy as np
import pytest
from numpy.typing import NDArray

from model.data.dataset import Split
from model.report.disputed import COLUMNS, MOST, Answered, disputed_section, find_doubts, write_disputed

CLASSES = ("cat", "dog, small", "<owl>")


def split(labels: list[int], names: list[str] | None = None) -> Split:
    images = np.zeros((len(labels), 32, 32, 3), np.uint8)
    return Split(images, np.array(labels), CLASSES, names=tuple(names) if names else None)


def answers(*rows: tuple[float, float, float]) -> NDArray[np.float32]:
    return np.array(rows, np.float32)


def test_a_label_is_doubted_where_another_class_is_as_likely_as_it_is_for_its_own_images() -> None:
    """By hand: the classes' own images have mean probabilities of 0.6, 0.625 and 0.9."""
    labels = [0, 0, 0, 1, 1, 2]
    probs = answers(
        (0.90, 0.05, 0.05),
        (0.80, 0.10, 0.10),
        (0.10, 0.70, 0.20),  # 0.70 reaches 0.625: doubted, by 0.60
        (0.50, 0.45, 0.05),  # 0.50 is above 0.45, but does not reach 0.6
        (0.10, 0.80, 0.10),
        (0.05, 0.05, 0.90),
    )
    (found,) = find_doubts([Answered("train", split(labels), probs)]).found
    assert (found.split, found.row, found.label, found.suggested) == ("train", 2, 0, 1)
    assert found.probability == pytest.approx(0.7)
    assert found.margin == pytest.approx(0.6)


def test_the_likeliest_class_that_reaches_its_threshold_is_suggested() -> None:
    labels = [0, 1, 2, 0]
    probs = answers((0.6, 0.2, 0.2), (0.0, 0.9, 0.1), (0.2, 0.5, 0.3), (0.0, 0.55, 0.45))
    # Of the last, class 1 is likelier, but only class 2 reaches what its own images have.
    (found,) = find_doubts([Answered("test", split(labels), probs)]).found
    assert (found.row, found.suggested) == (3, 2)


def test_the_most_doubtful_come_first_whatever_their_split() -> None:
    sure, torn = (0.02, 0.97, 0.01), (0.30, 0.65, 0.05)
    own = [(0.9, 0.05, 0.05), (0.35, 0.6, 0.05)] * 5
    parts = [
        Answered("train", split([0, 1] * 5 + [0]), answers(*own, torn)),
        Answered("validation", split([0, 1] * 5 + [0]), answers(*own, sure)),
    ]
    found = find_doubts(parts).found
    assert [(each.split, each.row) for each in found] == [("validation", 10), ("train", 10)]


def test_what_nobody_can_say_is_not_doubted() -> None:
    nothing = (np.nan, np.nan, np.nan)
    probs = answers((0.9, 0.1, 0.0), nothing, (0.1, 0.9, 0.0), (1.0, 0.0, 0.0))
    labels = [0, 0, 1, 2]
    (found,) = find_doubts([Answered("train", split(labels), probs)]).found
    assert found.row == 3
    assert not find_doubts([Answered("train", split(labels), probs)], unlearned=[2]).found


def test_the_file_has_what_data_fix_takes(tmp_path: Path) -> None:
    names = [f"dog, small/{number}.jpg" for number in range(MOST + 50)]
    good = answers(*[(0.9, 0.05, 0.05)] * (2 * MOST))
    doubts = find_doubts(
        [
            Answered("train", split([0] * len(good)), good),
            Answered("test", split([1] * len(names), names), answers(*[(0.99, 0.01, 0.0)] * len(names))),
        ]
    )
    write_disputed(tmp_path / "disputed.csv", doubts)
    with (tmp_path / "disputed.csv").open(encoding="utf-8", newline="") as file:
        header, *rows = csv.reader(file)
    assert tuple(header) == COLUMNS
    assert len(rows) == MOST
    assert rows[0] == ["dog, small/0.jpg", "dog, small", "cat", "0.990", "test", ""]
    section = disputed_section(doubts)
    assert f"{len(names)} look like another class" in section
    assert f"the first {MOST} are in" in section
    assert "labelled dog, small, looks like cat (99% sure)" in section
    assert "<small>dog, small/0.jpg</small>" in section


def test_names_cannot_break_the_page() -> None:
    parts = [
        Answered("train", split([0] * 9), answers(*[(0.9, 0.05, 0.05)] * 9)),
        Answered("test", split([2], ["<b>.png"]), answers((0.99, 0.01, 0.0))),
    ]
    section = disputed_section(find_doubts(parts))
    assert "&lt;owl&gt;" in section
    assert "<owl>" not in section
    assert "<b>" not in section


def test_where_no_label_is_doubted_the_page_says_so() -> None:
    good = Answered("test", split([0] * 9), answers(*[(0.9, 0.05, 0.05)] * 9))
    valid = Answered("validation", split([0] * 9), answers(*[(0.9, 0.05, 0.05)] * 9))
    assert "None of 18 images (validation and test)" in disputed_section(find_doubts([valid, good]))
