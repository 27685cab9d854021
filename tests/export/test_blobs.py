"""A folder as a place for objects."""

import os
import stat
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from export.blobs import FolderBlobs
from export.errors import AbsentError, ChangedError, ExistsError, StoreError


@pytest.fixture
def blobs(tmp_path: Path) -> FolderBlobs:
    return FolderBlobs(tmp_path / "place")


def test_an_object_is_written_once(blobs: FolderBlobs) -> None:
    blobs.put_if_absent("a/b.json", b"first")
    with pytest.raises(ExistsError, match=r"a/b\.json is already in .*never overwritten"):
        blobs.put_if_absent("a/b.json", b"second")
    assert blobs.get("a/b.json") == b"first"


def test_of_many_writers_of_a_key_one_wins(blobs: FolderBlobs) -> None:
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


def test_listing_is_by_prefix_and_sorted_and_shows_no_scratch_files(
    blobs: FolderBlobs, tmp_path: Path
) -> None:
    for key in ("v/2/x", "v/1/y", "v/1/a/z", "w/1", "v1"):
        blobs.put_if_absent(key, b"")
    (tmp_path / "place" / ".scratch" / "cut-short").write_bytes(b"half")
    assert blobs.list("v/") == ["v/1/a/z", "v/1/y", "v/2/x"]
    assert blobs.list("v/1/") == ["v/1/a/z", "v/1/y"]
    assert blobs.list("v") == ["v/1/a/z", "v/1/y", "v/2/x", "v1"]
    assert blobs.list("") == ["v/1/a/z", "v/1/y", "v/2/x", "v1", "w/1"]
    assert blobs.list("nothing/") == []


def test_a_deleted_object_is_gone_and_its_key_free(blobs: FolderBlobs) -> None:
    blobs.put_if_absent("a/b", b"1")
    blobs.delete("a/b")
    blobs.delete("a/b")
    with pytest.raises(AbsentError, match="There is no a/b"):
        blobs.get("a/b")
    blobs.put_if_absent("a/b", b"2")
    assert blobs.get("a/b") == b"2"


def test_only_the_object_that_was_read_is_replaced(blobs: FolderBlobs) -> None:
    blobs.put_if_absent("lease", b"mine")
    read = blobs.read("lease")
    assert read.data == b"mine"
    assert 0 <= read.age < 60
    tag = blobs.replace("lease", b"renewed", read.tag)
    with pytest.raises(ChangedError):
        blobs.replace("lease", b"theirs", read.tag)
    blobs.replace("lease", b"renewed again", tag)
    assert blobs.get("lease") == b"renewed again"
    with pytest.raises(ChangedError):
        blobs.replace("absent", b"", read.tag)


def test_age_counts_from_the_last_write(blobs: FolderBlobs, tmp_path: Path) -> None:
    blobs.put_if_absent("lease", b"")
    path = tmp_path / "place" / "lease"
    os.utime(path, (path.stat().st_mtime - 100,) * 2)
    assert 100 <= blobs.read("lease").age < 160


@pytest.mark.parametrize(
    "key", ["", "/etc/passwd", "../x", "a/../b", "a//b", "a/", ".hidden", "a/.b", "a\\b", "a\nb"]
)
def test_no_key_leaves_its_place(blobs: FolderBlobs, key: str) -> None:
    for act in (blobs.get, blobs.delete, lambda key: blobs.put_if_absent(key, b"")):
        with pytest.raises(StoreError, match="is no name for an object"):
            act(key)


def test_files_can_be_read_by_whom_the_umask_allows(blobs: FolderBlobs, tmp_path: Path) -> None:
    mask = os.umask(0o027)
    try:
        blobs.put_if_absent("key", b"")
    finally:
        os.umask(mask)
    assert stat.S_IMODE((tmp_path / "place" / "key").stat().st_mode) == 0o640


def test_a_place_that_cannot_be_written_is_said_in_a_sentence(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    blobs = FolderBlobs(tmp_path / "file")
    with pytest.raises(StoreError, match=r"The store .*file failed at 'key' \(Not a directory\); check"):
        blobs.put_if_absent("key", b"")
