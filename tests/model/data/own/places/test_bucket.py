"""Own pictures in a real MinIO: what its folder is, what changed, and what can be wrong there."""

import io
import tarfile
from pathlib import Path
from typing import Any

import pytest
from minio_server import Minio
from own_pictures import lay, paint, painted

from model.data.errors import DataAwayError, DataError
from model.data.own.gather import gather
from model.data.own.loading import dataset_of
from model.data.own.wishes import Wishes
from model.data.remote import s3_client, s3_data
from model.data.sources import load_dataset

pytestmark = pytest.mark.slow

FILES = painted({"cat": 6, "golden retriever, ü": 6})


def put(minio: Minio, bucket: str, files: dict[str, bytes]) -> None:
    client, name = minio.client(), bucket.removeprefix("s3://")
    for key, data in files.items():
        client.put_object(Bucket=name, Key=key, Body=data)


@pytest.fixture
def address(bucket: str, minio: Minio, monkeypatch: pytest.MonkeyPatch) -> str:
    """Class folders below `photos`, beside what belongs to others."""
    monkeypatch.setattr(s3_client, "_ATTEMPTS", 1)
    put(minio, bucket, {f"photos/{name}": data for name, data in FILES.items()})
    put(minio, bucket, {"photos-old/owl/1.png": paint(80), "photos/cat/.DS_Store": b"x"})
    return f"{bucket}/photos"


@pytest.fixture
def fetched(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """Keys of the objects that were read."""
    keys: list[str] = []
    go_on = s3_data.go_on

    def count(s3: object, bucket: str, key: str, *rest: Any) -> None:
        keys.append(key)
        go_on(s3, bucket, key, *rest)

    monkeypatch.setattr(s3_data, "go_on", count)
    return keys


@pytest.mark.parametrize("slash", ["", "/"])
def test_a_prefix_is_its_folder(address: str, tmp_path: Path, wishes: Wishes, slash: str) -> None:
    there = dataset_of(gather(str(lay(tmp_path / "data", FILES)), wishes), wishes)
    here = load_dataset(address + slash, allow_sample=False, wishes=wishes)
    assert (here.kind, here.digest, here.classes) == ("images", there.digest, there.classes)


def test_only_what_is_new_is_read_again(
    address: str, minio: Minio, wishes: Wishes, fetched: list[str]
) -> None:
    gather(address, wishes)
    fetched.clear()
    gather(address, wishes)
    assert fetched == []
    put(
        minio,
        address.removesuffix("/photos"),
        {"photos/cat/0.png": paint(500), "photos/owl/1.png": paint(501)},
    )
    gathered = gather(address, wishes)
    assert set(fetched) == {"photos/cat/0.png", "photos/owl/1.png"}
    assert "owl" in gathered.classes


def test_an_archive_is_fetched_once(
    bucket: str, minio: Minio, wishes: Wishes, monkeypatch: pytest.MonkeyPatch
) -> None:
    packed = io.BytesIO()
    with tarfile.open(fileobj=packed, mode="w:gz") as archive:
        for name, data in FILES.items():
            member = tarfile.TarInfo(name)
            member.size = len(data)
            archive.addfile(member, io.BytesIO(data))
    put(minio, bucket, {"photos.tgz": packed.getvalue()})
    first = load_dataset(f"{bucket}/photos.tgz", allow_sample=False, wishes=wishes)
    assert first.classes == ("cat", "golden retriever, ü")

    def fetch_again(*_: object) -> None:
        pytest.fail("it was fetched again")

    monkeypatch.setattr(s3_data, "go_on", fetch_again)
    assert load_dataset(f"{bucket}/photos.tgz", allow_sample=False, wishes=wishes).digest == first.digest


def test_a_manifest_names_objects_beside_it_and_elsewhere(
    address: str, bucket: str, minio: Minio, tmp_path: Path, wishes: Wishes
) -> None:
    lines = [f'"{name}","{name.partition("/")[0]}"' for name in FILES]
    text = "\n".join(["image,label", *lines, f"{bucket}/photos-old/owl/1.png,cat"])
    put(minio, bucket, {"photos/m.csv": text.encode()})
    gathered = gather(f"{address}/m.csv", wishes)
    assert len(gathered.pictures) == 13
    (tmp_path / "m.csv").write_text(f"image,label\n{address}/cat/0.png,cat\n{address}/cat/1.png,dog\n")
    assert [picture.label for picture in gather(str(tmp_path / "m.csv"), wishes).pictures] == ["cat", "dog"]
    put(minio, bucket, {"photos/m.csv": b"image,label\n../photos-old/owl/1.png,cat\n/etc/hostname,dog\n"})
    with pytest.raises(
        DataError, match=r"lists 2 files that are not there: \.\./photos-old/owl/1\.png, /etc/host"
    ):
        gather(f"{address}/m.csv", wishes)


def test_an_empty_class_of_a_bucket_is_seen(address: str, minio: Minio, wishes: Wishes) -> None:
    put(minio, address.removesuffix("/photos"), {"photos/owl/": b""})
    with pytest.raises(DataError, match="no picture that can be decoded of the class 'owl'"):
        load_dataset(address, allow_sample=False, wishes=wishes)


@pytest.mark.parametrize("marker", [b"", b"not empty"])
def test_keys_below_an_objects_name_which_minio_does_not_list(
    address: str, minio: Minio, wishes: Wishes, marker: bytes
) -> None:
    bucket = address.removesuffix("/photos")
    put(minio, bucket, {"photos/owl": marker, "photos/owl/0.png": paint(90)})
    with pytest.raises(
        DataError, match="has an object 'owl' that is named like the folder of a class, and this"
    ):
        gather(address, wishes)


def test_a_file_beside_the_class_folders_is_no_mistake(address: str, minio: Minio, wishes: Wishes) -> None:
    put(minio, address.removesuffix("/photos"), {"photos/LICENSE": b"MIT", "photos/README.md": b"Mine."})
    gathered = gather(address, wishes)
    assert {left.name: left.reason for left in gathered.left_out} == {
        "LICENSE": "no class",
        "README.md": "no class",
    }
    (note,) = gathered.notes
    assert note.startswith("The object 'LICENSE' lies where class folders are")


def test_no_right_in_the_bucket(
    address: str, minio: Minio, wishes: Wishes, monkeypatch: pytest.MonkeyPatch
) -> None:
    name = address.removeprefix("s3://").removesuffix("/photos")
    allowed = {"Effect": "Allow", "Action": ["s3:ListBucket"], "Resource": [f"arn:aws:s3:::{name}"]}
    for variable, value in minio.session(allowed).items():
        monkeypatch.setenv(variable, value)
    with pytest.raises(DataError, match=r"may not do GetObject on 'photos/.*' in s3://.*s3:GetObject on it"):
        gather(address, wishes)
    assert not list(wishes.cache.glob("*"))


def test_an_s3_that_is_away(address: str, wishes: Wishes, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("AWS_ENDPOINT_URL", "http://127.0.0.1:9")
    with pytest.raises(DataAwayError, match="does not answer"):
        gather(address, wishes)
