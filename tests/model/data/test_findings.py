from checked import checked

from model.data.check import Alike
from model.data.findings import KINDS, counted, find
from model.data.pictures import LeftOut

LARGE = (200, 40, 60)


def test_nothing_is_found_where_nothing_is_wrong() -> None:
    assert find(checked({"a": LARGE, "b": LARGE})) == ()


def test_each_file_left_out_is_named_under_what_is_wrong_with_it() -> None:
    left_out = (
        LeftOut("a/1", "a", "broken", "…"),
        LeftOut("a/2", "a", "not a picture", "…"),
        LeftOut("a/3", "a", "path only", "…"),
        LeftOut("a/3b", "a", "too large", "…"),
        LeftOut("a/4", "a", "too small", "…"),
        LeftOut("read-me", None, "no class", "nobody means it as a picture"),
        LeftOut("a/5", "a", "fixed", "the user left it out himself"),
        LeftOut("b/6", "b", "two classes", "…"),
        LeftOut("b/7", "b", "leak", "…"),
        LeftOut("b/8", "b", "duplicate", "…"),
    )
    found = {
        finding.kind: finding.names for finding in find(checked({"a": LARGE, "b": LARGE}, left_out=left_out))
    }
    assert found == {
        "broken": ("a/1", "a/2", "a/3", "a/3b"),
        "too-small": ("a/4",),
        "conflicts": ("b/6",),
        "leaks": ("b/7",),
        "duplicates": ("b/8",),
    }


def test_a_pair_and_the_file_left_out_for_it_are_one() -> None:
    left_out = (LeftOut("a/2", "a", "two classes", "It is b/1."),)
    alike = (
        Alike("a/2", "b/1", "conflicts", exact=True),
        Alike("a/4", "b/3", "conflicts", exact=False),
        Alike("b/5", "b/6", "near-duplicates", exact=False),
    )
    conflicts, near = find(checked({"a": LARGE, "b": LARGE}, left_out=left_out, alike=alike))
    assert (conflicts.kind, conflicts.count, conflicts.names) == ("conflicts", 2, ("a/2", "a/4"))
    assert conflicts.sentence == "2 files show a picture that another class has too: 'a/2', 'a/4'."
    assert (near.kind, near.count) == ("near-duplicates", 1)
    assert near.sentence == "1 file shows nearly the same as another file of the class: 'b/5'."


def test_a_sentence_names_three_and_counts_the_others() -> None:
    left_out = [LeftOut(f"a/{number}", "a", "broken", "…") for number in range(1003)]
    (finding,) = find(checked({"a": LARGE, "b": LARGE}, left_out=left_out))
    assert finding.sentence == (
        "1,003 files are no picture that can be read: 'a/0', 'a/1', 'a/2' and 1,000 more."
    )
    assert len(finding.names) == 1003


def test_imbalance_is_said_above_ten_to_one() -> None:
    assert find(checked({"a": (300, 40, 60), "b": (30, 5, 5)})) == ()
    (finding,) = find(checked({"a": (301, 40, 60), "b": (30, 5, 5)}))
    assert (finding.kind, finding.names) == ("imbalance", ("a", "b"))
    assert "'a' with 401 pictures, has 10 times as many as the smallest, 'b' with 40" in finding.sentence


def test_small_classes_and_those_that_no_test_picture_judges() -> None:
    assert find(checked({"a": (20, 5, 5), "b": (20, 5, 5)})) == ()
    (finding,) = find(checked({"a": (20, 5, 4), "b": (40, 5, 0), "c": (40, 5, 5)}))
    assert (finding.kind, finding.count, finding.names) == ("small-classes", 2, ("a", "b"))
    assert "1 without any in the test split" in finding.sentence


def test_a_group_in_two_splits_is_a_leak_and_few_groups_are_weak_evidence() -> None:
    (leaks,) = find(checked({"a": LARGE, "b": LARGE}, groups={"a/train-0.jpg": "ann", "a/test-0.jpg": "ann"}))
    assert (leaks.kind, leaks.count, leaks.names) == ("leaks", 1, ("ann",))
    few = {f"{label}/test-{number}.jpg": f"{number % 29}" for label in "ab" for number in range(60)}
    (finding,) = find(checked({"a": LARGE, "b": LARGE}, groups=few))
    assert (finding.kind, finding.count) == ("few-groups", 29)
    many = {name: f"{group}" for group, name in enumerate(few)}
    assert find(checked({"a": LARGE, "b": LARGE}, groups=many)) == ()


def test_the_kinds_are_what_a_flag_can_name() -> None:
    assert all(kind == kind.lower() and "," not in kind and " " not in kind for kind in KINDS)


def test_numbers_have_their_nouns() -> None:
    assert (counted(1, "class", "classes"), counted(1200, "file")) == ("1 class", "1,200 files")
