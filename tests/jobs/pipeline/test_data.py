"""What a retrain takes over from the versions before: class ids, their names, the splits."""

from pathlib import Path

import numpy as np
import pytest
from own_pictures import write_classes

from export.store.versions import SPLITS, Store
from jobs.errors import MistakeError
from jobs.pipeline.data import give_ids, read_data
from jobs.settings import Settings, load_settings
from jobs.training_runs import Request, read_renames, request_of
from model.contract import CLASSES, Contract
from model.data.dataset import Dataset
from model.data.own.look import look
from model.data.splits.memory import Splits

CLASSES_HERE = {"cat": 6, "dog": 6}


@pytest.fixture
def settings(home: Path) -> Settings:
    return load_settings(state=home / "var", store=str(home / "store"))


@pytest.fixture
def photos(home: Path) -> Path:
    return write_classes(home / "photos", CLASSES_HERE)


@pytest.fixture
def trained(settings: Settings, store: Store, build):
    """Does of a training what the data knows of it, and publishes a version."""

    def trained(photos: Path, *rename: str, store: Store = store, **changes: object) -> Dataset:
        request = request_of(settings.model_copy(update={"data": str(photos)}), 0, rename=rename)
        request = Request(**(vars(request) | changes))  # type: ignore[arg-type]
        dataset = read_data(request, settings, store, sample_allowed=False)
        number = give_ids(dataset, request, settings, store)
        contract = Contract(classes=dataset.classes, size=dataset.size, unlearned=dataset.unlearned)
        evidence = {SPLITS: dataset.splits} if dataset.splits else {}
        store.publish(
            lambda version, folder: build(version, folder, contract=contract, class_list=number), evidence
        )
        return dataset

    return trained


def test_a_renamed_class_keeps_its_id_whatever_the_source_calls_it(
    photos: Path, home: Path, settings: Settings, store: Store, trained
) -> None:
    first = trained(photos)
    second = trained(photos, "cat=felis")
    assert (first.classes, second.classes) == (("cat", "dog"), ("felis", "dog"))
    assert second.digest != first.digest
    assert np.array_equal(second.test.images, first.test.images)
    assert trained(photos).classes == ("felis", "dog")  # the source has not followed, and need not
    assert trained(photos, "cat=felis").classes == ("felis", "dog")  # again, it is done already
    assert trained(photos, "felis=tom").classes == ("tom", "dog")
    (photos / "cat").rename(photos / "tom")
    assert trained(photos).classes == ("tom", "dog")
    assert store.classes.names() == ("tom", "dog")

    others = write_classes(home / "others", {"dog": 6, "owl": 6})
    without = trained(others)  # none of the names that the vanished class ever had
    assert (without.classes, without.unlearned) == (("tom", "dog", "owl"), (0,))


def test_a_versions_data_is_the_same_after_the_list_has_changed(
    photos: Path, home: Path, settings: Settings, store: Store, trained
) -> None:
    """So its int8 twin can still be made."""
    first = trained(photos)
    trained(write_classes(home / "others", {"cat": 6, "dog": 6, "owl": 6}), "cat=felis")
    asked = request_of(settings.model_copy(update={"data": str(photos)}), 0)
    again = read_data(asked, settings, store, sample_allowed=False, version=store.manifest(1))
    assert (again.classes, again.unlearned) == (("felis", "dog", "owl"), (2,))
    assert again.digest != first.digest
    assert again.called(("cat", "dog")).digest == first.digest
    assert again.called(("cat", "dog")).unlearned == ()
    assert again.called(("cat",)) is again


def test_a_new_class_is_renamed_as_it_is_learned(photos: Path, store: Store, trained) -> None:
    assert trained(photos, "dog=canis").classes == ("canis", "cat")
    assert trained(photos).classes == ("canis", "cat")
    assert store.classes.names_now_and_before()[1] == {"dog": "canis"}


def test_nobody_is_told_that_pictures_of_a_renamed_class_changed_theirs(
    photos: Path, settings: Settings, store: Store, trained
) -> None:
    from jobs.pipeline.data import wishes

    trained(photos)
    asked = request_of(settings.model_copy(update={"data": str(photos)}), 0, rename=["cat=felis"])
    found = look(str(photos), wishes(asked, settings, store))
    assert not isinstance(found, Dataset)
    assert found.notes == ()


@pytest.mark.parametrize(
    ("rename", "sentence"),
    [
        ("cat=dog", "there is or was another class 'dog'"),
        ("owl=strix", "no class 'owl' to rename"),
        ("cat", "write the old name, one =, and the new name"),
        ("a=b=c", "write the old name, one =, and the new name"),
    ],
)
def test_a_class_cannot_be_renamed_like_that(photos: Path, trained, rename: str, sentence: str) -> None:
    trained(photos)
    with pytest.raises(Exception, match=sentence):
        trained(photos, rename)


def test_a_former_name_is_not_renamed(photos: Path, trained) -> None:
    trained(photos, "cat=felis")
    with pytest.raises(MistakeError, match="'cat' is called 'felis' by now"):
        trained(photos, "cat=tom")


def test_renames_that_do_not_go_together() -> None:
    with pytest.raises(MistakeError, match="rename each once"):
        read_renames(["a=b", "a=c"])
    with pytest.raises(MistakeError, match="give one of the two"):
        request_of(Settings(), 0, new_classes=True, rename=["a=b"])


def test_cifar_10_that_is_to_begin_a_new_list_gets_one(photos: Path, store: Store, trained) -> None:
    """Under the list of the own classes its ids would mean those."""
    trained(photos)
    assert trained(Path("sample"), new_classes=True).classes == CLASSES
    assert [manifest.class_list for manifest in store.versions()] == [1, 2]
    assert (store.classes.names(1), store.classes.names(2)) == (("cat", "dog"), CLASSES)


def test_a_refused_new_list_leaves_the_served_versions_ids_alone(
    photos: Path, home: Path, store: Store, trained
) -> None:
    trained(photos)
    store.ledger.record("promote", 1, by="me", reason="it is the first", after=0)
    others = write_classes(home / "others", {"ant": 6, "dog": 6})
    assert trained(others, new_classes=True).classes == ("ant", "dog")
    assert trained(write_classes(home / "more", {"ant": 6, "cat": 6, "dog": 6})).classes == (
        "cat",
        "dog",
        "ant",
    )
    assert [manifest.class_list for manifest in store.versions()] == [1, 2, 1]
    assert store.classes.names(2) == ("ant", "dog")


def test_own_pictures_that_were_not_named_are_not_taken_for_cifar_10(
    photos: Path, settings: Settings, store: Store, trained
) -> None:
    trained(photos)
    with pytest.raises(MistakeError, match="No data is named, and the versions of cnn-image learned from"):
        read_data(request_of(settings, 0), settings, store, sample_allowed=True)


def test_what_the_served_version_learned_is_known_also_where_it_is_no_predecessor(
    photos: Path, home: Path, settings: Settings, store: Store, trained, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Two that were trained at once know nothing of one another's new pictures."""
    trained(photos)
    begun = store.evidence(1, SPLITS)
    more = write_classes(home / "more", {"cat": 12, "dog": 6})
    rows = [f"{file.relative_to(more)},{file.parent.name}" for file in sorted(more.glob("*/*.jpg"))]
    given = [f"{row},{'test' if row > 'cat/006' and row < 'd' else 'train'}" for row in rows]
    (more / "labels.csv").write_text("\n".join(["image,label,split", *given]))
    second = trained(more / "labels.csv")
    with monkeypatch.context() as earlier:
        earlier.setattr("jobs.pipeline.data._earlier_splits", lambda *_: begun)
        trained(write_classes(home / "others", {"cat": 6, "dog": 12}))
    store.ledger.record("promote", 2, by="me", reason="it is better", after=0)
    fourth = trained(write_classes(home / "all", {"cat": 12, "dog": 12}))
    assert fourth.test.names is not None
    assert {f"cat/{number:03}.jpg" for number in range(6, 12)} <= set(fourth.test.names)
    known = Splits.from_bytes(fourth.splits or b"")
    assert {bytes(row) for row in Splits.from_bytes(second.splits or b"").digests} <= {
        bytes(row) for row in known.digests
    }


def test_the_versions_are_listed_once(
    photos: Path, settings: Settings, store: Store, trained, monkeypatch: pytest.MonkeyPatch
) -> None:
    """On an S3 each listing is a call, or several."""
    trained(photos)
    store.ledger.record("promote", 1, by="me", reason="-", after=0)
    listed: list[str] = []
    listing = store.blobs.list
    monkeypatch.setattr(store.blobs, "list", lambda prefix: listed.append(prefix) or listing(prefix))
    request = request_of(settings.model_copy(update={"data": str(photos)}), 0)
    read_data(request, settings, store, sample_allowed=False)
    assert (listed.count("versions/"), listed.count("classes/")) == (1, 1)
