"""Training data out of a real MinIO: whole, or a sentence of its own for each thing that can be wrong."""

import datetime
import io
import socket
import tarfile
import tempfile
from collections.abc import Iterator
from pathlib import Path

import boto3
import botocore.auth
import pytest
from botocore.retries.standard import ExponentialBackoff
from cut_proxy import CutProxy, every_cut
from minio_server import Minio
from s3_wire import Answer, wire

from jobs.errors import Exit, exit_code
from model.data import sources as data
from model.data.cifar10 import BATCH_FILES
from model.data.errors import DataAwayError, DataError
from model.data.remote import patience, s3_client, s3_data, told
from model.data.remote.s3_objects import RemovedError

INSIDE = [f"cifar/cifar-10-batches-py/{name}" for name in BATCH_FILES]


@pytest.mark.parametrize(
    ("keys", "key", "found"),
    [
        (["a.tgz", "a.tgz.md5"], "a.tgz", ["a.tgz"]),
        ([*BATCH_FILES, "batches.meta"], "", list(BATCH_FILES)),
        (INSIDE, "cifar", INSIDE),
        (INSIDE, "cifar/", INSIDE),
        (INSIDE, "cifar/cifar-10-batches-py", INSIDE),
        (INSIDE, "cif", []),
        (INSIDE[:5], "cifar", []),
        (["cifar/"], "cifar/", []),
    ],
)
def test_what_an_address_means(keys: list[str], key: str, found: list[str]) -> None:
    assert s3_data._archive_or_batches(keys, key) == found


def test_an_address_without_a_bucket() -> None:
    with pytest.raises(DataError, match="names no bucket; write s3://BUCKET/PATH"):
        s3_data.look("s3:///x")


@pytest.fixture
def address(bucket: str, minio: Minio, batches: Path, monkeypatch: pytest.MonkeyPatch) -> str:
    """A bucket that holds the batches in `cifar/` and an archive of them, beside what belongs to others."""
    monkeypatch.setattr(s3_client, "_ATTEMPTS", 1)
    monkeypatch.setattr(s3_client, "_TIMEOUTS", {"connect_timeout": 1, "read_timeout": 1})
    packed = io.BytesIO()
    with tarfile.open(fileobj=packed, mode="w:gz") as archive:
        archive.add(batches, batches.name)
    client, name = minio.client(), bucket.removeprefix("s3://")
    for file in batches.iterdir():
        client.upload_file(str(file), name, f"cifar/{file.name}")
    client.put_object(Bucket=name, Key="cifar.tar.gz", Body=packed.getvalue())
    client.put_object(Bucket=name, Key="cifar-other/data_batch_1", Body=b"of others")
    client.put_object(Bucket=name, Key="half/data_batch_1", Body=b"alone")
    client.put_object(Bucket=name, Key="broken.tar.gz", Body=packed.getvalue()[:5000])
    return bucket


def refused(source: str) -> str:
    """The sentence that `cnn-image train --data=source` ends with."""
    with pytest.raises(DataError) as caught:
        data.load_dataset(source, allow_sample=False)
    sentence = str(caught.value)
    assert sentence.endswith(".")
    assert "\n" not in sentence
    return sentence


@pytest.mark.slow
@pytest.mark.parametrize("path", ["/cifar", "/cifar/", "/cifar.tar.gz"])
def test_the_images_are_those_of_the_folder(address: str, batches: Path, path: str) -> None:
    there = data.load_dataset(address + path, allow_sample=False)
    here = data.load_dataset(str(batches), allow_sample=False)
    assert there.digest == here.digest
    assert there.source == address + path


@pytest.mark.slow
@pytest.mark.parametrize(
    ("variables", "sentence"),
    [
        ({"AWS_ACCESS_KEY_ID": "nobody"}, "does not know the access key (InvalidAccessKeyId); check AWS_ACC"),
        ({"AWS_SECRET_ACCESS_KEY": "wrong-secret"}, "refuses the signature (SignatureDoesNotMatch); check"),
        ({"AWS_ENDPOINT_URL": "minio:9000"}, "AWS_* variables make no sense (Invalid endpoint: minio:9000)"),
        ({"AWS_ENDPOINT_URL": "http://minio.invalid:9000"}, "does not answer (EndpointConnectionError); che"),
    ],
    ids=["access key", "secret", "no endpoint", "nobody there"],
)
def test_an_environment_that_is_wrong(
    address: str, monkeypatch: pytest.MonkeyPatch, variables: dict[str, str], sentence: str
) -> None:
    for name, value in variables.items():
        monkeypatch.setenv(name, value)
    assert sentence in refused(f"{address}/cifar")


@pytest.mark.slow
@pytest.mark.parametrize(
    ("variables", "code"),
    [
        ({"AWS_ENDPOINT_URL": "http://127.0.0.1:9"}, Exit.FAULT),
        # Under MinIO a session that has ended is a key that nobody knows.
        ({"AWS_ACCESS_KEY_ID": "ended", "AWS_SESSION_TOKEN": "token"}, Exit.FAULT),
        ({"AWS_ACCESS_KEY_ID": "nobody"}, Exit.MISTAKE),
    ],
    ids=["nobody there", "session ended", "access key"],
)
def test_what_another_try_may_mend_is_told_from_a_mistake(
    address: str, monkeypatch: pytest.MonkeyPatch, variables: dict[str, str], code: Exit
) -> None:
    for name, value in variables.items():
        monkeypatch.setenv(name, value)
    with pytest.raises(DataError) as caught:
        data.load_dataset(f"{address}/cifar", allow_sample=False)
    assert exit_code(caught.value) == code


@pytest.mark.slow
def test_an_address_that_is_wrong(address: str) -> None:
    assert "There is no bucket for s3://" in refused(f"{address}-other/cifar")
    assert "/cifar-10 holds neither an archive nor data_batch_1 to test_batch; name" in refused(
        f"{address}/cifar-10"
    )
    assert "/half holds neither an archive" in refused(f"{address}/half")
    assert "is truncated or not an archive" in refused(f"{address}/broken.tar.gz")


@pytest.mark.slow
def test_a_clock_that_is_wrong(address: str, monkeypatch: pytest.MonkeyPatch) -> None:
    def late(remove_tzinfo: bool = True) -> datetime.datetime:
        now = datetime.datetime.now(datetime.UTC) + datetime.timedelta(hours=2)
        return now.replace(tzinfo=None) if remove_tzinfo else now

    monkeypatch.setattr(botocore.auth, "get_current_datetime", late)
    sentence = refused(f"{address}/cifar")
    assert sentence.startswith("This machine's clock is ")
    assert sentence.endswith("set it by NTP.")


@pytest.mark.slow
def test_a_right_that_is_missing(address: str, monkeypatch: pytest.MonkeyPatch) -> None:
    name = address.removeprefix("s3://")
    policy = (
        '{"Version": "2012-10-17", "Statement": [{"Effect": "Allow", "Action": ["s3:ListBucket"],'
        f' "Resource": ["arn:aws:s3:::{name}"]}}]}}'
    )
    limited = boto3.client("sts", region_name="us-east-1").assume_role(
        RoleArn="arn:minio:iam:::role/any", RoleSessionName="limited", Policy=policy
    )["Credentials"]
    monkeypatch.setenv("AWS_ACCESS_KEY_ID", limited["AccessKeyId"])
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", limited["SecretAccessKey"])
    monkeypatch.setenv("AWS_SESSION_TOKEN", limited["SessionToken"])
    assert "may not do GetObject on 'cifar/data_batch_1' in s3://" in refused(f"{address}/cifar")


@pytest.mark.slow
def test_somebody_listens_and_says_nothing(address: str, monkeypatch: pytest.MonkeyPatch) -> None:
    with socket.create_server(("127.0.0.1", 0)) as silent:
        monkeypatch.setenv("AWS_ENDPOINT_URL", f"http://127.0.0.1:{silent.getsockname()[1]}")
        assert "does not answer (ReadTimeoutError)" in refused(f"{address}/cifar")


@pytest.fixture
def proxy(address: str, minio: Minio, monkeypatch: pytest.MonkeyPatch) -> Iterator[CutProxy]:
    """A wire to cut, between here and the bucket; what is tried again is tried at once."""
    monkeypatch.setattr(ExponentialBackoff, "delay_amount", lambda self, context: 0)
    monkeypatch.setattr(patience, "_AWAY_SECONDS", 0)
    monkeypatch.setattr(patience, "_wait", lambda tries, stop: None)
    proxy = CutProxy(minio.port)
    monkeypatch.setenv("AWS_ENDPOINT_URL", f"http://127.0.0.1:{proxy.port}")
    yield proxy
    proxy.close()


@pytest.mark.slow
@pytest.mark.parametrize("path", ["/cifar", "/cifar.tar.gz"])
def test_a_connection_cut_for_good_leaves_nothing_half_read(
    address: str, proxy: CutProxy, path: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    scratch = tmp_path / "scratch"
    scratch.mkdir()
    monkeypatch.setattr(tempfile, "tempdir", str(scratch))
    cuts = every_cut(proxy, lambda: data.load_dataset(address + path, allow_sample=False))
    for cut in cuts if len(cuts) < 15 else cuts[::5]:  # six batches are one conversation six times
        proxy.arm(cut, for_good=True)
        sentence = refused(address + path)
        assert proxy.cuts, cut
        assert f"The S3 at http://127.0.0.1:{proxy.port} " in sentence, cut
        assert "try again" in sentence, cut
        assert not list(scratch.iterdir()), cut


@pytest.mark.slow
def test_a_connection_cut_once_is_not_noticed(
    address: str, proxy: CutProxy, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(s3_client, "_ATTEMPTS", 4)
    monkeypatch.setattr(patience, "_AWAY_SECONDS", 300)
    source = f"{address}/cifar.tar.gz"
    whole = data.load_dataset(source, allow_sample=False).digest
    for cut in every_cut(proxy, lambda: data.load_dataset(source, allow_sample=False)):
        proxy.arm(cut)
        assert data.load_dataset(source, allow_sample=False).digest == whole, cut
        assert proxy.cuts == 1, cut


@pytest.mark.slow
def test_a_long_fetch_says_how_far_it_is(
    bucket: str,
    minio: Minio,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
) -> None:
    monkeypatch.setattr(told, "_LINE_EVERY", 0)
    caplog.set_level("INFO", "model")
    data = bytes(2_500_000)
    minio.client().put_object(Bucket=bucket.removeprefix("s3://"), Key="a/large.tar", Body=data)
    path, _ = s3_data.look(f"{bucket}/a/large.tar").download("a/large.tar", tmp_path)
    assert path.read_bytes() == data
    lines = [record.message.removeprefix(f"{bucket}/a/large.tar: ") for record in caplog.records]
    assert lines == [f"{there} of 2.5 MB are fetched." for there in ("1.0", "2.1", "2.5")]


@pytest.mark.slow
def test_a_disk_that_is_full(address: str, monkeypatch: pytest.MonkeyPatch) -> None:
    def full(self: Path, *arguments: object) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr("pathlib.Path.open", full)
    assert "(No space left on device); make room there, or set TMPDIR" in refused(f"{address}/cifar")


@pytest.mark.parametrize(("is_listed", "error"), [(False, RemovedError), (True, DataAwayError)])
def test_an_s3_without_words_is_believed_by_its_listing(
    monkeypatch: pytest.MonkeyPatch, is_listed: bool, error: type[Exception]
) -> None:
    """A MinIO that is coming up says 404 to everything, in no words of an S3's."""
    for name, value in {"ACCESS_KEY_ID": "a", "SECRET_ACCESS_KEY": "b", "REGION": "us-east-1"}.items():
        monkeypatch.setenv(f"AWS_{name}", value)
    monkeypatch.setattr(s3_client, "_ATTEMPTS", 1)
    monkeypatch.setattr(patience, "_AWAY_SECONDS", 0.2)
    there = "<Contents><Key>a.jpg</Key><Size>1</Size><ETag>e</ETag></Contents>"

    def page(contents: str) -> bytes:
        return f"<ListBucketResult><IsTruncated>false</IsTruncated>{contents}</ListBucketResult>".encode()

    with wire() as s3:
        monkeypatch.setenv("AWS_ENDPOINT_URL", s3.url)
        s3.decide = lambda request: Answer(200, page(there))
        address = s3_data.look("s3://bucket/a.jpg")
        later = page(there if is_listed else "")
        not_found = Answer(404, b"404 page not found")
        s3.decide = lambda request: Answer(200, later) if "list-type" in request.path else not_found
        with pytest.raises(error):
            address.read("a.jpg", address.objects["a.jpg"], 10)
