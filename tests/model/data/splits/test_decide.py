import hashlib
from collections import Counter
from dataclasses import replace
from functools import cache

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from model.data.errors import DataError
from model.data.pictures import LeftOut, Picture, SplitName
from model.data.splits.decide import decide
from model.data.splits.decision import Decision


@cache
def signature(number: int) -> tuple[int, bytes]:
    pixels = np.random.default_rng(number)
    return int(pixels.integers(2**64, dtype=np.uint64)), pixels.bytes(256)


def picture(
    number: int,
    label: str = "a",
    *,
    like: int | None = None,
    given: SplitName | None = None,
    group: str | None = None,
    name: str | None = None,
) -> Picture:
    """A picture with pixels of its own; `like` another one: other bytes, the same pixels."""
    look = signature(number if like is None else like)
    return Picture(
        name=name or f"{label}/{number}.jpg",
        label=label,
        given=given,
        group=group,
        digest=hashlib.sha256(str(number).encode()).digest(),
        phash=look[0],
        thumb=look[1],
        width=64,
        height=64,
        format="jpeg",
        length=1000,
    )


def many(count: int, label: str = "a", begin: int = 0) -> list[Picture]:
    return [picture(begin + number, label) for number in range(count)]


def splits_of(pictures: list[Picture], decision: Decision) -> dict[bytes, SplitName]:
    return {
        p.digest: o for p, o in zip(pictures, decision.outcomes, strict=True) if not isinstance(o, LeftOut)
    }


def reasons(decision: Decision) -> list[str]:
    return [o.reason if isinstance(o, LeftOut) else o for o in decision.outcomes]


def one_in(split: SplitName, begin: int = 0, label: str = "a") -> Picture:
    """A picture whose hash puts it in a split."""
    pictures = many(300, label, begin)
    return next(p for p, o in zip(pictures, decide(pictures).outcomes, strict=True) if o == split)


def test_the_shares_are_kept() -> None:
    counts = Counter(decide(many(5000)).outcomes)
    assert counts["train"] == pytest.approx(3600, abs=100)
    assert counts["validation"] == pytest.approx(400, abs=60)
    assert counts["test"] == pytest.approx(1000, abs=90)


def test_neither_order_nor_name_decides() -> None:
    pictures = [*many(200), *many(200, "b", 200)]
    first = splits_of(pictures, decide(pictures))
    shuffled = [replace(p, name=f"x/{n}") for n, p in enumerate(pictures)]
    np.random.default_rng(0).shuffle(shuffled)  # type: ignore[arg-type]
    assert splits_of(shuffled, decide(shuffled)) == first


@pytest.mark.parametrize("count", [3, 4, 7])
def test_a_small_class_has_something_in_every_split_and_growing_moves_nothing(count: int) -> None:
    for begin in range(0, 800, 100):
        small = [*many(300, "large", 10_000), *many(count, "small", begin)]
        first = decide(small)
        assert all(first.counts["small"].values())
        assert not first.lacking
        grown = [*small, *many(20, "small", begin + 50), *many(50, "large", 20_000)]
        second = decide(grown, first.splits)
        assert splits_of(small, first).items() <= splits_of(grown, second).items()
        assert not second.lacking


def test_of_two_pictures_one_is_learned_and_one_tested() -> None:
    for begin in range(0, 400, 10):
        decision = decide([*many(100, "large", 10_000), *many(2, "small", begin), picture(5000, "one")])
        assert decision.counts["small"] == {"train": 1, "validation": 0, "test": 1}
        assert decision.counts["one"] == {"train": 1, "validation": 0, "test": 0}
        assert set(decision.lacking) == {
            ("small", "validation"),
            ("one", "validation"),
            ("one", "test"),
        }


def test_a_group_is_never_divided() -> None:
    pictures = [picture(n, "ab"[n % 2], group=f"person {n // 10}") for n in range(300)]
    decision = decide(pictures)
    for start in range(0, 300, 10):
        assert len(set(decision.outcomes[start : start + 10])) == 1
        assert len(set(decision.groups[start : start + 10])) == 1
    assert len(set(decision.groups)) == 30
    assert set(decision.outcomes) == {"train", "validation", "test"}


def test_a_new_picture_of_a_known_group_joins_it() -> None:
    pictures = [picture(n, group=f"g{n}") for n in range(60)]
    first = decide(pictures)
    new = [picture(1000 + n, group=f"g{n}") for n in range(60)]
    assert decide(new, first.splits).outcomes == first.outcomes


@pytest.mark.parametrize("split", ["train", "validation", "test"])
def test_a_picture_that_was_saved_again_joins_the_known_one(split: SplitName) -> None:
    known = one_in(split, label="b")
    first = decide([known, *many(300, "b", 5000)])
    for number in range(7000, 7005):
        again = picture(number, like=int(known.name.split("/")[1].split(".")[0]))
        decision = decide([again, *many(300, "b", 5000)], first.splits)
        assert decision.outcomes[0] == split
        assert decision.joined == 1


def test_near_duplicates_of_new_data_are_in_one_split() -> None:
    pictures = [*many(200), *(picture(1000 + n, like=n) for n in range(200))]
    decision = decide(pictures)
    assert decision.outcomes[:200] == decision.outcomes[200:]
    assert [(pair.first, pair.second, pair.distance) for pair in sorted(decision.near)] == [
        (n, n + 200, 0) for n in range(200)
    ]


def test_of_the_same_file_one_is_kept_whatever_the_order() -> None:
    same = [picture(1, name=name) for name in ("a/2", "a/1", "a/3")]
    assert reasons(decide([*same, *many(50, "b", 50)]))[:3] == [
        "duplicate",
        decide(same[1:]).outcomes[0],
        "duplicate",
    ]
    assert decide([*same, *many(50, "b", 50)]).exact == ((0, 1, 2),)


def test_the_same_file_under_two_classes_is_left_out_and_near_ones_are_told() -> None:
    pictures = [picture(1), picture(1, "b"), picture(2), picture(3, "b", like=2), *many(50, "c", 50)]
    decision = decide(pictures)
    assert reasons(decision)[:2] == ["two classes", "two classes"]
    assert decision.outcomes[2] == decision.outcomes[3]
    assert [(c.pictures, c.same) for c in decision.conflicts] == [((0, 1), True), ((2, 3), False)]
    assert "b/1.jpg" in decision.left_out[0].detail


def test_a_new_picture_that_would_be_in_two_splits_is_in_neither_and_the_known_ones_stay() -> None:
    train, test = one_in("train"), one_in("test", 1000)
    test = replace(test, phash=train.phash ^ 0b111111111, thumb=train.thumb)
    first = decide([train, test, *many(50, "b", 5000)])
    assert first.outcomes[:2] == ("train", "test")
    bridge = replace(picture(9000), phash=train.phash ^ 0b1111, thumb=train.thumb)
    decision = decide([train, test, bridge, *many(50, "b", 5000)], first.splits)
    assert reasons(decision)[:3] == ["train", "test", "leak"]
    assert bridge.digest not in {row.tobytes() for row in decision.splits.digests}


def test_of_two_known_ones_that_turn_out_to_be_like_the_training_one_is_left_out() -> None:
    train, test = one_in("train"), one_in("test", 1000)
    first = decide([train, test, *many(50, "b", 5000)])
    test = replace(test, phash=train.phash, thumb=train.thumb)
    for pictures in ([train, test], [train]):
        decision = decide([*pictures, *many(50, "b", 5000)], first.splits)
        expected = ["leak", "test"] if len(pictures) == 2 else ["train"]
        assert reasons(decision)[: len(pictures)] == expected


def test_given_splits_are_kept_and_their_leaks_are_told() -> None:
    pictures = [
        picture(1, given="train"),
        picture(2, given="test", like=1),
        picture(3, given="train"),
        picture(3, given="test", name="t"),
        *(picture(n, given="validation") for n in range(10, 20)),
    ]
    decision = decide(pictures)
    assert decision.outcomes == tuple(p.given for p in pictures)
    assert [(leak.picture, leak.other, leak.by, leak.removed) for leak in decision.leaks] == [
        (0, 1, "near", False),
        (2, 3, "same", False),
    ]
    dropped = decide(pictures, drop_leaks=True)
    assert reasons(dropped)[:4] == ["leak", "test", "leak", "test"]
    assert decide(pictures, decision.splits).outcomes == decision.outcomes


def test_validation_that_is_not_given_is_taken_out_of_training() -> None:
    pictures = [
        replace(p, given=given)
        for given, begin, count in (("train", 0, 1000), ("test", 5000, 200))
        for p in many(count, begin=begin)
    ]
    decision = decide(pictures)
    assert decision.taken == ("validation",)
    assert set(decision.outcomes[1000:]) == {"test"}
    counts = Counter(decision.outcomes[:1000])
    assert counts["validation"] == pytest.approx(100, abs=30)
    assert counts["train"] + counts["validation"] == 1000
    again = decide(pictures, decision.splits)
    assert again.outcomes == decision.outcomes
    assert not again.moved


def test_a_known_picture_keeps_its_split_against_what_the_source_says_now() -> None:
    known = [one_in("train"), one_in("test", 1000)]
    first = decide([*known, *many(50, "b", 5000)])
    swapped = [replace(known[0], given="test"), replace(known[1], given="train")]
    rest = [replace(p, given="validation") for p in many(50, "c", 6000)]
    decision = decide([*swapped, *rest], first.splits)
    assert decision.outcomes[:2] == ("train", "test")
    assert decision.moved == (0, 1)


def test_who_begins_to_name_groups_loses_no_picture_but_is_told() -> None:
    pictures = many(200)
    first = decide(pictures)
    grouped = [replace(p, group=f"g{n // 10}") for n, p in enumerate(pictures)]
    second = decide(grouped, first.splits)
    assert second.outcomes == first.outcomes
    assert {leak.by for leak in second.leaks} == {"group"}
    assert not any(leak.removed for leak in second.leaks)
    assert reasons(decide(grouped, first.splits, drop_leaks=True)).count("leak") == len(second.leaks)


def test_a_new_picture_of_a_group_that_is_in_two_splits_is_left_out() -> None:
    train, test = one_in("train"), one_in("test", 1000)
    first = decide([train, test, *many(50, "b", 5000)])
    new = replace(picture(9000), group="g")
    known = [replace(train, group="g"), replace(test, group="g")]
    decision = decide([*known, new, *many(50, "b", 5000)], first.splits)
    assert reasons(decision)[:3] == ["train", "test", "leak"]
    assert decision.left_out[0].detail.startswith(f"It is of one group with {test.name}, in the test split")


def test_a_given_picture_that_is_like_a_known_one_joins_that_one() -> None:
    known = one_in("train", label="b")
    first = decide([known, *many(50, "b", 5000)])
    number = int(known.name.split("/")[1].split(".")[0])
    decision = decide([picture(9000, "b", like=number, given="test"), *many(50, "b", 5000)], first.splits)
    assert decision.outcomes[0] == "train"
    assert decision.moved == (0,)


def test_a_picture_that_was_away_comes_back_to_its_split() -> None:
    pictures = many(100)
    first = decide(pictures)
    away = decide(pictures[:50], first.splits)
    assert len(away.splits) == 100
    again = [replace(p, label="b") for p in pictures]
    back = decide(again, away.splits)
    assert back.outcomes == first.outcomes
    assert back.relabelled == tuple(range(100))


def test_too_little_data_is_said_in_a_sentence() -> None:
    decide([*many(3), *many(3, "b", 10)]).check()
    with pytest.raises(DataError, match="Of 2 classes 1 have a picture to learn from"):
        decide([*many(3), *(picture(9, "b", given="test") for _ in range(2))]).check()
    with pytest.raises(DataError, match="No picture is in the validation split: 2 different pictures"):
        decide([picture(1, "a"), picture(2, "b", like=1), picture(3, "a"), picture(4, "b", like=3)]).check()
    with pytest.raises(DataError, match="Of 0 classes 0"):
        decide([]).check()


@given(st.data())
@settings(max_examples=40, deadline=None)
def test_whatever_comes_and_goes_nothing_moves_and_no_like_are_in_two_splits(data: st.DataObject) -> None:
    files = st.tuples(
        st.integers(0, 30),  # what is on it
        st.integers(0, 2),  # which saving of it
        st.sampled_from("ab"),
        st.sampled_from([None, None, "g", "h"]),
    )
    earlier = None
    ever: dict[bytes, SplitName] = {}
    for _ in range(3):
        drawn = data.draw(st.lists(files, max_size=30))
        pictures = [
            picture(100 * look + way, label, like=look, group=group, name=str(n))
            for n, (look, way, label, group) in enumerate(drawn)
        ]
        decision = decide(pictures, earlier)
        earlier = decision.splits
        now: dict[str, set[str]] = {}
        for position, outcome in enumerate(decision.outcomes):
            if not isinstance(outcome, LeftOut):
                digest = pictures[position].digest
                assert ever.setdefault(digest, outcome) == outcome
                now.setdefault(str(drawn[position][0]), set()).add(outcome)
        assert all(len(splits) == 1 for splits in now.values())
        kept = [
            p.digest for p, o in zip(pictures, decision.outcomes, strict=True) if not isinstance(o, LeftOut)
        ]
        assert len(kept) == len(set(kept))
