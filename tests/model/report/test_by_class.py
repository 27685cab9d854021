import re

import numpy as np

from model.report.by_class import class_table, confused_pairs, without_figures
from model.report.evaluate import Evaluation, evaluate


def evaluation(labels: list[int], answers: list[int], classes: tuple[str, ...]) -> Evaluation:
    return evaluate(np.eye(len(classes), dtype=np.float32)[answers], np.array(labels), classes)


def rows(table: str) -> list[list[str]]:
    """The cells of a table's rows, without its head."""
    return [re.findall(r"<td>(.*?)</td>", row) for row in re.findall(r"<tr>(.*?)</tr>", table)][1:]


def test_the_worst_class_stands_first_and_of_equals_the_one_of_more_images() -> None:
    judged = evaluation([0, 0, 1, 1, 2, 3, 3, 3], [0, 0, 1, 2, 0, 1, 1, 1], ("a", "b", "<c>", "d"))
    table = class_table(judged, worst_first=True)
    assert [(row[0], row[1], row[4]) for row in rows(table)] == [
        ("d", "0.0%", "3"),
        ("&lt;c&gt;", "0.0%", "1"),
        ("b", "50.0%", "2"),
        ("a", "100.0%", "2"),
    ]
    in_order = rows(class_table(judged, worst_first=False))
    assert [row[0] for row in in_order] == ["a", "b", "&lt;c&gt;", "d"]
    assert {len(row) for row in in_order} == {4}
    assert in_order[3][3] == "never said"


def test_beyond_thirty_classes_the_table_is_folded() -> None:
    names = tuple(f"class {number}" for number in range(100))
    judged = evaluation([*range(100), 7], [*range(100), 8], names)
    shown, folded = class_table(judged, worst_first=True).split("<details>")
    assert len(rows(shown)) == 30
    assert rows(shown)[0][0] == "class 7"
    assert "<summary>The other 70 classes</summary>" in folded
    assert len(rows(folded)) == 70
    few = evaluation([*range(30)], [*range(30)], names[:30])
    assert "<details>" not in class_table(few, worst_first=True)


def test_the_most_confused_pairs_are_listed_where_the_matrix_cannot_be_read() -> None:
    names = tuple(f"<{number}>" for number in range(31))
    labels, answers = [*range(31)] * 2, [*range(31)] * 2
    for wrong, right in ((5, 4), (5, 4), (2, 9)):
        labels.append(right)
        answers.append(wrong)
    found = rows(confused_pairs(evaluation(labels, answers, names)))
    assert found == [["&lt;4&gt;", "&lt;5&gt;", "2", "50.0%"], ["&lt;9&gt;", "&lt;2&gt;", "1", "33.3%"]]
    assert not confused_pairs(evaluation([*range(31)], [*range(31)], names)), "nothing is confused"
    assert not confused_pairs(evaluation([0, 1], [1, 0], names)), "two classes can be read"


def test_classes_without_figures_are_named() -> None:
    judged = evaluation([0, 1], [0, 1], ("a", "b", "<c>", "d"))
    assert without_figures(judged, [3]) == (
        '<p class="note">Without a test image: &lt;c&gt;.</p>'
        '<p class="note">Known by name alone, not learned: d.</p>'
    )
    assert not without_figures(evaluation([0, 1], [0, 1], ("a", "b")), [])
    many = evaluation([0, 1], [0, 1], tuple(map(str, range(500))))
    assert "20, 21 and 478 more." in without_figures(many, [])


def test_a_name_that_no_picture_can_draw_has_its_number_in_the_table() -> None:
    table = class_table(evaluation([0, 1], [0, 1], ("猫", "кот")), worst_first=False)
    assert [row[0] for row in rows(table)] == ["猫 (#0)", "кот"]
