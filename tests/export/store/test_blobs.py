"""What every place for objects promises, and what a folder does beside it."""

import os
import stat
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from export.errors import AbsentError, ChangedError, ExistsError, StoreError
from export.store.blobs import Blobs, FolderBlobs


def test_an_object_is_written_once(blobs: Blobs) -> None:
    blobs.put_if_absent("a/b.json", b"first")
    with pytest.raises(ExistsError, match=r"a/b\.json is already in .*never overwritten"):
        blobs.put_if_absent("a/b.json", b"second")
    assert blobs.get("a/b.json") == b"first"


def test_of_many_writers_of_a_key_one_wins(blobs: Blobs) -> None:
    def write(writer: int) -> int | None:
        try:
            blobs.put_if_absent("key", str(writer).encode() * 10_000)
        except ExistsError:
            return None
        return writer

    with ThreadPoolExecutor(16) as pool:
        won = [writer for writer in pool.map(write, range(16)) if writer is not None]
    assert len(won) == 1
    assert blobs.get("key") == str(won[0]).encode() * 10_000


def test_listing_is_by_prefix_and_sorted_and_shows_no_scratch_files(blobs: Blobs, tmp_path: Path) -> None:
    for key in ("v/2/x", "v/1/y", "v/1/a/z", "w/1", "v1"):
        blobs.put_if_absent(key, b"")
    assert blobs.list("v/") == ["v/1/a/z", "v/1/y", "v/2/x"]
    assert blobs.list("v/1/") == ["v/1/a/z", "v/1/y"]
    assert blobs.list("v") == ["v/1/a/z", "v/1/y", "v/2/x", "v1"]
    assert blobs.list("") == ["v/1/a/z", "v/1/y", "v/2/x", "v1", "w/1"]
    assert blobs.list("nothing/") == []


def test_what_a_killed_writer_left_is_not_listed(tmp_path: Path) -> None:
    blobs = FolderBlobs(tmp_path)
    blobs.put_if_absent("key", b"")
    (tmp_path / ".scratch" / "cut-short").write_bytes(b"half")
    assert blobs.list("") == ["key"]


def test_a_deleted_object_is_gone_and_its_key_free(blobs: Blobs) -> None:
    blobs.put_if_absent("a/b", b"1")
    blobs.delete("a/b")
    blobs.delete("a/b")
    with pytest.raises(AbsentError, match="There is no a/b"):
        blobs.get("a/b")
    blobs.put_if_absent("a/b", b"2")
    assert blobs.get("a/b") == b"2"


def test_only_the_object_that_was_read_is_replaced(blobs: Blobs) -> None:
    blobs.put_if_absent("lease", b"mine")
    read = blobs.read("lease")
    assert read.data == b"mine"
    assert 0 <= read.age < 60
    tag = blobs.replace("lease", b"renewed", read.tag)
    with pytest.raises(ChangedError):
        blobs.replace("lease", b"theirs", read.tag)
    blobs.replace("lease", b"renewed again", tag)
    assert blobs.get("lease") == b"renewed again"
    assert blobs.put_if_absent("other", b"x") == blobs.read("other").tag
    with pytest.raises(ChangedError):
        blobs.replace("absent", b"", read.tag)


def test_age_counts_from_the_last_write(tmp_path: Path) -> None:
    blobs = FolderBlobs(tmp_path)
    blobs.put_if_absent("lease", b"")
    path = tmp_path / "lease"
    os.utime(path, (path.stat().st_mtime - 100,) * 2)
    assert 100 <= blobs.read("lease").age < 160


@pytest.mark.parametrize(
    "key", ["", "/etc/passwd", "../x", "a/../b", "a//b", "a/", ".hidden", "a/.b", "a\\b", "a\nb"]
)
def test_no_key_leaves_its_place(blobs: Blobs, key: str) -> None:
    for act in (blobs.get, blobs.delete, lambda key: blobs.put_if_absent(key, b"")):
        with pytest.raises(StoreError, match="is no name for an object"):
            act(key)


def test_files_can_be_read_by_whom_the_umask_allows(tmp_path: Path) -> None:
    mask = os.umask(0o027)
    try:
        FolderBlobs(tmp_path).put_if_absent("key", b"")
    finally:
        os.umask(mask)
    assert stat.S_IMODE((tmp_path / "key").stat().st_mode) == 0o640


def test_a_place_that_cannot_be_written_is_said_in_a_sentence(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    blobs = FolderBlobs(tmp_path / "file")
    with pytest.raises(StoreError, match=r"The store .*file failed at 'key' \(Not a directory\); check"):
        blobs.put_if_absent("key", b"")


def test_an_object_is_on_the_disk_before_it_has_its_name(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    done: list[str] = []
    link = os.link
    monkeypatch.setattr(os, "fsync", lambda descriptor: done.append("flush"))
    monkeypatch.setattr(os, "link", lambda source, target: done.append("name") or link(source, target))
    FolderBlobs(tmp_path).put_if_absent("key", b"data")
    assert done == ["flush", "name", "flush"]
