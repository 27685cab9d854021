import os
from pathlib import Path

import pytest
from own_pictures import lay, paint, painted

from model.data.errors import DataError
from model.data.own.gather import Gathered, gather
from model.data.own.wishes import Wishes


def names(gathered: Gathered) -> set[str]:
    return {picture.name for picture in gathered.pictures}


def reasons(gathered: Gathered) -> dict[str, str]:
    return {left.name: left.reason for left in gathered.left_out}


def test_all_that_a_folder_holds_is_a_picture_or_is_listed(tmp_path: Path, wishes: Wishes) -> None:
    good = paint(3)
    folder = lay(
        tmp_path / "data",
        {
            "cat/1.png": paint(1),
            "cat/deep/er/2.JPG": paint(2, form="JPEG"),
            "golden retriever, young/3": good,
            "кошка/4.webp": paint(4, form="WEBP"),
            "cat/.DS_Store": b"x",
            "cat/._1.png": b"x",
            "__MACOSX/cat/1.png": b"x",
            "Thumbs.db": b"x",
            "README.md": b"Read me.",
            "cat/notes.txt": b"They are mine.",
            "cat/cut.png": good[: len(good) // 2],
            "cat/empty.jpg": b"",
            "cat/dot.gif": paint(5, side=1, form="GIF"),
        },
    )
    gathered = gather(str(folder), wishes)
    assert names(gathered) == {
        "cat/1.png",
        "cat/deep/er/2.JPG",
        "golden retriever, young/3",
        "кошка/4.webp",
    }
    assert reasons(gathered) == {
        "README.md": "no class",
        "cat/notes.txt": "not a picture",
        "cat/cut.png": "broken",
        "cat/empty.jpg": "not a picture",
        "cat/dot.gif": "too small",
    }
    assert {left.name: left.detail for left in gathered.left_out}["cat/cut.png"] == (
        "The PNG image is broken or cut short."
    )
    assert gathered.classes == ("cat", "golden retriever, young", "кошка")


def test_what_is_known_of_a_picture(tmp_path: Path, wishes: Wishes) -> None:
    data = paint(1, side=50, form="JPEG")
    folder = lay(tmp_path / "data", {"cat/1.jpg": data, **painted({"dog": 2})})
    (picture,) = (picture for picture in gather(str(folder), wishes).pictures if picture.label == "cat")
    assert (picture.name, picture.given, picture.group) == ("cat/1.jpg", None, None)
    assert (picture.width, picture.height, picture.format, picture.length) == (50, 50, "jpeg", len(data))


def test_links_are_followed_but_not_in_circles(tmp_path: Path, wishes: Wishes) -> None:
    lay(tmp_path / "elsewhere", {"1.png": paint(1)})
    folder = lay(tmp_path / "data", painted({"cat": 1, "dog": 1}))
    (folder / "owl").symlink_to(tmp_path / "elsewhere")
    (folder / "cat" / "all").symlink_to(folder)
    (folder / "neighbours").symlink_to(tmp_path)
    (folder / "cat" / "gone.png").symlink_to(tmp_path / "nowhere")
    os.mkfifo(folder / "cat" / "pipe.png")
    gathered = gather(str(folder), wishes)
    assert names(gathered) == {"cat/0.png", "dog/0.png", "owl/1.png"}
    assert reasons(gathered) == {
        "neighbours": "broken",
        "cat/all": "broken",
        "cat/gone.png": "broken",
        "cat/pipe.png": "not a picture",
    }


def test_a_name_that_is_no_text(tmp_path: Path, wishes: Wishes) -> None:
    folder = lay(tmp_path / "data", painted({"cat": 1, "dog": 1}))
    Path(os.fsdecode(os.fsencode(folder) + b"/cat/caf\xe9.png")).write_bytes(paint(9))
    assert "cat/caf\\xe9.png" in names(gather(str(folder), wishes))


def test_a_file_longer_than_any_picture_is_not_read(
    tmp_path: Path, wishes: Wishes, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder = lay(tmp_path / "data", painted({"cat": 1, "dog": 1}))
    with (folder / "cat" / "film.mp4").open("wb") as film:
        film.truncate(10**12)
    assert reasons(gather(str(folder), wishes)) == {"cat/film.mp4": "too large"}


@pytest.mark.parametrize(
    ("files", "sentence"),
    [
        ({}, "holds no pictures in folders by class; name a place"),
        ({"1.png": paint(1)}, "holds no pictures in folders by class; name a place"),
        ({"data_batch_1": b""}, "holds CIFAR-10's own files"),
    ],
)
def test_a_folder_that_holds_no_class(
    tmp_path: Path, wishes: Wishes, files: dict[str, bytes], sentence: str
) -> None:
    (tmp_path / "data").mkdir()
    with pytest.raises(DataError, match=sentence):
        gather(str(lay(tmp_path / "data", files)), wishes)
