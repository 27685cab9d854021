"""Which model one's own images are, and when another folder of the same name is another model."""

import json
import os
import shutil
from pathlib import Path
from typing import Any

import pytest

from export.store.blobs import FolderBlobs
from export.store.lineage import DataLineage
from export.store.versions import Store
from jobs.errors import MistakeError
from jobs.laptop import naming
from jobs.laptop.naming import named_after, of_its_data
from jobs.settings import load_settings


@pytest.fixture(autouse=True)
def _unnamed(home: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("CNN_IMAGE_MODEL", "x")  # so that what is set here goes with the test
    monkeypatch.delenv("CNN_IMAGE_MODEL")


def pictures(*folders: str) -> None:
    """Folders that look like pictures by class; none is decoded to find a name."""
    for folder in folders:
        for name in ("cat", "dog"):
            Path(folder, name).mkdir(parents=True)
            Path(folder, name, "1.jpg").write_bytes(b"x")


def model_of(data: str) -> str:
    """The model that `run --data` is about, in a process of its own."""
    os.environ.pop("CNN_IMAGE_MODEL", None)
    return of_its_data(load_settings(data=data)).model


@pytest.mark.parametrize(
    ("source", "name"),
    [
        ("~/My Photos", "my-photos"),
        ("/data/Müller & Söhne/", "muller-sohne"),
        ("photos.v2", "photos-v2"),
        ("../birds.tar.gz", "birds"),
        ("birds/labels.csv", "birds"),
        ("birds/Labels.CSV", "birds"),
        ("s3://bucket/some/birds.zip", "birds"),
        ("s3://bucket/", "bucket"),
        ("/data/2026", "images-2026"),
        ("/data/犬", "images"),
        ("/data/cnn-image", "images"),  # CIFAR-10's five classes are called so
        ("/data/" + 60 * "x", 40 * "x"),
    ],
)
def test_a_model_of_ones_own_is_called_after_its_images(source: str, name: str) -> None:
    assert named_after(source) == name


def test_another_folder_of_one_name_is_said_with_both_ways_on(home: Path) -> None:
    pictures("a/photos", "b/my photos", "b/photos")
    assert model_of("a/photos") == "photos"
    with pytest.raises(MistakeError) as refused:
        model_of("b/photos")
    assert str(refused.value) == (
        f"The model photos is made of {home}/a/photos, and {home}/b/photos has the same name: give its model "
        f"another one with `cnn-image --model NAME run --data {home}/b/photos`, or go on with photos with "
        f"`cnn-image --model photos run --data {home}/b/photos`."
    )
    assert "CNN_IMAGE_MODEL" not in os.environ
    assert json.loads(Path("var/models/photos/data.json").read_text()) == [f"{home}/a/photos"]


def test_the_same_data_by_any_path_is_the_same_model(home: Path) -> None:
    pictures("a/photos")
    Path("a/photos/one.csv").write_text("image,label\n")
    Path("a/photos/two.csv").write_text("image,label\n")
    Path("a/photos.zip").write_bytes(b"x")
    Path("link").mkdir()
    Path("link/photos").symlink_to(home / "a/photos")
    assert model_of("a/photos") == "photos"
    for way in (
        "a/photos/",
        "a/../a/photos",
        str(home / "a/photos"),
        "link/photos",
        "a/photos/one.csv",
        "a/photos/two.csv",
        "a/photos.zip",
    ):
        assert model_of(way) == "photos", way


def test_data_that_was_moved_takes_its_model_along(home: Path, capsys: pytest.CaptureFixture[str]) -> None:
    pictures("a/photos")
    assert model_of("a/photos") == "photos"
    Path("c").mkdir()
    shutil.move("a/photos", "c/photos")
    capsys.readouterr()
    assert model_of("c/photos") == "photos"
    assert f"was made of {home}/a/photos, which is gone: {home}/c/photos is taken" in capsys.readouterr().err
    assert model_of("c/photos") == "photos"
    assert "gone" not in capsys.readouterr().err  # it is said once
    pictures("a/photos")  # others, in the place of the first
    with pytest.raises(MistakeError, match=f"is made of {home}/c/photos"):
        model_of("a/photos")


def test_what_a_training_by_the_models_name_learned_from_is_known(
    home: Path, monkeypatch: pytest.MonkeyPatch, build: Any
) -> None:
    """As of a model that an earlier release made, which kept no list."""
    pictures("a/photos", "b/photos", "c/photos")
    store = Store(FolderBlobs(home / "var/models/photos/store"))
    data = DataLineage(digest="d" * 64, source="b/photos", kind="images")
    store.publish(lambda number, folder: build(number, folder, data=data))
    monkeypatch.setattr(naming.Settings, "open_store", lambda _: store)
    assert model_of("b/photos") == "photos"
    for other in ("a/photos", "c/photos"):
        with pytest.raises(MistakeError, match=f"is made of {home}/b/photos"):
            model_of(other)


def test_a_name_that_was_given_is_taken_as_it_is(home: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    pictures("a/photos", "b/photos")
    assert model_of("a/photos") == "photos"
    for name in ("photos", "others"):
        monkeypatch.setenv("CNN_IMAGE_MODEL", name)
        assert of_its_data(load_settings(data="b/photos")).model == name


def test_a_bucket_is_taken_to_be_there(home: Path) -> None:
    pictures("photos")
    Path("var/models/photos").mkdir(parents=True)
    Path("var/models/photos/data.json").write_text('["s3://datasets/photos"]')
    assert model_of("s3://datasets/photos.tar.gz") == "photos"
    with pytest.raises(MistakeError, match="is made of s3://datasets/photos"):
        model_of("photos")
