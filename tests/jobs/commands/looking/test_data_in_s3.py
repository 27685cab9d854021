"""`cnn-image data s3://…` on a real MinIO: as of a folder, and a sentence for what is wrong with a bucket."""

import json
from collections.abc import Callable
from pathlib import Path

import pytest
from command_line import run
from minio_server import Minio
from own_pictures import write_classes

from jobs.errors import Exit

pytestmark = pytest.mark.slow


@pytest.fixture(autouse=True)
def cache(home: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Nothing is decoded that another test decoded."""
    monkeypatch.setenv("XDG_CACHE_HOME", str(home / "cache"))


@pytest.fixture
def put(minio: Minio, bucket: str) -> Callable[[str, bytes], None]:
    name = bucket.removeprefix("s3://")
    return lambda key, data: minio.client().put_object(Bucket=name, Key=key, Body=data)


@pytest.fixture
def photos(home: Path, bucket: str, put: Callable[[str, bytes], None]) -> str:
    folder = write_classes(home / "photos", {"cat, tabby": 30, "犬": 30})
    for file in folder.rglob("*.jpg"):
        put(f"photos/{file.relative_to(folder)}", file.read_bytes())
    return f"{bucket}/photos"


def sentence(*arguments: str) -> str:
    result = run("data", *arguments)
    assert result.exit_code == Exit.MISTAKE, result.output
    assert "Traceback" not in result.output
    return result.stderr.strip().splitlines()[-1]


def test_a_prefix_is_looked_at_as_a_folder_is(photos: str, home: Path) -> None:
    away, here = (
        json.loads(run("data", source, "--json", "--page", "data.html").stdout)
        for source in (photos, str(home / "photos"))
    )
    assert away.pop("source") == photos
    assert here.pop("source") == str(home / "photos")
    assert away == here
    assert away["pictures"] == 60
    assert (home / "data.html").read_text().count("<img") == 48


def test_no_right_in_the_bucket(
    photos: str, bucket: str, minio: Minio, monkeypatch: pytest.MonkeyPatch
) -> None:
    name = bucket.removeprefix("s3://")
    allowed = {"Effect": "Allow", "Action": ["s3:GetObject"], "Resource": [f"arn:aws:s3:::{name}/other/*"]}
    for variable, value in minio.session(allowed).items():
        monkeypatch.setenv(variable, value)
    told = sentence(photos)
    assert name in told
    assert "s3:ListBucket" in told


def test_keys_below_an_objects_name_which_minio_does_not_list(
    photos: str, put: Callable[[str, bytes], None]
) -> None:
    put("photos/owl/000.jpg", b"never seen")
    put("photos/owl", b"")
    assert "owl" in sentence(photos)


def test_an_empty_prefix_and_a_bucket_that_is_not_there(bucket: str) -> None:
    assert f"{bucket}/nothing" in sentence(f"{bucket}/nothing")
    assert "no-such-bucket" in sentence("s3://no-such-bucket/photos")
