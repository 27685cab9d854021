"""Class ids: given once, never changed, whatever happens in between; in a folder and in an S3."""

import threading
import unicodedata
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from export.errors import IntegrityError, StoreError
from export.store.blobs import Blobs
from export.store.classes.class_list import ClassList
from export.store.classes.events import ClassEvent
from export.store.lineage import Lineage
from export.store.manifest import Manifest
from export.store.versions import Store
from model.contract import CLASSES, Contract, ContractError

BuildOf = Callable[[bytes], Callable[[int, Path], Manifest]]


@pytest.fixture
def classes(blobs: Blobs) -> ClassList:
    return ClassList(blobs)


def actions(classes: ClassList) -> list[tuple[str, int, tuple[str, ...]]]:
    return [(event.action, event.class_list, event.names) for event in classes.events()]


def test_new_names_get_the_next_ids_in_the_given_order(classes: ClassList, blobs: Blobs) -> None:
    assert (classes.number, classes.names()) == (1, ())
    assert classes.learn(["cat", "bird"], by="me") == ("cat", "bird")
    assert classes.learn(["ant", "cat", "zebra", "ant"], by="you") == ("cat", "bird", "ant", "zebra")
    assert classes.learn(["bird"], by="you") == ("cat", "bird", "ant", "zebra")
    assert actions(classes) == [("begin", 1, ("cat", "bird")), ("add", 1, ("ant", "zebra"))]
    assert blobs.list("classes/") == ["classes/000001.json", "classes/000002.json"]
    assert ClassList(blobs).names() == ("cat", "bird", "ant", "zebra")
    assert [event.by for event in ClassList(blobs).events()] == ["me", "you"]


def test_a_name_is_one_name_in_whatever_form_it_is_written(classes: ClassList) -> None:
    composed, apart = (unicodedata.normalize(form, "Käfer") for form in ("NFC", "NFD"))
    assert classes.learn([apart, "Ameise", composed], by="me") == (composed, "Ameise")
    assert classes.learn([apart], by="me") == (composed, "Ameise")
    assert classes.rename(apart, "Beetle", by="me") == ("Beetle", "Ameise")


def test_learners_at_once_give_no_name_two_ids_and_no_id_two_names(blobs: Blobs) -> None:
    together = threading.Barrier(6)

    def learn(learner: int) -> tuple[str, ...]:
        mine = ClassList(blobs)
        together.wait()
        return mine.learn([f"common-{learner % 2}", f"own-{learner}", "common-2"], by=str(learner))

    with ThreadPoolExecutor(6) as pool:
        seen = list(pool.map(learn, range(6)))
    names = ClassList(blobs).names()
    assert sorted(names) == sorted([*(f"own-{n}" for n in range(6)), *(f"common-{n}" for n in range(3))])
    # what each of them was told goes on to be true
    assert all(names[: len(one)] == one for one in seen)


def test_a_renamed_class_keeps_its_id_and_is_known_by_its_old_name(classes: ClassList) -> None:
    classes.learn(["cat", "dog"], by="me")
    assert classes.rename("cat", "kitten", by="me") == ("kitten", "dog")
    assert classes.rename("cat", "kitten", by="me") == ("kitten", "dog")
    assert classes.names_now_and_before()[1] == {"cat": "kitten"}
    assert classes.learn(["cat", "bird"], by="me") == ("kitten", "dog", "bird")
    assert classes.rename("kitten", "cat", by="me") == ("cat", "dog", "bird")
    assert classes.names_now_and_before()[1] == {"kitten": "cat"}
    assert len(classes.events()) == 4


@pytest.mark.parametrize(
    ("old", "new", "sentence"),
    [
        ("horse", "pony", r"There is no class 'horse' to rename; there are 'kitten', 'dog'\."),
        ("cat", "tiger", "The class 'cat' is called 'kitten' now; rename that one"),
        ("dog", "kitten", "There is or was another class 'kitten'; choose a name that is free"),
        ("dog", "cat", "There is or was another class 'cat'; choose a name that is free"),
    ],
)
def test_a_rename_that_would_give_an_id_another_meaning_is_refused(
    classes: ClassList, old: str, new: str, sentence: str
) -> None:
    classes.learn(["cat", "dog"], by="me")
    classes.rename("cat", "kitten", by="me")
    with pytest.raises(StoreError, match=sentence):
        classes.rename(old, new, by="me")
    assert classes.names() == ("kitten", "dog")


@pytest.mark.parametrize("name", ["", " cat", "a/b", "a\\b", "tab\t", "x" * 101])
def test_what_cannot_be_a_name_is_not_written(classes: ClassList, name: str) -> None:
    for act in (
        lambda: classes.learn(["cat", name], by="me"),
        lambda: classes.begin_anew(["cat", name], by="me"),
        lambda: classes.rename("cat", name, by="me"),
    ):
        with pytest.raises(ContractError):
            act()
    assert classes.events() == []


def test_a_list_has_no_more_names_than_can_be_told_apart(classes: ClassList) -> None:
    assert len(classes.learn((str(number) for number in range(1000)), by="me")) == 1000
    with pytest.raises(ContractError, match="would have 1001 names, and at most 1000"):
        classes.learn(["one more"], by="me")


def publish(
    store: Store, lineage: Lineage, build_of: BuildOf, contract: Contract, class_list: int = 1
) -> int:
    def build(version: int, folder: Path) -> Manifest:
        made = build_of(b"graph")(version, folder)
        return Manifest(**dict(made) | {"contract": contract, "class_list": class_list})

    return store.publish(build).version


def test_a_store_from_before_the_lists_begins_with_what_is_served(
    store: Store, lineage: Lineage, build_of: BuildOf
) -> None:
    publish(store, lineage, build_of, Contract())
    publish(store, lineage, build_of, Contract(classes=("a", "b")))
    assert store.classes.names() == ("a", "b")  # nothing is served: the newest
    store.ledger.record("promote", 1, by="me", reason="why", after=0)
    assert store.classes.names() == CLASSES
    assert store.classes.learn(CLASSES, by="me") == CLASSES
    assert store.classes.events() == []  # nothing new, nothing written
    assert store.classes.learn(["truck", "cat"], by="me") == (*CLASSES, "truck")
    assert actions(store.classes) == [("begin", 1, CLASSES), ("add", 1, ("truck",))]


def test_a_rename_in_a_store_from_before_the_lists_begins_one(
    store: Store, lineage: Lineage, build_of: BuildOf
) -> None:
    publish(store, lineage, build_of, Contract())
    renamed = (*CLASSES[:3], "kitten", "dog")
    assert store.classes.rename("cat", "kitten", by="me") == renamed
    assert actions(store.classes) == [("begin", 1, CLASSES), ("rename", 1, ("cat", "kitten"))]


def test_a_new_list_has_nothing_to_do_with_the_old_one(
    store: Store, lineage: Lineage, build_of: BuildOf
) -> None:
    publish(store, lineage, build_of, Contract())
    store.ledger.record("promote", 1, by="me", reason="why", after=0)
    lists = store.classes
    assert lists.begin_anew(["rose", "cat"], by="me") == 2
    assert lists.begin_anew(["rose", "cat"], by="me") == 2  # done again, as after a crash
    assert actions(lists) == [("begin", 1, CLASSES), ("begin", 2, ("rose", "cat"))]
    assert lists.learn(["tulip"], by="me", number=2) == ("rose", "cat", "tulip")
    # until a version of the new list is served, the old one is in use, and goes on where it was
    assert (lists.number, lists.names()) == (1, CLASSES)
    assert lists.learn(["truck"], by="me") == (*CLASSES, "truck")
    publish(store, lineage, build_of, Contract(classes=lists.names(2)), class_list=2)
    assert lists.number == 1
    store.ledger.record("promote", 2, by="me", reason="why", after=1)
    assert (lists.number, lists.names()) == (2, ("rose", "cat", "tulip"))
    assert lists.begin_anew(["x", "y"], by="me") == 3
    store.ledger.record("rollback", 1, by="me", reason="why", after=2)
    assert (lists.number, lists.names()) == (1, (*CLASSES, "truck"))


def test_a_list_that_is_not_there_is_told(classes: ClassList) -> None:
    with pytest.raises(StoreError, match=r"no list 2 of classes in .*, but 0"):
        classes.names(2)
    classes.learn(["a", "b"], by="me")
    with pytest.raises(StoreError, match=r"no list 2 of classes in .*, but 1"):
        classes.learn(["c"], by="me", number=2)


def test_a_list_with_a_hole_or_a_changed_event_is_refused(classes: ClassList, blobs: Blobs) -> None:
    for names in (["a"], ["b"], ["c"]):
        classes.learn(names, by="me")
    (first, second, _) = classes.events()
    blobs.delete("classes/000002.json")
    with pytest.raises(IntegrityError, match=r"classes/000002\.json is missing in .*; restore it"):
        ClassList(blobs).names()
    blobs.put_if_absent("classes/000002.json", b'{"number": 2}')
    with pytest.raises(IntegrityError, match=r"classes/000002\.json in .* is no change of classes"):
        ClassList(blobs).names()
    for forged in (
        second.model_copy(update={"names": ("a",)}),
        second.model_copy(update={"class_list": 2}),
        second.model_copy(update={"action": "begin", "class_list": 3}),
        second.model_copy(update={"action": "rename", "names": ("z", "y")}),
        second.model_copy(update={"action": "rename", "names": ("a",)}),
    ):
        blobs.delete("classes/000002.json")
        blobs.put_if_absent("classes/000002.json", forged.model_dump_json().encode())
        with pytest.raises(IntegrityError, match=r"classes/000002\.json in .* does not follow from those"):
            ClassList(blobs).names()
    assert first == ClassEvent.model_validate_json(blobs.get("classes/000001.json"))
