"""A verdict's words and table: what was judged, against what, why it is refused, what flips."""

import io
import json
from typing import Any

import pytest
from rich.console import Console

from export.store.versions import Store
from jobs.errors import RefusedError
from jobs.gate.attached import attach_verdict, last_verdict
from jobs.gate.verdict import Check, Flips, Resolved, Verdict, require_passed


@pytest.fixture
def refused(verdict: Any) -> Verdict:
    """Version 2, worse than version 1."""
    told: Verdict = verdict(2, 0.65, passed=False).model_copy(
        update={
            "champion": verdict(1, 0.8).candidate,
            "best": 1,
            "flips": Flips(mended=3, broken=40, p_value=1e-6),
        }
    )
    return told


def test_a_refusal_says_against_what_and_why(refused: Verdict) -> None:
    assert refused.sentence == (
        "Version 2 is refused against version 1 (accuracy 0.650, the champion's 0.800, on 5,000 test images)"
        ": accuracy +0.650, limit +0.700."
    )
    with pytest.raises(RefusedError, match="limit"):
        require_passed(refused, weak_accepted=True)


def test_a_champion_that_knows_fewer_classes_is_compared_on_those(refused: Verdict) -> None:
    resolved = Resolved(margin=0.05, smallest=0.05, flips=0.1, verdicts=0, images=4_000, groups=None)
    told = refused.model_copy(update={"resolved": resolved})
    assert told.sentence == (
        "Version 2 is refused against version 1 (accuracy 0.650 on 5,000 test images, the champion's 0.800 "
        "on those of its own classes, compared on the 4,000 whose class both know): accuracy +0.650, limit "
        "+0.700."
    )
    page = io.StringIO()
    told.show(Console(file=page, width=300, soft_wrap=True))
    assert "These 4,000 test images can show a difference of 5.0 points" in page.getvalue()


def test_the_table_shows_each_check_what_flips_and_the_cost(refused: Verdict) -> None:
    page = io.StringIO()
    refused.show(Console(file=page, width=120))
    shown = page.getvalue()
    assert "Answers that flip: 3 turn right, 40 wrong" in shown
    assert "0.30 ms an image" in shown
    row = next(line for line in shown.splitlines() if line.startswith("accuracy"))
    assert row.split() == ["accuracy", "+0.6500", "+0.7000", "NO", "at", "least", "this"]


def test_weak_evidence_takes_an_explicit_flag(verdict: Any) -> None:
    weak = verdict(1).model_copy(update={"weak": True, "test_images": 500})
    assert weak.word == "weak"
    with pytest.raises(RefusedError, match=r"evidence is weak.*--accept-weak-evidence"):
        require_passed(weak, weak_accepted=False)
    require_passed(weak, weak_accepted=True)


BEFORE = """
{"version": 4, "at": "2026-11-28T18:01:52.117384Z", "by": "root",
 "candidate": {"version": 4, "accuracy": 0.7004, "interval": [0.682, 0.718], "ece": 0.027, "nll": 0.8,
               "per_class": {"airplane": 0.77, "automobile": 0.78, "bird": 0.55, "cat": 0.56, "dog": 0.84}},
 "champion": {"version": 2, "accuracy": 0.6692, "interval": [0.65, 0.687], "ece": 0.03, "nll": 0.9,
              "per_class": {"airplane": 0.74, "automobile": 0.78, "bird": 0.58, "cat": 0.5, "dog": 0.73}},
 "best": 2, "flips": {"mended": 205, "broken": 127, "p_value": 2.19e-05},
 "cost": {"milliseconds": 0.14, "bytes": 1219584}, "test_digest": "d", "test_images": 2500, "weak": false,
 "decoder_version": "8", "checks": [{"name": "bird", "value": -0.03, "limit": -0.03, "passed": false,
 "meaning": "against version 2 on the images of this class"}]}
"""


def test_a_verdict_of_an_earlier_release_is_read_and_shown_and_one_of_a_later_too() -> None:
    old = Verdict.model_validate_json(BEFORE)
    assert old.sentence == (
        "Version 4 is refused against version 2 (accuracy 0.700, the champion's 0.669, on 2,500 test images)"
        ": bird -0.030, limit -0.030."
    )
    page = io.StringIO()
    old.show(Console(file=page, width=120))
    assert "can show" not in page.getvalue()
    later = old.model_dump(mode="json") | {"something": "new"}
    assert Verdict.model_validate(later) == old


def keys(content: Any) -> Any:
    if isinstance(content, dict):
        return {name: keys(value) for name, value in content.items()}
    return [keys(value) for value in content] if isinstance(content, list) else None


def test_an_earlier_release_that_refuses_what_it_does_not_know_can_read_it(
    store: Store, publish: Any, verdict: Any
) -> None:
    """Else it could not even prune: it reads the verdict of each version for that."""
    publish()
    before = json.loads(BEFORE)
    judged = Verdict.model_validate(before).model_copy(
        update={
            "version": 1,
            "checks": (Check(name="a", value=0, limit=0, passed=True, meaning="b", bound=0.25),),
            "flips": Flips(mended=3, broken=40, p_value=1e-6, images=80, design_effect=1.5),
            "resolved": Resolved(margin=0.05, smallest=0.1, flips=0.1, verdicts=0, images=412, groups=None),
        }
    )
    attach_verdict(store, judged, {})
    assert keys(json.loads(store.attachment(1, "verdict-001.json"))) == keys(before)
    assert last_verdict(store, 1) == judged
    first = verdict(1).model_copy(update={"flips": None})
    assert attach_verdict(store, first, {}) == "verdict-002.json"
    assert last_verdict(store, 1) == first
    store.attach(1, "verdict-003.json", BEFORE.encode())  # as the earlier release writes it
    assert last_verdict(store, 1) == Verdict.model_validate(before)


def test_the_verdict_says_which_difference_the_test_images_can_show(refused: Verdict) -> None:
    resolved = Resolved(margin=0.05, smallest=0.062, flips=0.1, verdicts=0, images=412, groups=None)
    for change, told in (
        ({}, "These 412 test images can show a difference of 6.2 points where 10.0% of the answers flip"),
        ({}, "as is assumed without a history; the margin is 5.0 points."),
        ({"verdicts": 3}, "as in 3 earlier verdicts"),
        ({"groups": 40}, "These 412 test images in 40 groups can show"),
    ):
        page = io.StringIO()
        judged = refused.model_copy(update={"resolved": resolved.model_copy(update=change)})
        judged.show(Console(file=page, width=400, soft_wrap=True))
        assert told in page.getvalue()
