"""`cnn-image score` out of a bucket into one: odd keys, markers, what changes, an S3 that goes away."""

import io
import itertools
import threading
import time
from typing import Any

import pyarrow.parquet as pq
import pytest
from machine import wait_until
from minio_server import Minio, StartMinio
from own_pictures import paint
from s3_wire import Answer, Request, refusal, wire
from scoring_home import Scorer

pytestmark = pytest.mark.slow

FILES = {f"{'ab'[number % 2]}/{number:03}.png": paint(number % 20) for number in range(60)}
ODD = {
    "tab\there.png": paint(1),
    "100% ü+&#?=.png": paint(2),
    "line\nbreak.png": paint(3),
    "a/b c.png": paint(4),
    "back\\slash": paint(5),
    " blank before and after ": paint(5),
    "e\u0301 \U0001f600 \u2028.png": paint(5),
    "%2F%25\x01\r.png": paint(5),
    f"{'long' * 60}.png": paint(5),
}


def fill(minio: Minio, bucket: str, files: dict[str, bytes]) -> None:
    client = minio.client()
    for name, data in files.items():
        client.put_object(Bucket=bucket, Key=f"in/{name}", Body=data)


def table(minio: Minio, bucket: str, prefix: str) -> list[dict[str, Any]]:
    """What all shards below a prefix hold."""
    client, rows = minio.client(), []
    for item in client.list_objects_v2(Bucket=bucket, Prefix=f"{prefix}part-").get("Contents", ()):
        shard = client.get_object(Bucket=bucket, Key=item["Key"])["Body"].read()
        rows += pq.read_table(io.BytesIO(shard)).to_pylist()
    return rows


def keys(minio: Minio, bucket: str, prefix: str) -> list[str]:
    listed = minio.client().list_objects_v2(Bucket=bucket, Prefix=prefix)
    return [item["Key"] for item in listed.get("Contents", ())]


def test_a_bucket_becomes_a_table_in_another(scorer: Scorer, minio: Minio, bucket: str) -> None:
    name = bucket.removeprefix("s3://")
    files = FILES | ODD | {"empty.jpg": b"", "page.jpg": b"<html>"}
    fill(minio, name, files | {"marker/": b""} | {"full/": paint(6)})
    files["full/"] = paint(6)  # it ends in a slash and is a picture all the same
    out = f"{bucket}/out"
    summary = scorer.summary(f"{bucket}/in", "--out", out)
    rows = {row["image"]: row for row in table(minio, name, "out/")}
    assert sorted(rows) == sorted(files)
    assert summary["answered"] == len(FILES | ODD) + 1
    same = {row["image"]: row for row in rows.values() if files[row["image"]] == paint(1)}
    assert len(same) == 4  # whatever it is called
    assert len({tuple(row["probabilities"]) for row in same.values()}) == 1
    # What is not there any more, or another by now, is told apart from what was listed.
    client = minio.client()
    for item in client.list_objects_v2(Bucket=name, Prefix="out/part-")["Contents"]:
        client.delete_object(Bucket=name, Key=item["Key"])
    client.put_object(Bucket=name, Key="in/a/000.png", Body=paint(999))
    client.delete_object(Bucket=name, Key="in/b/001.png")
    scorer.run(f"{bucket}/in", "--out", out)
    rows = {row["image"]: row for row in table(minio, name, "out/")}
    assert sorted(rows) == sorted(files)
    assert {image: row["error_code"] for image, row in rows.items() if row["error_code"]} == {
        "a/000.png": "changed",
        "b/001.png": "missing",
        "empty.jpg": "not_an_image",
        "page.jpg": "not_an_image",
    }


def test_an_s3_that_goes_away_for_a_while_is_waited_for(
    scorer: Scorer, start_minio: StartMinio, monkeypatch: pytest.MonkeyPatch
) -> None:
    minio = start_minio()
    for variable, value in minio.environment().items():
        monkeypatch.setenv(variable, value)
    bucket = minio.make_bucket()
    files = {f"{number:04}.png": paint(number % 20) for number in range(1_200)}
    fill(minio, bucket, files)
    process = scorer.start(f"s3://{bucket}/in", "--out", f"s3://{bucket}/out")
    wait_until(lambda: len(table(minio, bucket, "out/")) > 0, "the first shard")
    minio.stop()
    assert process.poll() is None
    back = threading.Timer(8, minio.start)
    back.start()
    _, said = process.communicate(timeout=120)
    back.join()
    assert process.returncode == 0, said
    assert "is waited for" in said
    assert sorted(row["image"] for row in table(minio, bucket, "out/")) == sorted(files)
    assert not [row for row in table(minio, bucket, "out/") if row["error_code"]]


def test_an_s3_that_is_slow_and_refuses_every_third_request_gives_the_whole_table(
    scorer: Scorer, minio: Minio, bucket: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    name = bucket.removeprefix("s3://")
    fill(minio, name, FILES | ODD)
    counted = itertools.count()
    busy = refusal(503, "SlowDown", "Please reduce your request rate.")

    def decide(request: Request) -> Answer | None:
        time.sleep(0.01)  # its answers take their time
        return busy if next(counted) % 3 == 1 else None

    with wire(minio.port, decide) as between:
        monkeypatch.setenv("AWS_ENDPOINT_URL", between.url)
        summary = scorer.summary(f"{bucket}/in", "--out", f"{bucket}/out")
    assert summary["answered"] == summary["pictures"] == len(FILES | ODD)
    assert sorted(row["image"] for row in table(minio, name, "out/")) == sorted(FILES | ODD)


def test_two_scorings_into_one_place_have_each_picture_once(
    scorer: Scorer, minio: Minio, bucket: str
) -> None:
    name = bucket.removeprefix("s3://")
    files = {f"{number:04}.png": paint(number % 20) for number in range(600)}
    fill(minio, name, files)
    both = [scorer.start(f"{bucket}/in", "--out", f"{bucket}/out", "--workers", "1") for _ in range(2)]
    for process in both:
        _, said = process.communicate(timeout=120)
        assert process.returncode == 0, said
    rows = table(minio, name, "out/")
    assert sorted(row["image"] for row in rows) == sorted(files)
    plans = [key for key in keys(minio, name, "out/") if key.startswith("out/_plan")]
    assert plans.count("out/_plan.json") == 1


def test_what_is_new_in_a_bucket_the_first_and_some_that_are_drawn(
    scorer: Scorer, minio: Minio, bucket: str
) -> None:
    name = bucket.removeprefix("s3://")
    fill(minio, name, FILES)

    def scored(out: str, *flags: str) -> list[str]:
        scorer.run(f"{bucket}/in", "--out", f"{bucket}/{out}", "--workers", "1", *flags)
        return [row["image"] for row in table(minio, name, f"{out}/")]

    assert scored("first", "--limit", "5") == sorted(FILES)[:5]
    drawn = scored("drawn", "--sample", "5", "--only-new", f"{bucket}/first")
    assert len(set(drawn)) == 5
    assert not set(drawn) & set(sorted(FILES)[:5])


def test_no_right_to_write_is_said_before_any_work(
    scorer: Scorer, minio: Minio, bucket: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    name = bucket.removeprefix("s3://")
    fill(minio, name, {"a.png": paint(1)})
    everything = [f"arn:aws:s3:::{name}", f"arn:aws:s3:::{name}/*"]
    may = {"Effect": "Allow", "Action": ["s3:GetObject", "s3:ListBucket"], "Resource": everything}
    for variable, value in minio.session(may).items():
        monkeypatch.setenv(variable, value)
    (sentence,) = scorer.run(f"{bucket}/in", "--out", f"{bucket}/out", code=2).strip().splitlines()
    assert "s3:PutObject" in sentence
    assert not table(minio, name, "out/")
