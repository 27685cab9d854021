import json

from checked import checked, picture

from model.data.check import ClassCount, DataCheck, Spread
from model.data.pictures import LeftOut

LEFT_OUT = (
    LeftOut("cat/a.jpg", "cat", "broken", "cut short"),
    LeftOut("owl/b.jpg", "owl", "broken", "cut short"),
    LeftOut("notes.txt", None, "not a picture", "text"),
)


def test_classes_are_counted_by_split_and_a_class_of_broken_files_alone_is_one() -> None:
    check = checked({"dog": (5, 2, 1), "cat": (3, 0, 0)}, left_out=LEFT_OUT)
    assert check.counts == (
        ClassCount("dog", 5, 2, 1, 0),
        ClassCount("cat", 3, 0, 0, 1),
        ClassCount("owl", 0, 0, 0, 1),
    )
    assert [count.total for count in check.counts] == [8, 3, 0]
    assert check.imbalance == 8 / 3
    assert {reason: len(lefts) for reason, lefts in check.reasons.items()} == {
        "broken": 2,
        "not a picture": 1,
    }


def test_sizes_are_of_the_files_and_groups_of_each_split() -> None:
    members = [picture("a", "x", group="ann"), picture("b", "x", group="bob", side=300), picture("c", "y")]
    members.append(picture("d", "y", group="ann", side=8))
    check = DataCheck(
        "p",
        members,
        ["train", "test", "train", "validation"],
        (),
        (),
        ["1", "1", "2", "1"],
        ("x", "y"),
        32,
        "crop",
    )
    assert (check.widths, check.heights) == (Spread(8, 100, 300), Spread(4, 50, 150))
    assert check.groups == {"train": 2, "validation": 1, "test": 1}
    assert check.torn_groups == ("ann",)


def test_without_groups_there_are_none() -> None:
    assert (checked({"a": (1, 1, 1)}).groups, checked({"a": (1, 1, 1)}).torn_groups) == ({}, ())


def test_a_script_gets_the_figures_as_json_even_of_nothing() -> None:
    told = json.loads(
        json.dumps(checked({"dog": (5, 2, 1), 'ñ, "x"': (3, 1, 1)}, left_out=LEFT_OUT).to_json())
    )
    assert told["pictures"] == 13
    assert told["splits"] == {"train": 8, "validation": 3, "test": 2}
    assert told["classes"][1] == {"name": 'ñ, "x"', "train": 3, "validation": 1, "test": 1, "left_out": 0}
    assert told["widths"] == {"smallest": 100, "median": 100, "largest": 100}
    assert (told["formats"], told["bytes"]) == ({"JPEG": 13}, 13_000)
    assert told["left_out"] == {"broken": 2, "not a picture": 1}
    assert checked({}).to_json()["widths"] == {"smallest": 0, "median": 0, "largest": 0}
