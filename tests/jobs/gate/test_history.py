"""Which earlier verdicts say how many answers flip, and that the candidate's own is none of them."""

from typing import Any

import pytest

from export.store.versions import Store
from jobs.gate.attached import attach_verdict
from jobs.gate.history import expected_flips
from jobs.gate.power import ASSUMED
from jobs.gate.verdict import Flips


@pytest.fixture
def judged(store: Store, publish: Any, verdict: Any) -> Any:
    """Publishes a version that was judged against another, and perhaps promoted."""

    def judged(
        against: int | None, mended: int = 0, broken: int = 0, *, promoted: bool = True, **changes: Any
    ) -> int:
        number = publish(**{name: changes.pop(name) for name in ("quantized_from",) if name in changes})
        flips = {"mended": mended, "broken": broken, "p_value": 0.5, "images": 1_000} | changes
        told = verdict(number)
        if against is not None:
            told = told.model_copy(
                update={"champion": verdict(against).candidate, "best": against, "flips": Flips(**flips)}
            )
        attach_verdict(store, told, {})
        if promoted:
            store.ledger.record(
                "promote",
                number,
                by="a test",
                reason="-",
                after=store.ledger.entries()[-1].number if store.ledger.entries() else 0,
            )
        return int(number)

    return judged


def expected(store: Store, candidate: int) -> tuple[float, float | None, int]:
    found = expected_flips(store, store.ledger.entries(), candidate)
    return found.flips, found.design_effect, found.verdicts


def test_without_a_history_a_tenth_is_assumed(store: Store, judged: Any, publish: Any) -> None:
    judged(None)
    assert expected_flips(store, store.ledger.entries(), publish()) == ASSUMED
    assert ASSUMED.flips == 0.10


def test_promoted_versions_say_it_together(store: Store, judged: Any, publish: Any) -> None:
    first = judged(None)
    second = judged(first, 20, 20, design_effect=2.0)
    judged(second, 30, 50, images=2_000, design_effect=3.5)
    assert expected(store, publish()) == pytest.approx((120 / 3_000, 3.0, 2))


def test_neither_the_candidate_nor_what_was_refused_has_a_say(store: Store, judged: Any) -> None:
    first = judged(None)
    judged(first, 20, 20)
    refused = judged(first, 300, 400, promoted=False)
    assert expected(store, refused) == (0.04, 1.0, 1)
    again = judged(first, 200, 210)  # served, rolled back, and judged once more
    assert expected(store, again) == (0.04, 1.0, 1)


def test_neither_has_a_twin_of_the_champion_nor_the_same_model_once_more(store: Store, judged: Any) -> None:
    first = judged(None)
    judged(first, 4, 5, quantized_from=first)
    judged(first, 0, 0)
    assert expected_flips(store, store.ledger.entries(), 99) == ASSUMED
    twin_of_another = judged(first, 45, 45, quantized_from=77)
    assert expected(store, 99) == (0.09, 1.0, 1)
    assert twin_of_another == 4


def test_of_a_version_that_truly_was_better_only_what_turned_wrong_counts_twice(
    store: Store, judged: Any
) -> None:
    first = judged(None)
    judged(first, 250, 30, p_value=1e-40)
    assert expected(store, 99) == (0.06, 1.0, 1)


def test_a_verdict_of_an_earlier_release_counts_by_its_test_images(store: Store, judged: Any) -> None:
    first = judged(None)
    judged(first, 200, 200, images=None)
    assert expected(store, 99) == (0.08, 1.0, 1)
