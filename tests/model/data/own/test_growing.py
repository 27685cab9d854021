"""Decoding that is killed, stopped or finds the disk full goes on from there; of two at once one decodes."""

import logging
import os
import resource
import signal
import subprocess
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from own_pictures import lay, paint, painted

from model.data.errors import DataError
from model.data.own import decoding, growing
from model.data.own.gather import Gathered, gather
from model.data.own.wishes import Wishes
from model.images.decode import decode_image

FILES = painted({"cat": 24, "dog": 24})
BROKEN = {"cat/broken.png": FILES["cat/0.png"][:60]}
ALL = {*FILES, *BROKEN}

# Decodes, writes each picture at once, and after 32 of them is killed, or waits to be.
_HALF = """
import os, signal, sys
from pathlib import Path
from model.data.own import growing
from model.data.own.gather import gather
from model.data.own.wishes import Wishes
growing._MOST_BYTES = 1
def told(done, total):
    if done >= 32 and sys.argv[3] == "die":
        os.kill(os.getpid(), signal.SIGKILL)
    elif done >= 32:
        print("half", flush=True)
        sys.stdin.read()
gather(sys.argv[1], Wishes(cache=Path(sys.argv[2]), size=32), told)
"""


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    return lay(tmp_path / "data", FILES | BROKEN)


@pytest.fixture
def wishes(wishes: Wishes) -> Wishes:
    return replace(wishes, size=32)


@pytest.fixture
def decoded(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """Names of the files that were decoded here."""
    names: list[str] = []
    decode = decoding.decode_file

    def count(file: decoding.File, *arguments: object) -> object:
        names.append(file.name)
        return decode(file, *arguments)  # type: ignore[arg-type]

    monkeypatch.setattr(decoding, "decode_file", count)
    return names


def half(folder: Path, wishes: Wishes, then: str) -> subprocess.Popen[str]:
    return subprocess.Popen(
        [sys.executable, "-c", _HALF, str(folder), str(wishes.cache), then],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    )


def require_all(gathered: Gathered, folder: Path) -> None:
    assert {picture.name for picture in gathered.pictures} == set(FILES)
    assert {left.name for left in gathered.left_out} == set(BROKEN)
    for position, picture in enumerate(gathered.pictures):
        expected = decode_image((folder / picture.name).read_bytes())
        assert np.array_equal(gathered.pixels([position])[0], expected), picture.name


@contextmanager
def stopped(after: int, monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """Ctrl-C in the middle."""
    decode, counted = growing.Growing.add, 0

    def add(self: growing.Growing, *arguments: object) -> int:
        nonlocal counted
        counted += 1
        if counted > after:
            raise KeyboardInterrupt
        return decode(self, *arguments)  # type: ignore[arg-type]

    with monkeypatch.context() as patch:
        patch.setattr(growing.Growing, "add", add)
        with pytest.raises(KeyboardInterrupt):
            yield


def test_who_was_killed_is_followed_by_one_who_goes_on(
    folder: Path, wishes: Wishes, decoded: list[str]
) -> None:
    assert half(folder, wishes, "die").wait(60) == -signal.SIGKILL
    assert not list(wishes.cache.glob("*.json")), "what is half done is not used"
    gathered = gather(str(folder), wishes)
    assert len(decoded) == len(ALL) - 32
    require_all(gathered, folder)
    assert sorted(path.suffix for path in wishes.cache.iterdir()) == [".arrow", ".json", ".lock", ".u8"]


def test_who_is_stopped_keeps_all_that_was_decoded(
    folder: Path, wishes: Wishes, decoded: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    with stopped(20, monkeypatch):
        gather(str(folder), wishes)
    decoded.clear()
    with stopped(10, monkeypatch):
        gather(str(folder), wishes)
    decoded.clear()
    gathered = gather(str(folder), wishes)
    assert len(decoded) == len(ALL) - 30
    require_all(gathered, folder)


def test_a_source_that_grows_may_be_stopped_too(
    folder: Path, wishes: Wishes, decoded: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    first = gather(str(folder), wishes)
    lay(folder, painted({"owl": 8}, seed=500))
    with stopped(5, monkeypatch):
        gather(str(folder), wishes)
    assert gather(str(folder), replace(wishes, size=48)).size == 48, "which leaves what is begun as it is"
    decoded.clear()
    second = gather(str(folder), wishes)
    assert len(decoded) == 3
    assert second.kept.file == first.kept.file
    assert len(second.kept.images) == len(FILES) + 8
    for position, picture in enumerate(second.pictures):
        expected = decode_image((folder / picture.name).read_bytes())
        assert np.array_equal(second.pixels([position])[0], expected), picture.name
    assert first.pictures == list(first.kept.pictures)


@pytest.mark.parametrize("damage", ["journal cut", "journal garbled", "pixels cut", "pixels gone"])
def test_what_was_cut_off_is_decoded_again(
    folder: Path, wishes: Wishes, decoded: list[str], damage: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(growing, "_MOST_BYTES", 10 * 32 * 32 * 3)
    with stopped(30, monkeypatch):
        gather(str(folder), wishes)
    (journal,), (pixels,) = wishes.cache.glob("*.journal"), wishes.cache.glob("*.u8")
    if damage == "journal cut":
        os.truncate(journal, journal.stat().st_size - 100)
    elif damage == "journal garbled":
        journal.write_bytes(b"no Arrow")
    elif damage == "pixels cut":
        os.truncate(pixels, 25 * 32 * 32 * 3)
    else:
        pixels.unlink()
    decoded.clear()
    gathered = gather(str(folder), wishes)
    again = len(ALL) - len(decoded)
    assert 18 <= again <= 21 if "cut" in damage else again == 0
    require_all(gathered, folder)


def test_a_file_that_changed_meanwhile_is_what_it_is_now(
    folder: Path, wishes: Wishes, decoded: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    with stopped(20, monkeypatch):
        gather(str(folder), wishes)
    broken, other = [name for name in decoded[:18] if name in FILES][:2]
    (folder / broken).write_bytes(FILES[broken][:60])
    (folder / other).write_bytes(paint(900))
    with stopped(20, monkeypatch):
        gather(str(folder), wishes)
    gathered = gather(str(folder), wishes)
    assert {left.name for left in gathered.left_out} == {*BROKEN, broken}
    assert broken not in {picture.name for picture in gathered.pictures}
    (position,) = (p for p, picture in enumerate(gathered.pictures) if picture.name == other)
    assert np.array_equal(gathered.pixels([position])[0], decode_image(paint(900)))


def test_a_full_disk_is_said_and_what_is_decoded_stays(
    folder: Path, wishes: Wishes, decoded: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(growing, "_MOST_BYTES", 10 * 32 * 32 * 3)
    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (25 * 32 * 32 * 3, before[1]))
    try:
        with pytest.raises(DataError) as caught:
            gather(str(folder), wishes)
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, before)
    assert str(caught.value) == (
        f"The decoded pictures cannot be kept in {wishes.cache} (File too large); make room there, or name "
        "another folder. What is decoded by now is kept: the next start goes on from there."
    )
    decoded.clear()
    gathered = gather(str(folder), wishes)
    assert 18 <= len(ALL) - len(decoded) <= 21
    require_all(gathered, folder)


def test_of_two_at_once_one_decodes(folder: Path, wishes: Wishes, decoded: list[str]) -> None:
    found: list[Gathered] = []
    threads = [threading.Thread(target=lambda: found.append(gather(str(folder), wishes))) for _ in range(2)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(60)
    assert sorted(decoded) == sorted(ALL)
    assert found[0].pictures == found[1].pictures
    for gathered in found:
        require_all(gathered, folder)


def test_where_the_one_that_decodes_is_killed_the_other_goes_on(
    folder: Path, wishes: Wishes, decoded: list[str], caplog: pytest.LogCaptureFixture
) -> None:
    other = half(folder, wishes, "wait")
    assert other.stdout is not None
    assert other.stdout.readline() == "half\n"
    waiting, found = threading.Event(), list[Gathered]()

    class Watch(logging.Handler):
        def emit(self, record: logging.LogRecord) -> None:
            assert record.getMessage() == f"Another run decodes {folder}; waiting for it."
            waiting.set()

    watch = Watch()
    growing.log.addHandler(watch)
    thread = threading.Thread(target=lambda: found.append(gather(str(folder), wishes)))
    try:
        thread.start()
        assert waiting.wait(60)
        assert decoded == []
    finally:
        other.kill()
        other.communicate()
        thread.join(60)
        growing.log.removeHandler(watch)
    assert len(decoded) == len(ALL) - 32
    require_all(found[0], folder)
