import shutil
from pathlib import Path

import numpy as np
import pytest
from own_pictures import write_classes
from PIL import Image

from model.data.check import Alike
from model.data.errors import DataError
from model.data.own.look import Look, look
from model.data.own.wishes import Wishes
from model.data.sources import load_dataset


@pytest.fixture
def wishes(tmp_path: Path) -> Wishes:
    return Wishes(cache=tmp_path / "cache")


@pytest.fixture
def photos(tmp_path: Path) -> Path:
    return write_classes(tmp_path / "photos", {"cat": 40, "dog": 40})


def looked(folder: Path, wishes: Wishes) -> Look:
    found = look(str(folder), wishes)
    assert isinstance(found, Look)
    return found


def test_what_is_looked_at_is_what_is_learned_from(photos: Path, wishes: Wishes) -> None:
    found = looked(photos, wishes)
    dataset = load_dataset(str(photos), allow_sample=False, wishes=wishes)
    assert found.dataset.digest == dataset.digest
    assert (found.mistakes, found.notes) == ((), ())
    for split in ("train", "validation", "test"):
        part = getattr(dataset, split)
        here = {
            p.name for p, name in zip(found.check.pictures, found.check.splits, strict=True) if name == split
        }
        assert set(part.names) == here
        assert all(
            np.array_equal(found.pixels(name), image)
            for name, image in zip(part.names, part.images, strict=True)
        )
    assert found.pixels("cat/none.jpg") is None


def test_leaks_of_given_splits_are_pairs_and_the_split_that_is_taken_is_said(
    tmp_path: Path, wishes: Wishes
) -> None:
    for split, count in (("train", 40), ("test", 10)):
        write_classes(tmp_path / "photos" / split, {f"{split} cat": count, f"{split} dog": count})
        for label in ("cat", "dog"):
            folder = tmp_path / "photos" / split
            (folder / f"{split} {label}").rename(folder / label)
    train, test = tmp_path / "photos" / "train" / "cat", tmp_path / "photos" / "test" / "cat"
    shutil.copy(train / "000.jpg", test / "same.jpg")
    Image.open(train / "001.jpg").resize((90, 90), Image.Resampling.BICUBIC).save(test / "larger.png")
    found = looked(tmp_path / "photos", wishes)
    assert {frozenset((pair.name, pair.other)): (pair.kind, pair.exact) for pair in found.check.alike} == {
        frozenset(("train/cat/000.jpg", "test/cat/same.jpg")): ("leaks", True),
        frozenset(("train/cat/001.jpg", "test/cat/larger.png")): ("leaks", False),
    }
    assert found.notes == (
        "The source has no validation split, so pictures are taken out of the training split for it.",
    )


def test_a_second_look_says_the_same(photos: Path, wishes: Wishes) -> None:
    for number in range(8):
        picture = Image.open(photos / "cat" / f"{number:03}.jpg")
        picture.resize((90, 90), Image.Resampling.BICUBIC).save(photos / "cat" / f"large {number}.png")
    first = looked(photos, wishes)
    assert len(first.check.alike) == 8
    digest = first.dataset.digest  # which puts the cache into the order of the splits
    second = looked(photos, wishes)
    assert second.check == first.check
    assert second.dataset.digest == digest


def test_the_same_file_under_two_classes_is_a_conflict_and_nothing_else(photos: Path, wishes: Wishes) -> None:
    shutil.copy(photos / "cat" / "000.jpg", photos / "dog" / "cat.jpg")
    assert looked(photos, wishes).check.alike == [
        Alike("dog/cat.jpg", "cat/000.jpg", "conflicts", exact=True)
    ]


def test_a_class_too_small_for_its_splits_is_a_mistake_and_can_be_looked_at(
    tmp_path: Path, wishes: Wishes
) -> None:
    found = looked(write_classes(tmp_path / "photos", {"cat": 40, "dog": 40, "owl": 1}), wishes)
    assert len(found.check.pictures) == 81
    assert any("'owl'" in mistake for mistake in found.mistakes)
    with pytest.raises(DataError, match="'owl'"):
        _ = found.dataset


def test_classes_stand_in_the_order_of_the_ids_that_the_model_gave_them(photos: Path, wishes: Wishes) -> None:
    known = Wishes(cache=wishes.cache, classes=("dog", "bee"))
    assert [(count.name, count.total) for count in looked(photos, known).check.counts] == [
        ("dog", 40),
        ("bee", 0),
        ("cat", 40),
    ]


def test_what_differs_from_an_earlier_version_is_said(photos: Path, wishes: Wishes) -> None:
    earlier = looked(photos, wishes).dataset.splits
    (photos / "cat" / "000.jpg").rename(photos / "dog" / "was a cat.jpg")
    found = looked(photos, Wishes(cache=wishes.cache, earlier=earlier))
    assert found.notes == ("1 picture had another class for an earlier version: 'dog/was a cat.jpg'.",)


def test_without_one_picture_there_is_nothing_to_look_at(photos: Path, wishes: Wishes) -> None:
    for file in photos.rglob("*.jpg"):
        file.write_text("no picture")
    with pytest.raises(DataError, match=r"None of the files in .*photos is a picture"):
        look(str(photos), wishes)


def test_classes_that_differ_in_capitals_alone_are_mentioned(tmp_path: Path, wishes: Wishes) -> None:
    found = looked(write_classes(tmp_path / "photos", {"Cat": 5, "cat": 5, "dog": 5}), wishes)
    assert found.notes == (
        "'Cat' and 'cat' differ in capitals alone and are classes of their own; "
        "give them one name if they are one.",
    )
    assert found.mistakes == ()
