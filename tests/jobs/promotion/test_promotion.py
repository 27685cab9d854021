"""What is served changes by the ledger, in step with what really serves, and comes back when that fails."""

from pathlib import Path
from typing import Any

import pytest

from export.errors import IntegrityError, LostRaceError
from export.store.ledger import champions
from export.store.versions import Store
from jobs.errors import FaultError, LostError, MistakeError, RefusedError, ReturnedError
from jobs.promotion.promote import promote, resume, roll_back


def make_served(store: Store, deployer: Any, version: int, **changes: Any) -> Any:
    facts = {"judged_against": store.ledger.served(), "decoder": "1", "by": "me", "reason": "why"} | changes
    return promote(store, deployer, version, **facts)


def given(store: Store, publish: Any, deployer: Any, versions: int, *, served: tuple[int, ...]) -> None:
    """So many versions are published, and these were promoted one after the other."""
    for _ in range(versions):
        publish()
    for version in served:
        make_served(store, deployer, version)


def actions(store: Store) -> list[tuple[str, int | None]]:
    return [(entry.action, entry.version) for entry in store.ledger.entries()]


def test_promotion_serves_the_version_and_says_so(store: Store, publish: Any, deployer: Any) -> None:
    version = publish()
    entry = make_served(store, deployer, version)
    assert (entry.version, entry.previous, entry.by, entry.reason) == (1, None, "me", "why")
    assert deployer.live == 1
    assert deployer.tried == [1]


def test_a_version_judged_against_another_champion_is_refused(
    store: Store, publish: Any, deployer: Any
) -> None:
    given(store, publish, deployer, 3, served=(1, 2))
    with pytest.raises(LostError, match="judge it again"):
        make_served(store, deployer, 3, judged_against=1)
    assert (deployer.live, actions(store)) == (2, [("promote", 1), ("promote", 2)])


def test_two_promotions_at_once_have_one_winner(store: Store, publish: Any, deployer: Any) -> None:
    publish(), publish()

    class Slow(type(deployer)):  # type: ignore[misc]
        def preflight(self, version: int) -> None:
            store.ledger.record("promote", 2, by="another", reason="first", after=0)

    with pytest.raises(LostRaceError):
        make_served(store, Slow(), 1)
    assert actions(store) == [("promote", 2)]


def test_a_candidate_that_triton_cannot_load_changes_nothing(
    store: Store, publish: Any, deployer: Any
) -> None:
    given(store, publish, deployer, 2, served=(1,))
    deployer.unloadable = {2}
    with pytest.raises(RefusedError, match="cannot load"):
        make_served(store, deployer, 2)
    assert (deployer.live, actions(store)) == (1, [("promote", 1)])


@pytest.mark.parametrize("fault", ["undeployable", "wrong"])
def test_a_version_that_fails_in_service_is_taken_back(
    store: Store, publish: Any, deployer: Any, fault: str
) -> None:
    given(store, publish, deployer, 2, served=(1,))
    setattr(deployer, fault, {2})
    with pytest.raises(ReturnedError, match="version 1 serves again"):
        make_served(store, deployer, 2)
    assert deployer.live == 1
    assert actions(store) == [("promote", 1), ("promote", 2), ("return", 1)]


def test_a_first_version_that_fails_leaves_nothing_promoted(
    store: Store, publish: Any, deployer: Any
) -> None:
    publish()
    deployer.wrong = {1}
    with pytest.raises(ReturnedError):
        make_served(store, deployer, 1)
    assert store.ledger.served() is None


def test_what_a_failed_first_version_left_there_does_not_bar_the_next(
    store: Store, publish: Any, deployer: Any
) -> None:
    publish(), publish()
    deployer.wrong = {1}
    with pytest.raises(ReturnedError):
        promote(store, deployer, 1, judged_against=None, decoder="1", by="me", reason="why")
    assert deployer.live == 1
    make_served(store, deployer, 2)
    assert (deployer.live, store.ledger.served()) == (2, 2)


def test_a_service_that_does_not_answer_can_be_rolled_back_and_promoted_over(
    store: Store, publish: Any, deployer: Any
) -> None:
    given(store, publish, deployer, 3, served=(1, 2))
    deployer.silent = True
    roll_back(store, deployer, None, by="me", reason="it is down")
    assert deployer.live == 1
    make_served(store, deployer, 3)
    assert deployer.live == 3


def test_rolled_back_twice_it_stays_back(store: Store, publish: Any, deployer: Any) -> None:
    given(store, publish, deployer, 3, served=(1, 2, 3))
    for version in (None, None, 2):
        deployer.live = None  # the first try was cut off before the service changed
        entry = roll_back(store, deployer, version, by="me", reason="why")
        assert (entry.version, deployer.live) == (2, 2)
    assert actions(store)[3:] == [("rollback", 2)]
    roll_back(store, deployer, 1, by="me", reason="further")
    assert deployer.live == 1


def test_an_edit_by_hand_stops_a_rollback_before_the_ledger(
    store: Store, publish: Any, deployer: Any
) -> None:
    given(store, publish, deployer, 2, served=(1, 2))
    deployer.edited = True
    with pytest.raises(LostError, match="edited by hand"):
        roll_back(store, deployer, None, by="me", reason="why")
    assert (deployer.live, actions(store)) == (2, [("promote", 1), ("promote", 2)])


def test_a_way_back_that_fails_too_is_said(store: Store, publish: Any, deployer: Any) -> None:
    given(store, publish, deployer, 2, served=(1,))
    deployer.undeployable = {1, 2}
    with pytest.raises(FaultError, match="going back to version 1 failed too"):
        make_served(store, deployer, 2)
    assert actions(store)[-1] == ("return", 1)


def test_another_decoder_than_the_live_one_is_refused(store: Store, publish: Any, deployer: Any) -> None:
    publish()
    with pytest.raises(MistakeError, match="decoder 2 and the live transformer has 1"):
        make_served(store, deployer, 1, decoder="2")
    assert actions(store) == []


def test_a_change_by_hand_is_refused(store: Store, publish: Any, deployer: Any) -> None:
    given(store, publish, deployer, 2, served=(1,))
    deployer.live = 2
    with pytest.raises(LostError, match="by hand"):
        make_served(store, deployer, 2, judged_against=1)
    assert actions(store) == [("promote", 1)]


def test_a_promotion_killed_half_way_is_finished_by_another_try(
    store: Store, publish: Any, deployer: Any
) -> None:
    given(store, publish, deployer, 2, served=(1,))
    store.ledger.record("promote", 2, by="me", reason="killed after this line", after=1)
    make_served(store, deployer, 2, judged_against=1)
    assert (deployer.live, len(store.ledger.entries())) == (2, 2)


def test_a_broken_version_is_never_promoted(store: Store, publish: Any, deployer: Any) -> None:
    publish()
    graph = next(path for path in store_files(store) if path.endswith("model.onnx"))
    (Path(store.url) / graph).write_bytes(b"something else")
    with pytest.raises(IntegrityError):
        make_served(store, deployer, 1)
    assert deployer.live is None


def store_files(store: Store) -> list[str]:
    return store.blobs.list("versions/")


def test_rollback_goes_to_what_last_served_not_to_the_number_before(
    store: Store, publish: Any, deployer: Any
) -> None:
    given(store, publish, deployer, 3, served=(1, 3))
    entry = roll_back(store, deployer, None, by="me", reason="worse")
    assert (entry.action, entry.version, deployer.live) == ("rollback", 1, 1)


def test_rollback_needs_a_version_that_served(store: Store, publish: Any, deployer: Any) -> None:
    given(store, publish, deployer, 2, served=(1,))
    with pytest.raises(MistakeError, match="no way back"):
        roll_back(store, deployer, None, by="me", reason="")
    with pytest.raises(MistakeError, match="never served"):
        roll_back(store, deployer, 2, by="me", reason="")
    assert deployer.live == 1


def test_a_promotion_that_was_taken_back_never_was_a_champion(
    store: Store, publish: Any, deployer: Any
) -> None:
    given(store, publish, deployer, 2, served=(1,))
    deployer.wrong = {2}
    with pytest.raises(ReturnedError):
        make_served(store, deployer, 2)
    assert champions(store.ledger.entries()) == [1]


def test_a_first_promotion_that_was_cut_off_before_anything_served_is_resumed(
    store: Store, publish: Any, deployer: Any
) -> None:
    resume(store, deployer)
    assert deployer.live is None
    publish(), publish()
    store.ledger.record("promote", 1, by="me", reason="killed after this line", after=0)
    resume(store, deployer)
    assert deployer.live == 1
    deployer.live = 2  # an edit by hand is for `deploy` to refuse, not for a Job of the next upgrade
    resume(store, deployer)
    assert (deployer.live, actions(store)) == (2, [("promote", 1)])
