"""`cnn-image data` on real files: what it prints, writes, refuses, and that the pictures stay as they are."""

import csv
import json
import os
import shutil
import tarfile
from collections.abc import Callable
from pathlib import Path

import pytest
from command_line import run, said
from own_pictures import paint, write_classes
from PIL import Image

from export.store.blobs import FolderBlobs
from export.store.manifest import Manifest
from export.store.versions import Store
from jobs.errors import Exit
from jobs.laptop.naming import of_its_data
from jobs.settings import load_settings
from model.contract import CLASSES, MODEL_NAME
from model.data.sources import load_sample

NASTY = 'cat, "tabby" & <b>[i] 犬'


@pytest.fixture(autouse=True)
def cache(home: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Nothing is decoded that another test decoded, and no model is named by one."""
    monkeypatch.setenv("XDG_CACHE_HOME", str(home / "cache"))
    monkeypatch.setenv("CNN_IMAGE_MODEL", "x")
    monkeypatch.delenv("CNN_IMAGE_MODEL")


@pytest.fixture
def photos(home: Path) -> Path:
    return write_classes(home / "photos", {NASTY: 60, "dog": 60})


@pytest.fixture
def spoiled(photos: Path) -> Path:
    """Photos with one file of each kind of trouble."""
    cat, dog = photos / NASTY, photos / "dog"
    whole = (cat / "000.jpg").read_bytes()
    (cat / "cut.jpg").write_bytes(whole[: len(whole) // 2])
    (cat / "page.jpg").write_text("<!doctype html><title>404</title>")
    (cat / "dot.png").write_bytes(paint(1, 4))
    shutil.copy(cat / "001.jpg", cat / "copy.jpg")
    shutil.copy(cat / "002.jpg", dog / "cat.jpg")
    Image.open(cat / "003.jpg").resize((80, 80), Image.Resampling.BICUBIC).save(cat / "larger.png")
    write_classes(photos, {"owl": 4})
    return photos


def everything(folder: Path) -> dict[str, tuple[int, int]]:
    """All files below with their times and lengths."""
    return {
        str(file.relative_to(folder)): (file.stat().st_mtime_ns, file.stat().st_size)
        for file in folder.rglob("*")
    }


def found(folder: Path, *arguments: str) -> dict[str, list[str]]:
    """What is found in a folder: the names under each kind."""
    result = run("data", str(folder), "--json", "--no-page", *arguments)
    assert result.exit_code == 0, result.output
    return {finding["kind"]: finding["names"] for finding in json.loads(result.stdout)["findings"]}


def test_what_another_model_has_learned_is_not_known_of_own_pictures(
    home: Path, photos: Path, build: Callable[..., Manifest]
) -> None:
    """After `make run` the default has CIFAR-10's classes; these pictures will be learned by `photos`."""
    before = run("data", str(photos), "--no-page")
    store = Store(FolderBlobs(home / "var" / "store"))
    version = store.publish(build)
    store.classes.learn(version.classes, by="ann")
    after = run("data", str(photos), "--no-page")
    assert (after.exit_code, after.stdout) == (0, before.stdout), after.output
    named = run("--model", MODEL_NAME, "data", str(photos), "--no-page").stdout.splitlines()
    assert [row.split()[0] for row in named[1:6]] == list(CLASSES)


def test_a_model_that_is_called_after_the_pictures_says_what_it_knows(
    home: Path, photos: Path, build: Callable[..., Manifest]
) -> None:
    Store(FolderBlobs(home / "var" / "store")).publish(build)
    write_classes(home / "others" / "photos", {"cat": 9, "dog": 9})
    of_its_data(load_settings(data=str(photos)))
    os.environ.pop("CNN_IMAGE_MODEL")
    Store(FolderBlobs(home / "var" / "models" / "photos" / "store")).classes.learn(["dog", "owl"], by="ann")
    rows = run("data", str(photos), "--no-page").stdout.splitlines()[1:4]
    assert [row.rsplit(maxsplit=4)[0] for row in rows] == ["dog", "owl", NASTY]
    other = run("data", str(home / "others" / "photos"), "--no-page").stdout.splitlines()[1:4]
    assert [row.split()[0:1] for row in other] == [["cat"], ["dog"], []]


def test_own_pictures_get_a_table_and_a_page_and_are_left_alone(home: Path, photos: Path) -> None:
    before = everything(photos)
    result = run("data", str(photos))
    assert result.exit_code == 0, result.output
    lines = result.stdout.splitlines()
    assert lines[0].split() == ["class", "train", "validation", "test", "left", "out"]
    rows = {name.strip(): numbers for name, *numbers in (line.rsplit(maxsplit=4) for line in lines[1:3])}
    assert rows.keys() == {NASTY, "dog"}
    assert [sum(map(int, row[:3])) for row in rows.values()] == [60, 60]
    facts = dict(line.split(maxsplit=1) for line in lines[4:] if line)
    assert facts["width"] == "40 to 40, median 40"
    assert facts["formats"] == "JPEG 120"
    assert len(facts["digest"]) == 64
    page = (home / "var" / "data.html").read_text()
    assert facts["digest"] in page
    assert "var/data.html" in result.stderr
    assert everything(photos) == before


def test_data_is_named_by_flag_or_variable_too(photos: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    by_argument = run("data", str(photos), "--no-page").stdout
    assert run("data", "--data", str(photos), "--no-page").stdout == by_argument
    monkeypatch.setenv("CIFAR10_DIR", str(photos))
    assert run("data", "--no-page").stdout == by_argument
    assert "named twice" in said(run("data", str(photos), "--data", "sample"), Exit.MISTAKE)


def test_cifar_10_prints_its_digest_and_nothing_else(home: Path) -> None:
    result = run("data", "--data", "sample", "--outputs", str(home / "out"))
    sample = load_sample()
    assert result.stdout == f"{sample.digest}\n"
    assert {file.name: file.read_text() for file in (home / "out").iterdir()} == {
        "digest": sample.digest,
        "images": str(len(sample.train)),
        "made": "",
    }
    assert not (home / "var" / "data.html").exists()
    assert "for own pictures" in said(run("data", "sample", "--list", "files.csv"), Exit.MISTAKE)


def test_a_step_of_argo_gets_the_same_of_own_pictures(home: Path, photos: Path) -> None:
    result = run("data", "--data", str(photos), "--outputs", str(home / "out"))
    written = {file.name: file.read_text() for file in (home / "out").iterdir()}
    assert written["digest"] in result.stdout
    assert 0 < int(written["images"]) < 120
    assert written["made"] == ""


def test_all_that_is_wrong_is_named(spoiled: Path) -> None:
    names = found(spoiled)
    assert names["broken"] == [f"{NASTY}/cut.jpg", f"{NASTY}/page.jpg"]
    assert names["too-small"] == [f"{NASTY}/dot.png"]
    assert names["duplicates"] == [f"{NASTY}/copy.jpg"]
    assert set(names["conflicts"]) == {f"{NASTY}/002.jpg", "dog/cat.jpg"}
    assert set(names["near-duplicates"]) <= {f"{NASTY}/003.jpg", f"{NASTY}/larger.png"}
    assert names["near-duplicates"]
    assert names["imbalance"] == ["dog", "owl"]
    assert "owl" in names["small-classes"]


def test_a_pipeline_can_fail_on_what_it_chooses(home: Path, spoiled: Path) -> None:
    result = run("data", str(spoiled), "--fail-on", "conflicts,imbalance")
    assert result.exit_code == Exit.REFUSED
    last = result.stderr.strip().splitlines()[-1]
    assert "conflicts" in last
    assert "imbalance" in last
    assert "broken" not in last
    assert (home / "var" / "data.html").is_file()
    assert run("data", str(spoiled), "--fail-on", "any", "--no-page").exit_code == Exit.REFUSED
    assert run("data", str(spoiled), "--fail-on", "leaks,few-groups", "--no-page").exit_code == Exit.OK
    assert "'conflict'" in said(run("data", str(spoiled), "--fail-on", "conflict"), Exit.MISTAKE)


def test_clean_pictures_fail_on_nothing(photos: Path) -> None:
    assert run("data", str(photos), "--fail-on", "any", "--no-page").exit_code == Exit.OK


def test_a_list_has_a_row_for_each_file(home: Path, spoiled: Path) -> None:
    assert run("data", str(spoiled), "--no-page", "--list", "lists/files.csv").exit_code == 0
    with (home / "lists" / "files.csv").open(newline="", encoding="utf-8") as file:
        rows = {row["image"]: row for row in csv.DictReader(file)}
    assert rows.keys() == {str(file.relative_to(spoiled)) for file in spoiled.rglob("*.*")}
    assert rows["dog/000.jpg"]["split"] in {"train", "validation", "test"}
    assert rows["dog/000.jpg"]["label"] == "dog"
    assert rows[f"{NASTY}/cut.jpg"]["left_out"] == "broken"
    assert rows[f"{NASTY}/cut.jpg"]["split"] == ""


def test_fixes_show_the_data_as_it_would_be(home: Path, spoiled: Path) -> None:
    with (home / "fixes.csv").open("w", newline="", encoding="utf-8") as file:
        rows = csv.writer(file)
        rows.writerow(("image", "probability", "fix"))
        rows.writerow(("dog/cat.jpg", 0.1, "drop"))
        rows.writerow((f"{NASTY}/004.jpg", 0.2, "dog"))
        rows.writerow((f"{NASTY}/005.jpg", 0.3, ""))
    before = everything(spoiled)
    fixed = json.loads(run("data", str(spoiled), "--json", "--no-page", "--fix", "fixes.csv").stdout)
    counts = {count["name"]: count for count in fixed["classes"]}
    assert "conflicts" not in {finding["kind"] for finding in fixed["findings"]}
    assert sum(counts["dog"][split] for split in ("train", "validation", "test")) == 61
    assert fixed["left_out"]["fixed"] == 1
    assert everything(spoiled) == before


def test_nothing_is_written_where_the_pictures_lie(photos: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    before = everything(photos)
    for flag in ("--page", "--list"):
        sentence = said(run("data", str(photos), flag, str(photos / "x" / "data.html")), Exit.MISTAKE)
        assert "into the data" in sentence
    monkeypatch.chdir(photos)
    assert "var/pictures, inside the data" in said(run("data", ".", "--no-page"), Exit.MISTAKE)
    monkeypatch.setenv("CNN_IMAGE_STATE", str(photos.parent / "var"))
    assert run("data", ".").exit_code == 0
    assert (photos.parent / "var" / "data.html").is_file()
    assert everything(photos) == before
    archive = photos.parent / "photos.tar"
    with tarfile.open(archive, "w") as tar:
        tar.add(photos, "photos")
    assert "into the data" in said(run("data", str(archive), "--page", str(archive)), Exit.MISTAKE)


@pytest.mark.parametrize("flag", ["--page", "--list"])
def test_what_cannot_be_written_is_a_mistake(home: Path, photos: Path, flag: str) -> None:
    (home / "file").touch()
    sentence = run("data", str(photos), flag, "file/new/data").stderr.strip().splitlines()[-1]
    assert sentence == "file/new/data cannot be written (Not a directory); name another place."


def test_a_thousand_classes_are_a_table_of_forty(home: Path) -> None:
    folder = write_classes(home / "many", {f"class {number:04}": 3 for number in range(60)})
    result = run("data", str(folder), "--no-page")
    assert result.exit_code == 0, result.output
    assert "… 20 classes between" in result.stdout
    assert (
        sum(line.startswith("class ") and line[6:10].isdigit() for line in result.stdout.splitlines()) == 40
    )


def one_class(home: Path) -> str:
    return str(write_classes(home / "p", {"cat": 5}))


def an_empty_class(home: Path) -> str:
    folder = write_classes(home / "p", {"cat": 60, "dog": 60})
    (folder / "owl").mkdir()
    return str(folder)


def all_broken(home: Path) -> str:
    folder = write_classes(home / "p", {"cat": 3, "dog": 3})
    for file in folder.rglob("*.jpg"):
        file.write_bytes(file.read_bytes()[:200])
    return str(folder)


def a_missing_folder(home: Path) -> str:
    return str(home / "nowhere")


def an_empty_folder(home: Path) -> str:
    (home / "p").mkdir()
    return str(home / "p")


def no_archive(home: Path) -> str:
    (home / "photos.zip").write_bytes(b"PK\3\4 but no more than that")
    return str(home / "photos.zip")


def table(home: Path, *rows: tuple[str, ...]) -> str:
    write_classes(home / "p", {"cat": 3, "dog": 3})
    with (home / "p" / "labels.csv").open("w", newline="") as file:
        csv.writer(file).writerows(rows)
    return str(home / "p" / "labels.csv")


def no_label_column(home: Path) -> str:
    return table(home, ("image", "class"), ("cat/000.jpg", "cat"))


def a_label_without_a_file(home: Path) -> str:
    return table(home, ("image", "label"), ("cat/000.jpg", "cat"), ("dog/999.jpg", "dog"))


def a_class_like_a_path(home: Path) -> str:
    rows = (("cat/000.jpg", "pets/cat"), ("dog/000.jpg", "pets/dog"))
    return table(home, ("image", "label"), *rows)


@pytest.mark.parametrize(
    ("make", "names"),
    [
        (one_class, ("cat",)),
        (an_empty_class, ("owl",)),
        (all_broken, ("p",)),
        (a_missing_folder, ("nowhere",)),
        (an_empty_folder, ("p",)),
        (no_archive, ("photos.zip",)),
        (no_label_column, ("labels.csv", "label")),
        (a_label_without_a_file, ("dog/999.jpg",)),
        (a_class_like_a_path, ("pets/cat",)),
    ],
)
def test_a_mistake_is_one_sentence_with_the_names(
    home: Path, make: Callable[[Path], str], names: tuple[str, ...]
) -> None:
    result = run("data", make(home))
    last = result.stderr.strip().splitlines()[-1]
    assert result.exit_code == Exit.MISTAKE, result.output
    assert "Traceback" not in result.output
    assert last.endswith(".")
    assert [name for name in names if name not in last] == []


def test_the_page_shows_pictures_that_nothing_can_be_learned_from(home: Path) -> None:
    result = run("data", an_empty_class(home), "--json")
    facts = json.loads(result.stdout)
    assert facts["digest"] is None
    assert "'owl'" in facts["mistakes"][0]
    assert facts["mistakes"][0] in result.stderr
    page = (home / "var" / "data.html").read_text()
    assert "To be mended before anything can be learned" in page
    assert page.count("<img") == 48
