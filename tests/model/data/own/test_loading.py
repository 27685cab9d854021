"""Own pictures as a data set: class ids, splits, order, fixes, and mistakes in one sentence each."""

import dataclasses
import shutil
from collections import Counter
from pathlib import Path

import numpy as np
import pytest
from own_pictures import lay, paint, painted

from model.data.dataset import Dataset
from model.data.errors import DataError
from model.data.images import FileRows
from model.data.own.fixes import read_fixes
from model.data.own.gather import gather
from model.data.own.loading import wished
from model.data.own.wishes import Wishes
from model.data.sources import load_dataset
from model.images.decode import decode_image

FILES = painted({"cat": 12, "dog": 12})


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    return lay(tmp_path / "data", FILES)


def load(folder: Path | str, wishes: Wishes) -> Dataset:
    return load_dataset(str(folder), allow_sample=False, wishes=wishes)


def everything(data: Dataset) -> dict[str, str]:
    """The class of each picture, by name."""
    return {
        name: split.classes[label]
        for split in (data.train, data.validation, data.test)
        for name, label in zip(split.names or (), split.labels, strict=True)
    }


def refused(folder: Path, wishes: Wishes) -> str:
    with pytest.raises(DataError) as caught:
        load(folder, wishes)
    sentence = str(caught.value)
    assert sentence.endswith(".")
    assert "\n" not in sentence
    return sentence


def test_each_row_is_the_picture_that_it_is_called(folder: Path, wishes: Wishes) -> None:
    data = load(folder, wishes)
    assert (data.kind, data.size, data.fit, data.classes) == ("images", 32, "stretch", ("cat", "dog"))
    assert everything(data) == {name: name.partition("/")[0] for name in FILES}
    for split in (data.train, data.validation, data.test):
        assert isinstance(split.images, FileRows)
        assert split.groups is None
        for name, image in zip(split.names or (), split.images, strict=True):
            assert np.array_equal(image, decode_image(FILES[name]))


def test_the_same_files_however_named_have_the_same_digest_and_splits(
    folder: Path, tmp_path: Path, wishes: Wishes
) -> None:
    renamed = {f"{name.partition('/')[0]}/x/{-row}": data for row, (name, data) in enumerate(FILES.items())}
    first, second = load(folder, wishes), load(lay(tmp_path / "other", renamed), wishes)
    assert (first.digest, first.splits) == (second.digest, second.splits)
    assert load(folder, wishes).digest == first.digest


def test_a_grown_source_keeps_its_splits_and_class_ids(folder: Path, wishes: Wishes) -> None:
    first = load(folder, wishes)
    lay(folder, painted({"ant": 12, "cat/more": 20}, seed=70_000))
    second = load(folder, dataclasses.replace(wishes, earlier=first.splits, classes=first.classes))
    assert second.classes == ("cat", "dog", "ant")
    assert len(second.train) > len(first.train)
    for before, after in (
        (first.train, second.train),
        (first.validation, second.validation),
        (first.test, second.test),
    ):
        assert set(before.names or ()) <= set(after.names or ())


def test_classes_that_the_model_knows_and_the_data_do_not_are_unlearned(folder: Path, wishes: Wishes) -> None:
    data = load(folder, dataclasses.replace(wishes, classes=("bird", "dog", "fish")))
    assert data.classes == ("bird", "dog", "fish", "cat")
    assert data.unlearned == (0, 2)
    assert set(np.unique(data.train.labels)) == {1, 3}
    assert load(folder, wishes).unlearned == ()


def test_a_class_is_renamed(folder: Path, wishes: Wishes) -> None:
    wishes = dataclasses.replace(wishes, renamed={"cat": "felis catus"}, classes=("felis catus", "dog"))
    data = load(folder, wishes)
    assert (data.classes, data.unlearned) == (("felis catus", "dog"), ())
    assert Counter(everything(data).values()) == {"felis catus": 12, "dog": 12}
    (folder / "cat").rename(folder / "felis catus")
    assert load(folder, wishes).digest == data.digest
    assert "no class 'owl' to rename" in refused(
        folder, dataclasses.replace(wishes, renamed={"owl": "strix"})
    )


def test_splits_and_groups_of_a_manifest(tmp_path: Path, wishes: Wishes) -> None:
    lay(tmp_path, FILES)
    lines = ["image,label,split,group"]
    for row, name in enumerate(FILES):
        split = ("train", "train", "val", "test")[row // 2 % 4]
        lines.append(f"{name},{name.partition('/')[0]},{split},{split}-{row // 2}")
    (tmp_path / "m.csv").write_text("\n".join(lines))
    data = load(tmp_path / "m.csv", wishes)
    assert (len(data.train), len(data.validation), len(data.test)) == (12, 6, 6)
    assert data.train.groups is not None
    assert data.train.groups.dtype == np.int64
    assert len(set(data.train.groups.tolist())) == 6
    by_name = dict(zip(data.train.names or (), data.train.groups.tolist(), strict=True))
    assert by_name["cat/0.png"] == by_name["cat/1.png"] != by_name["cat/2.png"]


def test_a_row_of_the_fixes_that_is_cut_short_fixes_nothing(tmp_path: Path) -> None:
    fixes = tmp_path / "fixes.csv"
    fixes.write_text("fix,image\ndrop\ndrop,cat/4.png\n")
    assert read_fixes(fixes) == {"cat/4.png": "drop"}


def test_fixes_that_a_spreadsheet_has_written(tmp_path: Path) -> None:
    """Where the comma is for decimals, it separates by semicolons."""
    fixes = tmp_path / "fixes.csv"
    fixes.write_text("Image;probability;Fix \ncat/4.png;0,981;drop\ncat/5.png;0,9;\n", "utf-8-sig")
    assert read_fixes(fixes) == {"cat/4.png": "drop"}


def test_a_row_without_a_fix_takes_none_away(tmp_path: Path) -> None:
    fixes = tmp_path / "fixes.csv"
    fixes.write_text("image,fix\ncat/4.png,dog\ncat/4.png,dog\ncat/4.png,\n")
    assert read_fixes(fixes) == {"cat/4.png": "dog"}


def test_fixes_are_applied_and_nothing_of_the_users_is_written(
    folder: Path, tmp_path: Path, wishes: Wishes, caplog: pytest.LogCaptureFixture
) -> None:
    fixes = tmp_path / "disputed.csv"
    fixes.write_text(
        "label,image,fix\ncat,cat/3.png,dog\ncat,cat/4.png,drop\ncat,cat/5.png,\ncat,cat/99.png,drop\n"
    )
    before = {path: path.stat().st_mtime_ns for path in folder.rglob("*")}
    data = load(folder, dataclasses.replace(wishes, fixes=fixes))
    expected = {name: name.partition("/")[0] for name in FILES} | {"cat/3.png": "dog"}
    del expected["cat/4.png"]
    assert everything(data) == expected
    for split in (data.train, data.validation, data.test):
        for name, image in zip(split.names or (), split.images, strict=True):
            assert np.array_equal(image, decode_image(FILES[name])), name
    afresh = dataclasses.replace(wishes, cache=tmp_path / "afresh", fixes=fixes)
    gathered = wished(gather(str(folder), afresh), afresh)
    for position, picture in enumerate(gathered.pictures):
        assert np.array_equal(gathered.pixels([position])[0], decode_image(FILES[picture.name]))
    assert {path: path.stat().st_mtime_ns for path in folder.rglob("*")} == before
    assert f"{fixes} fixes 1 picture that is not there: 'cat/99.png'." in caplog.text
    assert everything(load(folder, wishes)) == {name: name.partition("/")[0] for name in FILES}


def test_a_fix_of_a_picture_that_is_left_out_says_why(
    folder: Path, tmp_path: Path, wishes: Wishes, caplog: pytest.LogCaptureFixture
) -> None:
    lay(folder, {"cat/cut.png": paint(1)[:100], "cat/text.png": b"hello"})
    fixes = tmp_path / "fixes.csv"
    fixes.write_text("image,fix\ncat/cut.png,dog\ncat/text.png,drop\n")
    load(folder, dataclasses.replace(wishes, fixes=fixes))
    assert [r.getMessage() for r in caplog.records] == [
        f"{fixes} makes 'cat/cut.png' a 'dog', but it is left out: broken."
    ]


@pytest.mark.parametrize(
    ("text", "sentence"),
    [
        ("image,fix\ncat/3.png,dgo\n", "makes cat/3.png a 'dgo', which is no class of"),
        ("image,fix\ncat/3.png,dog\ncat/3.png,drop\n", "makes cat/3.png a 'dog' and a 'drop'; keep the row"),
        ("picture,fix\ncat/3.png,dog\n", "has no column 'image'; fixes are a CSV with image and fix"),
    ],
)
def test_mistakes_in_fixes(folder: Path, tmp_path: Path, wishes: Wishes, text: str, sentence: str) -> None:
    fixes = tmp_path / "fixes.csv"
    fixes.write_text(text)
    assert sentence in refused(folder, dataclasses.replace(wishes, fixes=fixes))
    assert "cannot be read (No such file" in refused(
        folder, dataclasses.replace(wishes, fixes=tmp_path / "no.csv")
    )


@pytest.mark.parametrize(
    ("files", "sentence"),
    [
        (painted({"cat": 5}), "has pictures of one class only, 'cat'; add a second"),
        ({"cat/1.txt": b"a", "dog/2.txt": b"b"}, "None of the files in "),
        (
            FILES | {"owl/1.png": b"", "ant/2.png": b"x"},
            "can be decoded of the classes 'ant', 'owl'; add some",
        ),
        (
            FILES | {"owl/1.png": paint(90)},
            "The test split has no picture of the class 'owl' ('owl' has 1 in all",
        ),
        (painted({"cat\\mouse": 5, "dog": 5}), "looks like a path; rename it."),
        (painted({"cat ": 5, "dog": 5}), "begins or ends with a space; rename it."),
    ],
)
def test_mistakes(tmp_path: Path, wishes: Wishes, files: dict[str, bytes], sentence: str) -> None:
    assert sentence in refused(lay(tmp_path / "data", files), wishes)


@pytest.mark.parametrize(
    ("source", "sentence"),
    [
        ("~nobody-here/photos", "~nobody-here/photos does not exist; name a folder"),
        (
            "https://example.org/photos.zip",
            "https://example.org/photos.zip is an address that is not fetched; ",
        ),
        (
            "photos.jpg",
            "is truncated or not an archive (file could not be opened successfully); fetch it again, "
            "or name a folder, a zip or a tar of pictures by class, or a CSV or Parquet that lists them.",
        ),
    ],
)
def test_a_source_that_is_none(
    tmp_path: Path, wishes: Wishes, monkeypatch: pytest.MonkeyPatch, source: str, sentence: str
) -> None:
    monkeypatch.chdir(lay(tmp_path, {"photos.jpg": paint(1)}))
    with pytest.raises(DataError) as caught:
        load_dataset(source, allow_sample=False, wishes=wishes)
    assert sentence in str(caught.value)


def test_a_folder_whose_name_begins_with_a_tilde(
    tmp_path: Path, wishes: Wishes, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(
        lay(tmp_path, {f"~old/{name}": data for name, data in painted({"a": 9, "b": 9}).items()})
    )
    assert load_dataset("~old", allow_sample=False, wishes=wishes).classes == ("a", "b")


def test_more_classes_than_can_be_told_apart(
    tmp_path: Path, wishes: Wishes, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("model.contract.MAX_CLASSES", 3)
    folder = lay(tmp_path / "data", {f"{number}/1.png": paint(number) for number in range(4)})
    assert "There are 4 classes; 2 to 3 can be told apart" in refused(folder, wishes)


def test_a_class_whose_pictures_another_class_has_too_says_so(folder: Path, wishes: Wishes) -> None:
    (folder / "cats").mkdir()
    for number in range(3):
        shutil.copy(folder / "cat" / f"{number}.png", folder / "cats" / f"{number}.png")
    assert (
        "The train split has no picture of the class 'cats' ('cats' has 0 (3 left out: two classes) in all, "
        "duplicates aside); add different"
    ) in refused(folder, wishes)


def test_a_source_with_none_of_the_models_classes_is_refused(folder: Path, wishes: Wishes) -> None:
    sentence = refused(folder, dataclasses.replace(wishes, classes=("bird", "fish")))
    assert "has none of the classes that the model knows ('bird', 'fish'), but 'cat', 'dog'; name" in sentence


def test_a_class_of_three_pictures_is_in_every_split(folder: Path, wishes: Wishes) -> None:
    data = load(lay(folder, painted({"owl": 3}, seed=90_000)), wishes)
    owl = data.classes.index("owl")
    assert [(split.labels == owl).sum() for split in (data.train, data.validation, data.test)] == [1, 1, 1]


@pytest.mark.parametrize("label", ["../cat", "a/b", "x" * 101, "two\u0007bells"])
def test_a_class_that_a_manifest_names_like_a_path(tmp_path: Path, wishes: Wishes, label: str) -> None:
    lay(tmp_path, FILES)
    rows = [f"{name},{label if name.startswith('cat') else 'dog'}" for name in FILES]
    (tmp_path / "m.csv").write_text("\n".join(["image,label", *rows]))
    assert "The class name '" in refused(tmp_path / "m.csv", wishes)
