"""Objects of a real MinIO that is away, cuts, refuses or changes while they are read."""

import io
import logging
import tarfile
import threading
from collections.abc import Callable, Generator, Iterator
from hashlib import sha256
from typing import Any, cast

import pytest
from cut_proxy import Cut, CutProxy
from minio_server import Minio, StartMinio
from own_pictures import paint, painted
from s3_wire import Answer, Request, Wire, refusal, wire

from model.data.errors import DataAwayError
from model.data.own.gather import Gathered, gather
from model.data.own.places.bucket import Bucket
from model.data.own.places.manifest import Manifest
from model.data.own.places.opening import opened
from model.data.own.wishes import Wishes
from model.data.remote import patience, s3_client, s3_data
from model.data.remote.s3_data import look

pytestmark = pytest.mark.slow

AfterListing = Callable[..., None]

FILES = painted({"cat": 30, "owl": 30})
LARGE = bytes(range(256)) * 20_000


def put(minio: Minio, bucket: str, files: dict[str, bytes]) -> None:
    client, name = minio.client(), bucket.removeprefix("s3://")
    for key, data in files.items():
        client.put_object(Bucket=name, Key=key, Body=data)


def remove(minio: Minio, bucket: str, key: str) -> None:
    minio.client().delete_object(Bucket=bucket.removeprefix("s3://"), Key=key)


def digests(gathered: Gathered) -> dict[str, bytes]:
    return {picture.name: picture.digest for picture in gathered.pictures}


WHOLE = {name: sha256(data).digest() for name, data in FILES.items()}


@pytest.fixture
def address(bucket: str, minio: Minio) -> str:
    """Class folders below `photos`."""
    put(minio, bucket, {f"photos/{name}": data for name, data in FILES.items()})
    return f"{bucket}/photos"


@pytest.fixture
def at_once(monkeypatch: pytest.MonkeyPatch) -> None:
    """What is asked again is asked again at once, and by nobody but `Patience`."""
    monkeypatch.setattr(s3_client, "_ATTEMPTS", 1)
    monkeypatch.setattr(patience, "_wait", lambda tries, stop: None)


@pytest.fixture
def after_listing(monkeypatch: pytest.MonkeyPatch) -> AfterListing:
    """Has something done between listing a bucket and reading it, once."""

    def arm(act: Callable[[], object], kind: Any = Bucket) -> None:
        listing, acts = kind.listing, [act]

        def listed(self: Any) -> Any:
            found = listing(self)
            while acts:
                acts.pop()()
            return found

        monkeypatch.setattr(kind, "listing", listed)

    return arm


@pytest.fixture
def wired(minio: Minio, monkeypatch: pytest.MonkeyPatch) -> Iterator[Wire]:
    """What is said to the bucket."""
    with wire(minio.port) as between:
        monkeypatch.setenv("AWS_ENDPOINT_URL", between.url)
        yield between


def reads(between: Wire) -> list[Request]:
    return [request for request in between.requests if request.method == "GET" and "list" not in request.path]


def test_an_s3_that_is_started_anew_meanwhile_is_waited_for(
    start_minio: StartMinio,
    wishes: Wishes,
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
) -> None:
    minio = start_minio()
    for name, value in minio.environment().items():
        monkeypatch.setenv(name, value)
    bucket = minio.make_bucket()
    put(minio, bucket, FILES)
    monkeypatch.setattr(s3_client, "_ATTEMPTS", 1)
    monkeypatch.setattr(patience, "_SILENT_SECONDS", 0)
    read, went = s3_data.go_on, iter(range(len(FILES)))

    def stopped_midway(*arguments: Any) -> None:
        if next(went, None) == 20:
            minio.stop()
        read(*arguments)

    wait, minio_lock = patience._wait, threading.Lock()

    def started_again(*arguments: Any) -> None:
        with minio_lock:
            if minio.process is None:
                minio.start()
        wait(*arguments)

    monkeypatch.setattr(s3_data, "go_on", stopped_midway)
    monkeypatch.setattr(patience, "_wait", started_again)
    assert digests(gather(f"s3://{bucket}", wishes)) == WHOLE
    assert [
        record.message for record in caplog.records if "it is waited for, 5 minutes at most" in record.message
    ]
    assert [record.message for record in caplog.records if "answers again, after" in record.message]


def test_one_that_stays_away_is_given_up(
    start_minio: StartMinio, wishes: Wishes, monkeypatch: pytest.MonkeyPatch
) -> None:
    minio = start_minio()
    for name, value in minio.environment().items():
        monkeypatch.setenv(name, value)
    bucket = minio.make_bucket()
    put(minio, bucket, FILES)
    monkeypatch.setattr(s3_client, "_ATTEMPTS", 1)
    monkeypatch.setattr(patience, "_AWAY_SECONDS", 0)
    with opened(f"s3://{bucket}") as place:
        files = place.listing().files
        minio.stop()
        (_, read), *_ = place.read(files)
        with pytest.raises(
            DataAwayError,
            match=r"does not answer \(EndpointConnectionError\); check AWS_ENDPOINT_URL and the network, "
            r"then try again; it was waited for 5 minutes; the same command goes on where this one stopped\.",
        ):
            read()


def test_who_stops_reading_does_not_wait_for_an_s3_that_is_away(
    start_minio: StartMinio, monkeypatch: pytest.MonkeyPatch
) -> None:
    minio = start_minio()
    for name, value in minio.environment().items():
        monkeypatch.setenv(name, value)
    bucket = minio.make_bucket()
    put(minio, bucket, FILES)
    monkeypatch.setattr(s3_client, "_ATTEMPTS", 1)
    woken: list[bool] = []

    def wait(tries: int, stop: threading.Event) -> None:
        woken.append(stop.wait(20))
        assert woken[-1]  # else it would wait on

    monkeypatch.setattr(patience, "_wait", wait)
    read, first_is_read = s3_data.go_on, threading.Event()

    def stopped(s3: object, name: str, key: str, *rest: Any) -> None:
        if key != min(FILES):
            first_is_read.wait()
            minio.stop()
        read(s3, name, key, *rest)
        first_is_read.set()

    monkeypatch.setattr(s3_data, "go_on", stopped)
    with opened(f"s3://{bucket}") as place:
        reading = cast("Generator[Any]", place.read(place.listing().files))
        next(reading)
        reading.close()
    assert all(woken)


@pytest.fixture
def cut(wired: Wire, monkeypatch: pytest.MonkeyPatch) -> Iterator[CutProxy]:
    """A wire to cut, before the one that is listened to."""
    proxy = CutProxy(int(wired.url.rpartition(":")[2]))
    monkeypatch.setenv("AWS_ENDPOINT_URL", f"http://127.0.0.1:{proxy.port}")
    yield proxy
    proxy.close()


def test_an_object_goes_on_where_it_was_cut(
    bucket: str, minio: Minio, wired: Wire, cut: CutProxy, at_once: None
) -> None:
    put(minio, bucket, {"large": LARGE})
    address = look(f"{bucket}/large")
    listed = address.objects["large"]
    cut.arm(Cut(2, 3_000_000))
    assert address.read("large", listed, len(LARGE)) == (LARGE, listed)
    first, second = reads(wired)
    assert "Range" not in first.headers
    begun = int(second.headers["Range"].removeprefix("bytes=").removesuffix("-"))
    assert 1_900_000 < begun < 3_000_000
    assert second.headers["If-Match"] == f'"{listed.etag}"'


def test_an_object_that_changes_in_the_middle_is_not_mixed(
    bucket: str, minio: Minio, wired: Wire, cut: CutProxy, at_once: None, monkeypatch: pytest.MonkeyPatch
) -> None:
    put(minio, bucket, {"large": LARGE})
    address = look(f"{bucket}/large")
    other = LARGE[::-1]
    monkeypatch.setattr(patience, "_wait", lambda tries, stop: put(minio, bucket, {"large": other}))
    cut.arm(Cut(2, 3_000_000))
    data, now = address.read("large", address.objects["large"], len(LARGE))
    assert data == other
    assert now == look(f"{bucket}/large").objects["large"]


def test_an_s3_that_knows_neither_ranges_nor_conditions(
    bucket: str, minio: Minio, wired: Wire, cut: CutProxy, at_once: None
) -> None:
    put(minio, bucket, {"large": LARGE, "small": b"old"})
    address = look(f"{bucket}/")
    put(minio, bucket, {"small": b"new"})

    def ignorant(request: Request) -> Answer | None:
        if request.method != "GET" or "list" in request.path:
            return None
        name = bucket.removeprefix("s3://")
        key = request.path.rpartition("/")[2]
        said = minio.client().get_object(Bucket=name, Key=key)
        return Answer(200, said["Body"].read(), headers={"ETag": said["ETag"]})

    wired.decide = ignorant
    cut.arm(Cut(2, 3_000_000))
    assert address.read("large", address.objects["large"], len(LARGE))[0] == LARGE
    data, now = address.read("small", address.objects["small"], len(LARGE))
    assert (data, now.etag != address.objects["small"].etag) == (b"new", True)


def test_throttling_is_waited_out(address: str, wired: Wire, wishes: Wishes, at_once: None) -> None:
    refused: dict[str, int] = {}

    def throttled(request: Request) -> Answer | None:
        refused[request.path] = refused.get(request.path, 0) + 1
        if "list" in request.path or refused[request.path] > 3:
            return None
        return refusal(503, "SlowDown", "Please reduce your request rate.")

    wired.decide = throttled
    assert digests(gather(address, wishes)) == WHOLE


def test_an_object_that_changed_is_named_and_read_as_it_is_now(
    address: str,
    bucket: str,
    minio: Minio,
    wired: Wire,
    wishes: Wishes,
    caplog: pytest.LogCaptureFixture,
    after_listing: AfterListing,
) -> None:
    other = paint(777)
    after_listing(lambda: put(minio, bucket, {"photos/owl/3.png": other}))
    assert digests(gather(address, wishes)) == WHOLE | {"owl/3.png": sha256(other).digest()}
    said = {record.message for record in caplog.records if record.levelno == logging.WARNING}
    assert said == {
        f"{address}: 1 object changed while it was read, and is taken as it is now: owl/3.png.",
    }
    wired.requests.clear()
    assert digests(gather(address, wishes))["owl/3.png"] == sha256(other).digest()
    assert reads(wired) == []


def test_an_object_that_is_removed_is_named_and_read_when_it_is_back(
    address: str,
    bucket: str,
    minio: Minio,
    wishes: Wishes,
    caplog: pytest.LogCaptureFixture,
    after_listing: AfterListing,
) -> None:
    after_listing(lambda: remove(minio, bucket, "photos/owl/3.png"))
    gathered = gather(address, wishes)
    assert digests(gathered) == {name: digest for name, digest in WHOLE.items() if name != "owl/3.png"}
    assert [(left.name, left.reason, left.detail) for left in gathered.left_out] == [
        ("owl/3.png", "broken", "It was removed before it was read."),
    ]
    assert "1 object was removed before it was read, and is left out: owl/3.png." in caplog.text
    put(minio, bucket, {"photos/owl/3.png": FILES["owl/3.png"]})
    assert digests(gather(address, wishes)) == WHOLE


def test_an_object_that_grows_too_large_is_left_out(
    address: str,
    bucket: str,
    minio: Minio,
    wishes: Wishes,
    monkeypatch: pytest.MonkeyPatch,
    after_listing: AfterListing,
) -> None:
    monkeypatch.setattr("model.data.own.places.objects.MOST_BYTES", 1_000_000)
    after_listing(lambda: put(minio, bucket, {"photos/owl/3.png": LARGE}))
    assert [left.name for left in gather(address, wishes).left_out] == ["owl/3.png"]


def test_a_session_that_ends_midway(address: str, wired: Wire, wishes: Wishes, at_once: None) -> None:
    def ended(request: Request) -> Answer | None:
        if len(reads(wired)) < 20:
            return None
        return refusal(400, "ExpiredToken", "The provided token has expired.")

    wired.decide = ended
    with pytest.raises(
        DataAwayError,
        match=r"session .* has ended .*start again; the same command goes on where this one stopped\.",
    ):
        gather(address, wishes)


def test_a_manifest_reads_objects_as_a_bucket_does(
    address: str,
    bucket: str,
    minio: Minio,
    wishes: Wishes,
    wired: Wire,
    caplog: pytest.LogCaptureFixture,
    after_listing: AfterListing,
) -> None:
    text = "\n".join(["image,label", *(f"{name},{name.partition('/')[0]}" for name in FILES)])
    put(minio, bucket, {"photos/m.csv": text.encode()})
    other = paint(778)

    def changed() -> None:
        put(minio, bucket, {"photos/owl/3.png": other})
        remove(minio, bucket, "photos/cat/1.png")

    after_listing(changed, Manifest)
    gathered = gather(f"{address}/m.csv", wishes)
    assert digests(gathered)["owl/3.png"] == sha256(other).digest()
    assert [left.name for left in gathered.left_out] == ["cat/1.png"]
    assert "owl/3.png." in caplog.text
    assert len(caplog.records) == 2
    put(minio, bucket, {"photos/cat/1.png": FILES["cat/1.png"]})
    wired.requests.clear()
    assert digests(gather(f"{address}/m.csv", wishes)) == WHOLE | {"owl/3.png": sha256(other).digest()}
    assert [request.path.rpartition("/")[2] for request in reads(wired)] == ["m.csv", "1.png"]


def test_an_archive_that_changes_while_it_is_fetched_is_not_fetched_again(
    bucket: str, minio: Minio, wishes: Wishes, wired: Wire, caplog: pytest.LogCaptureFixture
) -> None:
    put(minio, bucket, {"photos.tar": tar_of(FILES)})
    more = FILES | {"cat/more.png": paint(779)}

    def changed(request: Request) -> Answer | None:
        if request.method == "GET" and "list" not in request.path:
            wired.decide = None
            put(minio, bucket, {"photos.tar": tar_of(more)})
        return None

    wired.decide = changed
    assert set(digests(gather(f"{bucket}/photos.tar", wishes))) == set(more)
    assert "'photos.tar' in s3://" in caplog.text
    wired.requests.clear()
    assert set(digests(gather(f"{bucket}/photos.tar", wishes))) == set(more)
    assert reads(wired) == []


def tar_of(files: dict[str, bytes]) -> bytes:
    packed = io.BytesIO()
    with tarfile.open(fileobj=packed, mode="w") as archive:
        for name, data in files.items():
            member = tarfile.TarInfo(name)
            member.size = len(data)
            archive.addfile(member, io.BytesIO(data))
    return packed.getvalue()
