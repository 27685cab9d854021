import pytest

from model.data.own.places.layout import Layout, Spot, is_hidden, parts_of


def layout(*paths: str, folders: tuple[str, ...] = ()) -> Layout:
    return Layout.of([parts_of(path) for path in paths], [parts_of(path) for path in folders])


@pytest.mark.parametrize(
    ("paths", "path", "spot"),
    [
        (("cat/1.jpg", "dog/a/b/2.jpg"), "dog/a/b/2.jpg", Spot("dog")),
        (("cat/1.jpg", "dog/2.jpg", "README"), "README", Spot(None)),
        (("train/cat/1.jpg", "test/cat/2.jpg"), "test/cat/2.jpg", Spot("cat", "test")),
        (("Train/cat/1.jpg", "VAL/cat/2.jpg"), "VAL/cat/2.jpg", Spot("cat", "validation")),
        (("train/cat/1.jpg", "val/cat/2.jpg", "docs/a/x.md"), "docs/a/x.md", Spot(None)),
        (("train/cat/1.jpg", "train/3.jpg", "test/cat/2.jpg"), "train/3.jpg", Spot(None, "train")),
        # One folder around all, as archives have it, and what lies beside it.
        (("Data/cat/1.jpg", "Data/dog/2.jpg", "LICENSE"), "Data/dog/2.jpg", Spot("dog")),
        (("a/b/train/cat/1.jpg", "a/b/test/cat/2.jpg"), "a/b/test/cat/2.jpg", Spot("cat", "test")),
        (("Data/cat/1.jpg", "Data/dog/2.jpg", "LICENSE"), "LICENSE", Spot(None)),
        # One class in folders is one class.
        (("cat/1.jpg", "cat/in/2.jpg", "cat/out/3.jpg"), "cat/in/2.jpg", Spot("cat")),
        # A train is a vehicle where it stands beside others.
        (("train/1.jpg", "bus/2.jpg"), "train/1.jpg", Spot("train")),
        # Where only one split has classes nothing is said about splits.
        (("train/cat/1.jpg", "train/dog/2.jpg"), "train/dog/2.jpg", Spot("dog")),
        (("train/cat/1.jpg", "train/dog/2.jpg", "test/7.jpg"), "train/cat/1.jpg", Spot("cat")),
        (("train/cat/1.jpg", "train/dog/2.jpg", "test/7.jpg"), "test/7.jpg", Spot(None)),
        # The same letter, spelt in two ways.
        (("cafe\u0301/1.jpg", "tea/2.jpg"), "cafe\u0301/1.jpg", Spot("caf\u00e9")),
    ],
)
def test_class_and_split_of_a_file(paths: tuple[str, ...], path: str, spot: Spot) -> None:
    assert layout(*paths).spot(parts_of(path)) == spot


def test_classes_without_a_file_are_classes() -> None:
    assert layout("cat/1.jpg", "dog/1.jpg", folders=("owl",)).classes == ("cat", "dog", "owl")
    assert layout("d/cat/1.jpg", folders=("d", "d/cat", "d/owl")).classes == ("cat", "owl")
    assert layout("1.jpg", "2.jpg").classes == ()


def test_paths_of_archives() -> None:
    assert parts_of("./b//1.jpg") == parts_of("b/1.jpg") == parts_of("/b/1.jpg") == ("b", "1.jpg")
    with pytest.raises(ValueError, match="leads out"):
        parts_of("b/../../1.jpg")


@pytest.mark.parametrize("name", [".DS_Store", "._1.jpg", "Thumbs.db", "__MACOSX", ".git", "desktop.ini"])
def test_what_systems_hide(name: str) -> None:
    assert is_hidden(name)
