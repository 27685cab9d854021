"""What is decoded once is not decoded again, and what was half done is never used."""

import dataclasses
import errno
import os
import stat
from pathlib import Path
from typing import BinaryIO

import numpy as np
import pytest
from own_pictures import lay, paint, painted

from model.contract import Network
from model.data.errors import DataError
from model.data.own import decoding
from model.data.own.gather import gather
from model.data.own.takeover import natural_size
from model.data.own.wishes import Wishes
from model.data.sources import load_dataset
from model.images.decode import decode_image

FILES = painted({"cat": 8, "dog": 8}, side=70)


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    return lay(tmp_path / "data", FILES)


@pytest.fixture
def decoded(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """Names of the files that were decoded."""
    names: list[str] = []
    decode = decoding.decode_file

    def count(file: decoding.File, *arguments: object) -> object:
        names.append(file.name)
        return decode(file, *arguments)  # type: ignore[arg-type]

    monkeypatch.setattr(decoding, "decode_file", count)
    return names


@pytest.mark.parametrize(("size", "fit"), [(32, "stretch"), (48, "crop"), (96, "pad")])
def test_pixels_are_those_of_the_products_own_decoder(
    folder: Path, wishes: Wishes, size: int, fit: str
) -> None:
    gathered = gather(str(folder), dataclasses.replace(wishes, size=size, fit=fit))  # type: ignore[arg-type]
    for position, picture in enumerate(gathered.pictures):
        expected = decode_image(FILES[picture.name], size=size, fit=fit)  # type: ignore[arg-type]
        assert np.array_equal(gathered.pixels([position])[0], expected)


def test_a_second_run_decodes_only_what_is_new_or_changed(
    folder: Path, wishes: Wishes, decoded: list[str]
) -> None:
    first = gather(str(folder), wishes)
    assert sorted(decoded) == sorted(FILES)
    decoded.clear()
    assert gather(str(folder), wishes).pictures == first.pictures
    assert decoded == []
    lay(folder, {"cat/0.png": paint(500), "owl/1.png": paint(501)})
    (folder / "dog" / "3.png").unlink()
    (folder / "cat" / "cut.png").write_bytes(FILES["cat/1.png"][:50])
    third = gather(str(folder), wishes)
    assert sorted(decoded) == ["cat/0.png", "cat/cut.png", "owl/1.png"]
    assert {picture.name for picture in third.pictures} == {*FILES, "owl/1.png"} - {"dog/3.png"}
    for position, picture in enumerate(third.pictures):
        expected = decode_image((folder / picture.name).read_bytes(), size=64)
        assert np.array_equal(third.pixels([position])[0], expected), picture.name
    decoded.clear()
    assert gather(str(folder), wishes).left_out == third.left_out
    assert decoded == []


def test_a_file_that_could_not_be_read_is_tried_again_though_it_is_the_same(
    folder: Path, wishes: Wishes, decoded: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    def obeying(path: str, mode: str) -> BinaryIO:
        if not Path(path).stat().st_mode & stat.S_IRUSR:  # root, as whom tests may run, reads it all the same
            raise PermissionError(errno.EACCES, os.strerror(errno.EACCES))
        return Path(path).open(mode)  # type: ignore[return-value]

    monkeypatch.setattr("model.data.own.places.folder.open", obeying, raising=False)
    locked = folder / "cat" / "1.png"
    locked.chmod(0)
    for _ in range(2):
        gathered = gather(str(folder), wishes)
        (left,) = gathered.left_out
        assert (left.name, left.reason) == ("cat/1.png", "broken")
        assert left.detail == "It cannot be read (Permission denied)."
        assert {picture.name for picture in gathered.pictures} == set(FILES) - {"cat/1.png"}
    decoded.clear()
    locked.chmod(0o600)
    gathered = gather(str(folder), wishes)
    assert (gathered.left_out, decoded) == ([], ["cat/1.png"])
    assert {picture.name for picture in gathered.pictures} == set(FILES)
    decoded.clear()
    assert (gather(str(folder), wishes).left_out, decoded) == ([], [])


def test_of_one_source_and_size_one_file_of_pixels_is_kept(folder: Path, wishes: Wishes) -> None:
    one = [".arrow", ".json", ".lock", ".u8"]
    first = gather(str(folder), wishes)
    lay(folder, {"owl/1.png": paint(501)})
    grown = gather(str(folder), wishes)
    assert grown.kept.file == first.kept.file, "grown, not copied"
    assert sorted(path.suffix for path in wishes.cache.iterdir()) == one
    gather(str(folder), dataclasses.replace(wishes, size=32))
    assert sorted(path.suffix for path in wishes.cache.iterdir()) == sorted(2 * one)


def test_where_most_pictures_are_gone_their_pixels_go_too(
    folder: Path, wishes: Wishes, decoded: list[str]
) -> None:
    first = gather(str(folder), wishes)
    for name in sorted(FILES)[1:-2]:
        (folder / name).unlink()
    lay(folder, {"cat/new.png": paint(500)})
    decoded.clear()
    second = gather(str(folder), wishes)
    assert decoded == ["cat/new.png"], "the others are copied"
    assert second.kept.file != first.kept.file
    assert list(wishes.cache.glob("*.u8")) == [second.kept.file]
    assert len(second.kept.images) == 4
    for position, picture in enumerate(second.pictures):
        expected = decode_image((folder / picture.name).read_bytes(), size=64)
        assert np.array_equal(second.pixels([position])[0], expected), picture.name
    assert first.pixels([0]).any(), "who reads what is replaced may go on"


def test_pixels_of_another_decoder_are_not_used(
    folder: Path, wishes: Wishes, decoded: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    gather(str(folder), wishes)
    decoded.clear()
    monkeypatch.setattr("model.data.own.kept.DECODER_VERSION", 999)
    gather(str(folder), wishes)
    assert sorted(decoded) == sorted(FILES)
    assert len(list(wishes.cache.glob("*.u8"))) == 1


@pytest.mark.parametrize(
    "damage", ["pixels gone", "pixels short", "index cut", "index of others", "table cut"]
)
def test_what_is_damaged_is_made_again(folder: Path, wishes: Wishes, decoded: list[str], damage: str) -> None:
    first = gather(str(folder), wishes)
    decoded.clear()
    (index,), (pixels,) = wishes.cache.glob("*.json"), wishes.cache.glob("*.u8")
    (table,) = wishes.cache.glob("*.arrow")
    if damage == "pixels gone":
        pixels.unlink()
    elif damage == "pixels short":
        os.truncate(pixels, 1000)
    elif damage == "index cut":
        os.truncate(index, index.stat().st_size // 2)
    elif damage == "table cut":
        os.truncate(table, table.stat().st_size // 2)
    else:
        index.write_text('{"layout": 7}\n')
    again = gather(str(folder), wishes)
    assert sorted(decoded) == sorted(FILES)
    assert again.pictures == first.pictures


def test_progress_is_told(folder: Path, wishes: Wishes) -> None:
    told: list[tuple[int, int]] = []
    gather(str(folder), wishes, lambda done, total: told.append((done, total)))
    assert told[-1] == (16, 16)


def test_a_cache_that_cannot_be_written(folder: Path, wishes: Wishes, tmp_path: Path) -> None:
    (tmp_path / "file").write_bytes(b"")
    with pytest.raises(
        DataError, match=r"cannot be kept in .*file/cache \(Not a directory\); make room there"
    ):
        gather(str(folder), dataclasses.replace(wishes, cache=tmp_path / "file" / "cache"))


@pytest.mark.parametrize(
    ("sides", "size"),
    [
        ([], 32),
        ([10], 32),
        ([28, 90, 90], 64),
        ([28, 100, 100], 96),
        ([47, 47], 32),
        ([48], 48),
        ([63, 64, 20], 48),
        ([4000], 128),
    ],
)
def test_the_size_that_pictures_have_by_themselves(sides: list[int], size: int) -> None:
    assert natural_size(sides) == size


@pytest.mark.parametrize(
    ("network", "side", "size", "learned_by"),
    [
        (None, 40, 32, "cnn"),
        (None, 95, 64, "cnn"),
        (None, 96, 96, "efficientnet-lite0"),
        (None, 500, 128, "efficientnet-lite0"),
        ("cnn", 500, 64, "cnn"),
        ("efficientnet-lite1", 40, 96, "efficientnet-lite1"),
    ],
)
def test_photographs_are_for_a_network_that_knows_photographs(
    tmp_path: Path, wishes: Wishes, network: Network | None, side: int, size: int, learned_by: str
) -> None:
    folder = lay(tmp_path / "data", painted({"cat": 4, "dog": 4}, side=side))
    free = dataclasses.replace(wishes, network=network)
    for _ in range(2):  # the second time out of the cache
        dataset = load_dataset(str(folder), allow_sample=False, wishes=free)
        assert (dataset.size, dataset.network) == (size, learned_by)


def test_what_a_release_decoded_that_knew_no_larger_size_is_looked_at_again(
    tmp_path: Path, wishes: Wishes
) -> None:
    folder = lay(tmp_path / "data", painted({"cat": 4, "dog": 4}, side=100))
    assert gather(str(folder), wishes).size == 64
    (index,) = wishes.cache.glob("*.json")
    index.write_text(index.read_text().replace('"natural_size": 96', '"natural": 64'))
    assert gather(str(folder), dataclasses.replace(wishes, network=None)).size == 96


def test_a_size_that_was_guessed_wrong_is_corrected(
    tmp_path: Path, wishes: Wishes, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("model.data.own.gather._LOOKED_AT", 2)
    folder = lay(tmp_path / "data", painted({"cat": 2}, side=30) | painted({"dog": 6}, side=80, seed=50))
    gathered = gather(str(folder), wishes)
    assert gathered.size == 64
    assert gathered.pixels([0]).shape == (1, 64, 64, 3)
    assert gather(str(folder), wishes).size == 64


def test_large_pictures_wait_for_one_another(
    folder: Path, wishes: Wishes, monkeypatch: pytest.MonkeyPatch
) -> None:
    """With memory for one, and less than each asks for, all are decoded, one at a time."""
    busy, most = 0, 0
    decode = decoding.decode_squares

    def counted(*arguments: object, **options: object) -> object:
        nonlocal busy, most
        busy += 1
        most = max(most, busy)
        try:
            return decode(*arguments, **options)  # type: ignore[arg-type]
        finally:
            busy -= 1

    monkeypatch.setattr(decoding, "decode_squares", counted)
    monkeypatch.setattr(decoding, "_memory", decoding._Memory(1))
    monkeypatch.setattr("model.data.own.places.opening.workers", lambda: 8)
    assert len(gather(str(folder), wishes).pictures) == 16
    assert most == 1
