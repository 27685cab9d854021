"""A verdict's words and table: what was judged, against what, why it is refused, what flips."""

import io
from typing import Any

import pytest
from rich.console import Console

from jobs.errors import RefusedError
from jobs.gate.verdict import Flips, Verdict, require_passed


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
