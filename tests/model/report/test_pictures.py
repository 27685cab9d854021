import numpy as np
import pytest

from model.data.dataset import Split
from model.report.evaluate import evaluate
from model.report.pictures import confusion_matrix, drawn_name, filters_seen, png


@pytest.mark.parametrize(
    ("name", "drawn"),
    [
        ("cat", "cat"),
        ("кот", "кот"),
        ("naïve dog", "naïve dog"),
        ("nai\u0308ve", "naïve"),
        ("猫", "#1"),
        ("कुत्ता", "#1"),
        ("a class whose name is longer than a line", "a class whose name is l…"),
    ],
)
def test_a_picture_names_a_class_as_far_as_its_font_goes(name: str, drawn: str) -> None:
    assert drawn_name(("other", name), 1) == drawn


@pytest.mark.filterwarnings("error")
def test_a_confusion_matrix_of_odd_names_is_drawn_without_a_warning() -> None:
    names = ("$x$", "two $", "猫", "a_b^c", "\\frac", "six")
    labels = np.array([0, 1, 2, 3, 4, 5, 0])
    figure = confusion_matrix(evaluate(np.eye(6)[[0, 1, 2, 3, 4, 5, 1]], labels, names))
    (axes,) = figure.axes
    assert [tick.get_text() for tick in axes.get_yticklabels()] == [
        "$x$",
        "two $",
        "#2",
        "a_b^c",
        "\\frac",
        "six",
    ]
    assert [text.get_text() for text in axes.texts][:3] == ["1", "1", "0"]
    assert png(figure)


def test_up_to_thirty_classes_have_names_and_more_have_colours_alone() -> None:
    for classes, named in ((30, True), (31, False), (1000, False)):
        names = tuple(map(str, range(classes)))
        (axes,) = confusion_matrix(evaluate(np.eye(classes), np.arange(classes), names)).axes
        assert len(axes.get_xticklabels()) == (classes if named else 0)
        assert len(axes.texts) == (classes**2 if named else 0)
        assert axes.images[0].get_array().shape == (classes, classes)


def test_a_confusion_matrix_has_the_classes_that_were_seen() -> None:
    names = ("a", "b", "c", "d", "e")
    (axes,) = confusion_matrix(evaluate(np.eye(5)[[0, 4]], np.array([0, 2]), names)).axes
    assert [tick.get_text() for tick in axes.get_xticklabels()] == ["a", "c", "e"]


def test_the_filters_are_shown_on_at_most_eight_classes() -> None:
    def split(labels: list[int], size: int) -> Split:
        images = np.zeros((len(labels), size, size, 3), np.uint8)
        return Split(images, np.array(labels), tuple(map(str, range(20))))

    assert len(filters_seen(split([*range(20)], 48)).axes) == 8 * 4
    one = filters_seen(split([3, 3], 32))
    assert [axes.get_ylabel() for axes in one.axes] == ["3", "", "", ""]
