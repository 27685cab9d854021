"""What class ids follow from: a change that does not fit those before it is found."""

from datetime import UTC, datetime

import pytest

from export.store.classes.events import Action, ClassEvent, UnfitError, replay


def events(*changes: tuple[Action, tuple[str, ...]]) -> list[ClassEvent]:
    """Changes of the first list."""
    return [
        ClassEvent(number=number, action=action, class_list=1, names=names, by="me", at=datetime.now(UTC))
        for number, (action, names) in enumerate(changes, start=1)
    ]


def test_a_list_follows_from_its_changes() -> None:
    (found,) = replay(events(("begin", ("a", "b")), ("rename", ("a", "c")), ("add", ("d",))))
    assert found.names == ["c", "b", "d"]
    assert found.ids == {"a": 0, "c": 0, "b": 1, "d": 2}


@pytest.mark.parametrize(
    "last",
    [
        ("add", ("b",)),
        ("add", ("a",)),  # what a class was called before
        ("rename", ("b", "a")),
        ("rename", ("b", "c")),
        ("rename", ("x", "y")),
        ("rename", ("b",)),
        ("begin", ("x",)),
    ],
)
def test_a_change_that_does_not_fit_is_named(last: tuple[Action, tuple[str, ...]]) -> None:
    with pytest.raises(UnfitError) as caught:
        replay(events(("begin", ("a", "b")), ("rename", ("a", "c")), last))
    assert caught.value.number == 3
