import io
import os
import tarfile
import zipfile
from collections.abc import Iterable
from pathlib import Path

import pytest
from own_pictures import lay, paint, painted

from model.data.errors import DataError
from model.data.own.gather import gather
from model.data.own.loading import dataset_of
from model.data.own.wishes import Wishes
from model.data.sources import load_dataset

FILES = painted({"cat": 6, "dog": 6})


def zipped(path: Path, files: Iterable[tuple[str, bytes]]) -> Path:
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive:
        for name, data in files:
            archive.writestr(name, data)
    return path


def tarred(path: Path, files: Iterable[tuple[str, bytes]], mode: str = "w") -> Path:
    with tarfile.open(path, mode) as archive:
        for name, data in files:
            member = tarfile.TarInfo(name)
            member.size = len(data)
            archive.addfile(member, io.BytesIO(data))
    return path


@pytest.mark.parametrize("ending", ["zip", "tar", "tar.gz", "tar.bz2", "tar.xz"])
def test_an_archive_is_its_folder(tmp_path: Path, wishes: Wishes, ending: str) -> None:
    there = dataset_of(gather(str(lay(tmp_path / "data", FILES)), wishes), wishes)
    path = tmp_path / f"data.{ending}"
    packed = [(f"./data/{name}", data) for name, data in reversed(FILES.items())]
    if ending == "zip":
        zipped(path, packed)
    else:
        tarred(path, packed, f"w:{ending.partition('.')[2]}")
    here = load_dataset(str(path), allow_sample=False, wishes=wishes)
    assert (here.kind, here.digest, here.splits) == ("images", there.digest, there.splits)


@pytest.mark.parametrize("pack", [zipped, tarred])
@pytest.mark.filterwarnings("ignore:Duplicate name")
def test_of_two_files_of_one_name_the_last_is_taken_and_that_is_said(
    tmp_path: Path, wishes: Wishes, pack: object
) -> None:
    assert callable(pack)
    twice = [("./cat/0.png", paint(77)), *FILES.items(), ("dog//1.png", paint(78, side=44))]
    gathered = gather(str(pack(tmp_path / "data.zip", twice)), wishes)
    sides = {picture.name: picture.width for picture in gathered.pictures}
    assert len(sides) == 12
    assert sides["dog/1.png"] == 44
    (note,) = gathered.notes
    assert "the last is taken: cat/0.png, dog/1.png." in note


def test_what_leads_out_of_an_archive_or_is_a_link(tmp_path: Path, wishes: Wishes) -> None:
    path = tarred(tmp_path / "data.tar", [*FILES.items(), ("../cat/9.png", paint(9))])
    with tarfile.open(path, "a") as archive:
        link = tarfile.TarInfo("cat/link.png")
        link.type, link.linkname = tarfile.SYMTYPE, "/etc/hostname"
        archive.addfile(link)
    gathered = gather(str(path), wishes)
    assert len(gathered.pictures) == 12
    assert {left.name: left.reason for left in gathered.left_out} == {
        "../cat/9.png": "not a picture",
        "cat/link.png": "not a picture",
    }


def test_names_as_macos_and_old_windows_programs_write_them(tmp_path: Path, wishes: Wishes) -> None:
    path = tmp_path / "data.zip"
    with zipfile.ZipFile(path, "w") as archive:
        for name, data in FILES.items():
            archive.writestr(name, data)
        utf8 = zipfile.ZipInfo("cafe/1.png")
        archive.writestr(utf8, paint(91))
        windows = zipfile.ZipInfo("owl+1.png")
        windows.create_system = 0
        archive.writestr(windows, paint(92))
    # Python's writer says that it writes UTF-8, and turns nothing into backslashes.
    raw = path.read_bytes()
    path.write_bytes(raw.replace(b"cafe/1.png", b"caf\xc3\xa9/1.pn").replace(b"owl+", b"owl\\"))
    assert gather(str(path), wishes).classes == ("caf\u00e9", "cat", "dog", "owl")


def test_an_empty_class_of_an_archive_is_seen(tmp_path: Path, wishes: Wishes) -> None:
    folder = lay(tmp_path / "data", FILES)
    (folder / "owl").mkdir()
    with tarfile.open(tmp_path / "data.tar", "w") as archive:
        archive.add(folder, "data")
    with pytest.raises(DataError, match="no picture that can be decoded of the class 'owl'"):
        load_dataset(str(tmp_path / "data.tar"), allow_sample=False, wishes=wishes)


def test_an_archive_that_is_cut_short(tmp_path: Path, wishes: Wishes) -> None:
    for path in (
        tarred(tmp_path / "a.tar.gz", FILES.items(), "w:gz"),
        zipped(tmp_path / "a.zip", FILES.items()),
    ):
        path.write_bytes(path.read_bytes()[: path.stat().st_size // 2])
        with pytest.raises(DataError, match=rf"{path.name} is truncated or not an archive"):
            load_dataset(str(path), allow_sample=False, wishes=wishes)


def test_one_member_that_is_damaged_is_left_out(tmp_path: Path, wishes: Wishes) -> None:
    path = tmp_path / "data.zip"
    with zipfile.ZipFile(path, "w") as archive:
        for name, data in FILES.items():
            archive.writestr(name, data)
    raw = bytearray(path.read_bytes())
    raw[raw.index(FILES["cat/3.png"]) + 60] ^= 1
    path.write_bytes(raw)
    gathered = gather(str(path), wishes)
    assert [(left.name, left.reason) for left in gathered.left_out] == [("cat/3.png", "broken")]


def test_an_unchanged_archive_is_not_opened_again(tmp_path: Path, wishes: Wishes) -> None:
    path = zipped(tmp_path / "data.zip", FILES.items())
    first = gather(str(path), wishes)
    status = path.stat()
    path.write_bytes(b"?" * status.st_size)
    os.utime(path, ns=(status.st_atime_ns, status.st_mtime_ns))
    assert gather(str(path), wishes).pictures == first.pictures
