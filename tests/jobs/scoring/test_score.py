"""`cnn-image score` on real files: each picture once, with the right answer or why it has none."""

import contextlib
import functools
import io
import os
import random
import signal
import subprocess
import tarfile
import zipfile
from pathlib import Path
from typing import Any

import httpx
import numpy as np
import pandas as pd
import psutil
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from machine import wait_until
from own_pictures import paint
from scoring_home import Scorer, rows_of
from serving import RunningTransformer, SmallModel

from model.images.decode import decode_image
from model.images.errors import ImageError

GOLDEN = Path(__file__).parents[2] / "model" / "images" / "golden"
BROKEN = {
    "empty.jpg": b"",
    "page.jpg": b"<!doctype html>",
    "cut.jpg": paint(1, 200, "JPEG")[:900],
    "old.psd": b"8BPS" + bytes(40),
}
PICTURES = {f"{'ab'[number % 2]}/{number:03}.png": paint(number) for number in range(40)}
"""Some with names that a shell, a URL or a table could trip over."""
ODD = {"a/tab\there.png": paint(100), "b/100% ü & 'x'#?.png": paint(101), "b/line\nbreak.png": paint(102)}


def lay(folder: Path, files: dict[str, bytes]) -> Path:
    for name, data in files.items():
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_bytes(data)
    return folder


@functools.cache
def due(model: SmallModel, data: bytes) -> Any:
    """What the model answers, or what the decoder says."""
    try:
        return model.probs(decode_image(data)[None])[0]
    except ImageError as error:
        return error


def check(rows: list[dict[str, Any]], files: dict[str, bytes], model: SmallModel) -> None:
    """Each file once, with the model's answer or the decoder's refusal."""
    assert sorted(row["image"] for row in rows) == sorted(files)
    for row in rows:
        assert row["version"] == 7
        probs = due(model, files[row["image"]])
        if isinstance(probs, ImageError):
            assert (row["error_code"], row["error"]) == (probs.code, str(probs))
            assert row["class_id"] is row["class_name"] is row["confidence"] is row["probabilities"] is None
            continue
        assert row["error_code"] is row["error"] is None
        np.testing.assert_allclose(row["probabilities"], probs, rtol=0, atol=1e-5)
        assert row["class_id"] == int(probs.argmax())
        assert row["class_name"] == model.contract.classes[row["class_id"]]
        assert row["confidence"] == max(row["probabilities"])


@pytest.mark.slow
def test_a_folder_becomes_one_table(scorer: Scorer, small_model: SmallModel) -> None:
    files = PICTURES | ODD | BROKEN
    source = lay(scorer.home / "source", files | {".hidden/x.png": b"", "a/Thumbs.db": b""})
    summary = scorer.summary("source", "--out", "out")
    out = scorer.home / "out"
    check(rows_of(out), files, small_model)
    assert len(pd.read_parquet(out)) == len(files)
    assert summary["pictures"] == len(files)
    assert summary["answered"] == sum(summary["classes"].values()) == len(PICTURES | ODD)
    assert {code: kind["pictures"] for code, kind in summary["errors"].items()} == {
        "not_an_image": 2,
        "broken_image": 1,
        "unsupported_format": 1,
    }
    least = [row["confidence"] for row in summary["least_certain"]]
    assert least == sorted(row["confidence"] for row in rows_of(out) if row["confidence"])[: len(least)]
    metadata = pq.read_schema(out / "part-00000.parquet").metadata
    manifest = scorer.store.manifest(7)
    assert metadata[b"cnn_image.version"] == b"7"
    assert metadata[b"cnn_image.graph_sha256"].decode() == manifest.files[manifest.classifier_file].sha256
    assert metadata[b"cnn_image.source"].decode() == str(source)
    page = (out / "_summary.html").read_text()
    assert "43 of 47 pictures answered" in page
    assert page.count("<figure>") == len(least)
    # Done again nothing is scored again, and nothing changes.
    before = {path: path.stat().st_mtime_ns for path in out.rglob("*")}
    assert scorer.summary("source", "--out", "out")["answered"] == len(PICTURES | ODD)
    assert {path: path.stat().st_mtime_ns for path in out.rglob("*") if ".scratch" not in path.parts} == {
        path: stamp for path, stamp in before.items() if ".scratch" not in path.parts
    }


def packed(kind: str, home: Path, files: dict[str, bytes]) -> tuple[str, str | None]:
    """The same pictures in another kind of source, and what stands on standard input."""
    if kind == "zip":
        with zipfile.ZipFile(home / "s.zip", "w", zipfile.ZIP_DEFLATED) as archive:
            for name, data in files.items():
                archive.writestr(name, data)
        return "s.zip", None
    if kind in {"tar", "tar.gz"}:
        with tarfile.open(home / f"s.{kind}", "w:gz" if kind == "tar.gz" else "w") as tar:
            for name, data in files.items():
                info = tarfile.TarInfo(name)
                info.size = len(data)
                tar.addfile(info, io.BytesIO(data))
        return f"s.{kind}", None
    if kind == "parquet":
        table = pa.table({"image": pa.array([{"bytes": d, "path": n} for n, d in files.items()])})
        pq.write_table(table, home / "s.parquet", row_group_size=7)
        return "s.parquet", None
    lay(home, files)
    if kind == "csv":
        (home / "s.csv").write_text("image\n" + "".join(f"{name}\n" for name in files))
        return "s.csv", None
    return "-", "".join(f"{name}\n" for name in files)


@pytest.mark.slow
@pytest.mark.parametrize("kind", ["zip", "tar", "tar.gz", "parquet", "csv", "stdin"])
def test_every_kind_of_source_gives_the_same_table(
    kind: str, scorer: Scorer, small_model: SmallModel
) -> None:
    files = PICTURES | BROKEN
    source, stdin = packed(kind, scorer.home, files)
    summary = scorer.summary(source, "--out", "out", "--workers", "1", stdin=stdin)
    assert summary["answered"] == len(PICTURES)
    check(rows_of(scorer.home / "out"), files, small_model)


@pytest.mark.slow
def test_every_format_is_answered_as_by_the_service(scorer: Scorer, transformer: RunningTransformer) -> None:
    scorer.run(str(GOLDEN), "--out", "out")
    rows = rows_of(scorer.home / "out")
    assert len(rows) == sum(path.is_file() for path in GOLDEN.rglob("*"))
    answered = 0
    with httpx.Client(base_url=transformer.url, timeout=60) as client:
        for row in rows:
            answer = client.post("/predict", files={"file": (GOLDEN / row["image"]).read_bytes()})
            if answer.status_code != 200:
                assert row["error_code"] == answer.json()["code"], row
                continue
            served = answer.json()
            np.testing.assert_allclose(row["probabilities"], served["probabilities"], rtol=0, atol=1e-5)
            assert row["class_name"] == served["class_name"]
            answered += 1
    assert answered > 150


@pytest.mark.slow
def test_killed_twenty_times_and_begun_twice_it_has_each_picture_once(
    scorer: Scorer, small_model: SmallModel
) -> None:
    painted = [paint(number, 100) for number in range(50)]
    files = {f"{number:05}.png": painted[number % 50] for number in range(32 * 256)}  # 32 shards and more
    files |= {
        "00000.broken": b"",
        "00300.broken": b"",
    }  # so that pictures of two shards are answered together
    lay(scorer.home / "source", files)
    out, chance, arguments = scorer.home / "out", random.Random(22), ("source", "--out", "out", "--workers")

    def more_than(before: int, *processes: subprocess.Popen[str]) -> bool:
        return written(out) > before or any(process.poll() is not None for process in processes)

    killed = 0
    for _ in range(10):  # two at a time: one at any time of its start, one when something is written
        before, moment = written(out), chance.uniform(0.1, 2)
        both = [scorer.start(*arguments, "1") for _ in range(2)]
        wait_until(lambda: used_seconds(both[0].pid) > moment or more_than(before, *both), "its time")  # noqa: B023
        killed += kill(both[0])
        wait_until(lambda: more_than(before, both[1]), "a shard")  # noqa: B023
        killed += kill(both[1])
    assert (
        killed >= 3
    )  # twenty, but for those that came to their end: the faster the machine, the more of them
    first, before = scorer.start(*arguments, "2"), written(out)
    wait_until(lambda: more_than(before, first), "a shard")
    for worker in workers_of(first.pid)[:1]:
        with contextlib.suppress(ProcessLookupError):  # it has just ended by itself
            os.kill(worker, signal.SIGKILL)
    for process in [first, scorer.start(*arguments, "2")]:
        _, said = process.communicate(timeout=120)
        assert process.returncode == 0, said
    check(rows_of(out), files, small_model)


def written(out: Path) -> int:
    """How many shards are there."""
    return len(list(out.glob("part-*")))


def used_seconds(pid: int) -> float:
    """Processor time of a process and its children: a clock that goes as slowly as the machine does."""
    used = 0.0
    with contextlib.suppress(psutil.NoSuchProcess):
        for one in (top := psutil.Process(pid), *top.children()):
            times = one.cpu_times()
            used += times.user + times.system
    return used


def kill(process: subprocess.Popen[str]) -> bool:
    """Tells whether it was in the midst of its work."""
    process.kill()
    process.communicate(timeout=60)
    assert process.returncode in {0, -signal.SIGKILL}
    return process.returncode != 0


def workers_of(pid: int) -> list[int]:
    """The worker processes of a scoring that have not ended yet."""
    children = psutil.Process(pid).children() if psutil.pid_exists(pid) else []
    return [child.pid for child in children if "spawn_main" in " ".join(child.cmdline())]


@pytest.mark.slow
def test_what_changed_since_the_plan_is_a_row_of_its_own(scorer: Scorer, small_model: SmallModel) -> None:
    source = lay(scorer.home / "source", PICTURES)
    scorer.run("source", "--out", "out")
    for shard in (scorer.home / "out").glob("part-*"):
        shard.unlink()  # as if it had been killed before the first one
    for summary in (scorer.home / "out").glob("_summary*"):
        summary.unlink()
    (source / "a/000.png").write_bytes(paint(999))
    (source / "b/001.png").unlink()
    (source / "b/new.png").write_bytes(paint(998))
    scorer.run("source", "--out", "out")
    rows = {row["image"]: row for row in rows_of(scorer.home / "out")}
    assert sorted(rows) == sorted(PICTURES)
    assert rows["a/000.png"]["error_code"] == "changed"
    assert rows["b/001.png"]["error_code"] == "missing"
    # Against this result the changed one, which has no answer, and the new one are new.
    summary = scorer.summary("source", "--out", "later", "--only-new", "out")
    assert summary["pictures"] == summary["answered"] == 2
    assert {row["image"] for row in rows_of(scorer.home / "later")} == {"a/000.png", "b/new.png"}


@pytest.mark.slow
def test_machines_of_an_indexed_job_share_the_shards(
    scorer: Scorer, small_model: SmallModel, monkeypatch: pytest.MonkeyPatch
) -> None:
    files = {f"{number:05}.png": paint(number % 20) for number in range(700)}
    lay(scorer.home / "source", files)
    arguments = ("source", "--out", "out", "--workers", "1", "--of", "2")
    monkeypatch.setenv("JOB_COMPLETION_INDEX", "1")
    scorer.run(*arguments)
    assert [path.name for path in scorer.home.glob("out/part-*")] == ["part-00001.parquet"]
    assert not (scorer.home / "out/_summary.json").exists()
    monkeypatch.setenv("JOB_COMPLETION_INDEX", "0")
    scorer.run(*arguments)
    check(rows_of(scorer.home / "out"), files, small_model)
    assert (scorer.home / "out/_summary.json").exists()


@pytest.mark.slow
def test_limit_and_sample(scorer: Scorer) -> None:
    lay(scorer.home / "source", PICTURES)
    scorer.run("source", "--out", "first", "--limit", "5", "--workers", "1")
    assert [row["image"] for row in rows_of(scorer.home / "first")] == sorted(PICTURES)[:5]
    for out in ("drawn", "again"):
        scorer.run("source", "--out", out, "--sample", "5", "--workers", "1")
    drawn = [row["image"] for row in rows_of(scorer.home / "drawn")]
    assert len(set(drawn)) == 5
    assert drawn != sorted(PICTURES)[:5]
    assert [row["image"] for row in rows_of(scorer.home / "again")] == drawn
