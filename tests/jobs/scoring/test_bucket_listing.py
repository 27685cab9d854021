"""What a bucket's keys become: pictures in the keys' order, without hidden ones, of any number of folders."""

from pathlib import Path
from types import SimpleNamespace

import pytest

from jobs.scoring.source import listing
from model.data.remote import s3_data
from model.data.remote.s3_listed import Listed


def names(monkeypatch: pytest.MonkeyPatch, keys: dict[str, int]) -> list[str]:
    objects = {key: Listed(size, f"of {key}") for key, size in keys.items()}
    address = SimpleNamespace(is_object=False, bucket="b", prefix="p/", objects=objects)
    monkeypatch.setattr(s3_data, "look", lambda _: address)
    found = listing.list_source("s3://b/p", Path("/")).pictures
    for picture in found:
        assert picture.key.decode() == f"s3://b/p/{picture.name}"
        assert picture.stamp == f"{picture.length}:of p/{picture.name}"
    return [picture.name for picture in found]


def test_keys_become_pictures_in_their_order(monkeypatch: pytest.MonkeyPatch) -> None:
    keys = {
        "p/": 0, "p/.x/1.jpg": 1, "p/a/": 0, "p/a/.ds": 1, "p/a/1.jpg": 1, "p/a/b/.c/2.jpg": 1,
        "p/a/b/2.jpg": 2,
        "p/a/c.jpg": 3, "p/a//4.jpg": 4, "p/a/full/": 5, "p/z.jpg": 0, "pa.jpg": 1,
    }  # fmt: skip
    assert names(monkeypatch, keys) == ["a/1.jpg", "a/b/2.jpg", "a/c.jpg", "a//4.jpg", "a/full/", "z.jpg"]


def test_folders_are_not_remembered_without_end(monkeypatch: pytest.MonkeyPatch) -> None:
    count = 3 * listing._FOLDERS
    keys = {f"p/{'.' * (number % 2)}{number:05}/1.jpg": 1 for number in range(count)}
    assert names(monkeypatch, keys) == [f"{number:05}/1.jpg" for number in range(0, count, 2)]
    assert listing._in_hidden.cache_info().currsize == listing._FOLDERS
