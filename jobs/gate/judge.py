"""Judge a version: fetch it and what it is compared with, let all answer the test images, apply the gate."""

import os
import statistics
import tempfile
import time
from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path

from export.errors import ExportError
from export.store.lease import Lease
from export.store.ledger import Entry, champions
from export.store.versions import Store
from jobs.console import say
from jobs.errors import RefusedError
from jobs.gate import rules, thumbnails
from jobs.gate.rules import Answers
from jobs.gate.verdict import Cost, Verdict, attach_verdict
from jobs.known import graph_answers
from jobs.settings import Settings
from model.contract import INPUT_NAME, MODEL_NAME, VERSION_WIDTH
from model.data.dataset import Split
from model.images.decode import DECODER_VERSION

_TIMED_IMAGES = 64


def judge(store: Store, version: int, test: Split, settings: Settings) -> Verdict:
    """Judge a version against what is served now, and put the verdict beside it.

    Args:
        store: Where versions and ledger are.
        version: The candidate.
        test: Images that no training has seen, the same for all versions.
        settings: Who judges; the floor of a first version.

    Raises:
        StoreError: A version cannot be fetched.
        RefusedError: A version cannot be run.
        LeaseHeldError: Someone else judges it now.
    """
    with Lease(store.blobs, judging(version), holder=settings.who):
        return _judge(store, version, test, settings)


def judging(version: int) -> str:
    """The name of the lease that is held while a version is judged, so that it is not pruned meanwhile."""
    return f"judge-{version:0{VERSION_WIDTH}d}"


def _judge(store: Store, version: int, test: Split, settings: Settings) -> Verdict:
    entries = store.ledger.entries()
    served = entries[-1].version if entries else None
    with tempfile.TemporaryDirectory(prefix="cnn-image-judge-") as scratch:
        folder = Path(scratch)
        candidate = _answers(store, version, folder, test)
        graph = store.fetch(version, folder) / MODEL_NAME / str(version) / "model.onnx"
        cost = Cost(milliseconds=_milliseconds(graph, test), bytes=graph.stat().st_size)
        champion = _answers(store, served, folder, test) if served is not None else None
        past = [] if champion is None else [champion, *_past(store, entries, served, folder, test)]
    mine = rules.figures(candidate, test.labels)
    pictures: dict[str, bytes] = {}
    if champion is None:
        best, flips = None, None
        checks = rules.first_checks(mine, settings.gate_floor, settings.gate_class_floor)
    else:
        best = max(past, key=lambda answers: float(answers.right(test.labels).mean()))
        flips = rules.flips(candidate, champion, test.labels)
        checks = rules.successor_checks(candidate, champion, best, test.labels)
        pictures["flips.png"] = thumbnails.flipped(test, candidate, champion)
    verdict = Verdict(
        version=version,
        at=datetime.now(UTC),
        by=settings.who,
        candidate=mine,
        champion=rules.figures(champion, test.labels) if champion else None,
        best=best.version if best else None,
        flips=flips,
        cost=cost,
        test_digest=test.digest,
        test_images=len(test),
        weak=len(test) < rules.ENOUGH_IMAGES,
        decoder_version=DECODER_VERSION,
        checks=tuple(checks),
    )
    attach_verdict(store, verdict, pictures)
    return verdict


def _past(
    store: Store, entries: list[Entry], served: int | None, folder: Path, test: Split
) -> Iterator[Answers]:
    """The answers of all earlier champions that still exist; one that is broken is said and left out."""
    existing = set(store.numbers()) - {served}
    for number in champions(entries):
        if number in existing:
            try:
                yield _answers(store, number, folder, test)
            except (ExportError, RefusedError) as error:
                say(f"Drift is not measured against version {number}: {error}")


def _answers(store: Store, version: int, folder: Path, test: Split) -> Answers:
    fetched = store.fetch(version, folder)
    threads = len(os.sched_getaffinity(0))
    return Answers(version, graph_answers(fetched, version, test.images, threads=threads))


def _milliseconds(graph: Path, test: Split) -> float:
    import onnxruntime as ort

    options = ort.SessionOptions()
    options.intra_op_num_threads = 1
    session = ort.InferenceSession(graph, options, providers=["CPUExecutionProvider"])
    took = []
    for image in test.images[:_TIMED_IMAGES, None]:
        began = time.perf_counter()
        session.run(None, {INPUT_NAME: image})
        took.append(time.perf_counter() - began)
    return statistics.median(took) * 1e3
