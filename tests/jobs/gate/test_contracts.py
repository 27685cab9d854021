"""Versions that know other classes, many classes, classes of few images."""

import io
import json
from datetime import UTC, datetime
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray
from rich.console import Console

from jobs.gate import rules
from jobs.gate.answers import Answers, by_names, figures
from jobs.gate.power import Floors
from jobs.gate.verdict import Check, Verdict

NAMES = tuple("abcdefgh")


def answers(
    version: int, labels: NDArray[np.int64], wrong: NDArray[np.bool_], classes: int, *unlearned: int
) -> Answers:
    """Right but for those that are to be wrong, and as sure as that; unknown classes are taken for others."""
    learned = [number for number in range(classes) if number not in unlearned]
    known = np.isin(labels, learned)
    given = np.where(known & ~wrong, labels, np.where(labels == learned[0], learned[1], learned[0]))
    sure = float((given == labels)[known].mean())
    probs = np.zeros((len(labels), classes), np.float32)
    probs[:, learned] = (1 - sure) / (len(learned) - 1)
    probs[np.arange(len(labels)), given] = sure
    return Answers(version, probs, unlearned)


def some(labels: NDArray[np.int64], share: float, seed: int = 0) -> NDArray[np.bool_]:
    return np.random.default_rng(seed).random(len(labels)) < share


def by_name(checks: list[Check]) -> dict[str, Check]:
    return {check.name: check for check in checks}


def failed(checks: list[Check]) -> set[str]:
    return {check.name for check in checks if not check.passed}


def judged(candidate: Answers, champion: Answers, labels: NDArray[np.int64], **how: Any) -> list[Check]:
    return rules.successor_checks(candidate, champion, champion, labels, classes=NAMES, **how)


def test_a_candidate_with_a_further_class_is_compared_on_those_that_both_know() -> None:
    labels = np.repeat(np.arange(4), 500)
    champion = answers(1, labels, some(labels, 0.02), 3)
    checks = judged(answers(2, labels, some(labels, 0.02), 4), champion, labels)
    assert failed(checks) == set()
    named = by_name(checks)
    assert {"a", "b", "c"} <= named.keys()
    assert "d" not in named
    assert named["weakest new class (d)"].value > 0.9
    # The champion, which answers each image of the new class wrongly, gives nothing away by that.
    assert named["accuracy, lower bound"].value == pytest.approx(0)
    assert figures(champion, labels, NAMES).accuracy == pytest.approx(0.98, abs=0.01)
    assert rules.flips(answers(2, labels, some(labels, 0.02), 4), champion, labels).images == 1_500


def test_a_new_class_that_is_not_learned_is_refused_and_one_of_few_images_on_evidence_alone() -> None:
    many, few = np.repeat(np.arange(4), 500), np.array([0] * 500 + [1] * 500 + [2] * 500 + [3] * 3)
    for labels, expected in ((many, {"weakest new class (d)"}), (few, set())):
        unlearnt = answers(2, labels, labels == 3, 4)
        assert failed(judged(unlearnt, answers(1, labels, labels < 0, 3), labels)) == expected
    assert (
        "3 images do not prove"
        in by_name(judged(answers(2, few, few == 3, 4), answers(1, few, few < 0, 3), few))[
            "weakest new class (d)"
        ].meaning
    )


def test_a_candidate_that_lost_classes_is_refused_with_their_names() -> None:
    labels = np.repeat(np.arange(4), 500)
    everything = answers(1, labels, labels < 0, 4)
    narrower, holed = answers(2, labels, labels < 0, 3), answers(2, labels, labels < 0, 4, 1, 2)
    for candidate, told in ((narrower, "version 1 knows d;"), (holed, "version 1 knows b, c;")):
        checks = judged(candidate, everything, labels)
        assert failed(checks) == {"classes lost"}
        assert by_name(checks)["classes lost"].meaning.startswith(told)


def test_a_class_called_by_a_number_stands_in_quotes() -> None:
    labels = np.repeat(np.arange(4), 500)
    everything = answers(1, labels, labels < 0, 4)
    digits = ("0", "1", "2", "3 left")
    checks = rules.successor_checks(
        answers(2, labels, labels == 1, 4, 2), everything, everything, labels, classes=digits
    )
    assert {"'0'", "'1'", "3 left"} <= set(by_name(checks))
    assert by_name(checks)["classes lost"].meaning.startswith("version 1 knows '2';")
    floors = Floors.of(labels, everything.learned, len(digits))
    first = rules.first_checks(answers(2, labels, labels == 1, 4), labels, floors, classes=digits)
    assert "weakest class ('1')" in failed(first)


def test_a_class_of_one_group_is_not_judged_and_says_so() -> None:
    labels = np.repeat(np.arange(4), 100)
    groups = np.where(labels == 3, 0, np.arange(400))
    champion = answers(1, labels, labels < 0, 4)
    checks = by_name(
        rules.successor_checks(
            answers(2, labels, labels == 3, 4), champion, champion, labels, classes=NAMES, groups=groups
        )
    )
    assert (checks["d"].value, checks["d"].passed) == (-1, True)
    assert checks["d"].meaning == (
        "against version 1 on the images of this class; not judged, since its 100 images, of one group, can "
        "show nothing"
    )
    assert "not judged" not in checks["a"].meaning


def test_what_neither_has_learned_stays_out_of_all() -> None:
    labels = np.repeat(np.arange(4), 500)
    both = [answers(number, labels, labels < 0, 4, 2) for number in (1, 2)]
    checks = judged(both[1], both[0], labels)
    assert failed(checks) == set()
    assert "c" not in by_name(checks)
    mine = figures(both[1], labels, NAMES)
    assert (mine.accuracy, set(mine.per_class)) == (1, {"a", "b", "d"})
    floors = Floors.of(labels, both[1].learned, len(NAMES))
    assert failed(rules.first_checks(both[1], labels, floors, classes=NAMES)) == set()


def test_with_no_class_in_common_nothing_is_compared_and_it_is_refused() -> None:
    labels = np.repeat(np.arange(4), 100)
    champion, candidate = answers(1, labels, labels < 0, 2), answers(2, labels, labels < 0, 4, 0, 1)
    assert failed(judged(candidate, champion, labels)) == {"classes in common"}


def test_a_version_of_another_list_is_brought_over_by_the_names() -> None:
    probs = np.array([[0.7, 0.2, 0.1, 0.0]], np.float32)
    moved = by_names(("dog", "cat", "owl"), Answers(1, probs, (3,)), ("cat", "fox", "dog", "elk"))
    assert moved.probs.tolist() == [pytest.approx([0.1, 0.7, 0.0, 0.2, 0.0])]
    assert moved.learned == {0, 1, 3}
    labels = np.array([1])
    assert moved.right(labels).tolist() == [True]


@pytest.mark.parametrize("images", [30, 250])
def test_one_class_of_many_that_stands_low_by_chance_refuses_nobody_and_one_that_fell_does(
    images: int,
) -> None:
    labels = np.repeat(np.arange(8), images)
    champion = answers(1, labels, some(labels, 0.1), 8)
    one_low = some(labels, 0.1)
    low = np.flatnonzero((labels == 3) & ~one_low)[: round(0.04 * images)]  # four points
    one_low[low] = True
    checks = judged(answers(2, labels, one_low, 8), champion, labels, margin=0.05)
    assert failed(checks) == set()
    assert by_name(checks)["d"].value < -0.03
    assert "by chance perhaps" in by_name(checks)["d"].meaning
    fallen = some(labels, 0.1) | ((labels == 3) & some(labels, 0.6, seed=1))
    assert "d" in failed(judged(answers(2, labels, fallen, 8), champion, labels, margin=0.2))


def test_a_class_of_three_images_that_are_all_lost_proves_nothing() -> None:
    labels = np.array([0] * 500 + [1] * 500 + [2] * 3)
    champion, candidate = answers(1, labels, labels < 0, 3), answers(2, labels, labels == 2, 3)
    checks = judged(candidate, champion, labels)
    assert failed(checks) == set()
    assert by_name(checks)["c"].value == -1


@pytest.fixture
def thousand() -> tuple[tuple[str, ...], NDArray[np.int64], Answers]:
    """Names, labels and a champion of a thousand classes, one of which has no image."""
    names = tuple(f"class number {number}" for number in range(1_000))
    labels = np.delete(np.repeat(np.arange(1_000), 20), slice(0, 20))
    return names, labels, answers(1, labels, some(labels, 0.1), 1_000)


def verdict_of(
    checks: list[Check], candidate: Answers, labels: NDArray[np.int64], names: Any, some: Verdict
) -> Verdict:
    return some.model_copy(
        update={
            "at": datetime.now(UTC),
            "candidate": figures(candidate, labels, names),
            "champion": figures(candidate, labels, names),
            "checks": tuple(checks),
        }
    )


def test_a_thousand_classes_stay_readable_and_no_figure_is_not_a_number(thousand: Any, verdict: Any) -> None:
    names, labels, champion = thousand
    lost = some(labels, 0.1) | ((labels >= 100) & (labels < 120))
    candidate = answers(2, labels, lost, 1_000)
    checks = rules.successor_checks(candidate, champion, champion, labels, classes=names)
    assert len(checks) == 12 + 1 + 3
    rest = by_name(checks)["the other 987 classes"]
    assert not rest.passed
    assert "8 of them beyond chance" in rest.meaning
    told = verdict_of(checks, candidate, labels, names, verdict(2))
    assert len(told.sentence) < 600
    assert "; and " in told.sentence
    page = io.StringIO()
    told.show(Console(file=page, width=200))
    assert len(page.getvalue().splitlines()) < 25
    written = told.model_dump_json()
    assert "NaN" not in written
    assert Verdict.model_validate_json(written) == told
    assert len(json.loads(written)["candidate"]["per_class"]) == 999  # the one without images has no figure
    assert len(written) < 150_000


def test_equally_good_versions_of_a_thousand_classes_pass(thousand: Any) -> None:
    names, labels, champion = thousand
    equal = answers(2, labels, some(labels, 0.1) ^ some(labels, 0.01, seed=4), 1_000)
    assert failed(rules.successor_checks(equal, champion, champion, labels, classes=names)) == set()
    floors = Floors.of(labels, equal.learned, 1_000)
    first = rules.first_checks(equal, labels, floors, classes=names)
    assert [check.name.partition(" (")[0] for check in first] == [
        "accuracy",
        "weakest class",
        "calibration error",
    ]
    assert "accuracy" not in failed(first)


def test_a_twin_is_held_to_what_twins_do() -> None:
    """So few answers flip between a version and its int8 twin that one point is resolved on 2,000 images."""
    labels = np.repeat(np.arange(4), 500)
    original = answers(1, labels, labels < 0, 4)
    for share, expected in ((0.003, set()), (0.009, {"accuracy, lower bound"})):
        twin = answers(2, labels, some(labels, share), 4)
        checks = rules.twin_checks(twin, original, labels, classes=NAMES)
        assert failed(checks) == expected
        assert checks[0].limit == -0.01
    groups = np.arange(2_000) // 10
    assert failed(rules.twin_checks(original, original, labels, classes=NAMES, groups=groups)) == set()
