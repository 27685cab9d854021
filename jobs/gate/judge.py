"""Judge a version: fetch it and what it is compared with, let all answer the test images, apply the gate."""

import os
import statistics
import tempfile
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from export.errors import ExportError
from export.store.lease import Lease
from export.store.ledger import Entry, champions
from export.store.manifest import Manifest
from export.store.versions import Store
from jobs.console import say
from jobs.errors import MistakeError, RefusedError
from jobs.gate import rules, thumbnails
from jobs.gate.answers import Answers, by_names, figures
from jobs.gate.attached import attach_verdict
from jobs.gate.history import expected_flips
from jobs.gate.power import Floors, resolution
from jobs.gate.verdict import Check, Cost, Flips, Resolved, Verdict
from jobs.known import graph_answers
from jobs.settings import Settings
from model.contract import DEFAULT_CONTRACT, INPUT_NAME, VERSION_WIDTH, Contract
from model.data.dataset import Split
from model.images.decode import DECODER_VERSION

_TIMED_IMAGES = 64


Tests = Callable[[Contract], Split]
"""Gives the test pictures decoded for a contract: at its size, by its fit, always the same ones in one order.

The labels are class ids of the candidate's list, by whose contract it is asked first.
"""


def fixed(test: Split) -> Tests:
    """The test images as they are, for versions that all take pictures of this size."""

    def tests(contract: Contract) -> Split:
        side = int(test.images.shape[1])
        if contract.size != side:
            raise MistakeError(
                f"A version takes images of {contract.size} pixels and the test images have {side}; name "
                "data that can be decoded again with --data."
            )
        return test

    return tests


def judge(store: Store, version: int, tests: Tests, settings: Settings) -> Verdict:
    """Judge a version against what is served now, and put the verdict beside it.

    Args:
        store: Where versions and ledger are.
        version: The candidate.
        tests: Gives images that no training has seen, the same for all versions, at each one's size.
        settings: Who judges; the floor of a first version.

    Raises:
        StoreError: A version cannot be fetched.
        RefusedError: A version cannot be run.
        MistakeError: The test images cannot be had for a version's contract, or none is of its classes.
        LeaseHeldError: Someone else judges it now.
    """
    with Lease(store.blobs, judging(version), holder=settings.who):
        return _judge(store, version, tests, settings)


def judging(version: int) -> str:
    """The name of the lease that is held while a version is judged, so that it is not pruned meanwhile."""
    return f"judge-{version:0{VERSION_WIDTH}d}"


def _judge(store: Store, version: int, tests: Tests, settings: Settings) -> Verdict:
    entries = store.ledger.entries()
    served = entries[-1].version if entries else None
    manifest = store.manifest(version)
    contract = manifest.contract
    test = tests(contract)
    labels, classes = test.labels, test.classes
    with tempfile.TemporaryDirectory(prefix="cnn-image-judge-") as scratch:
        folder = Path(scratch)
        bench = _Bench(store, folder, tests, test, manifest.class_list)
        candidate = bench.answers(version)
        if not candidate.knows(labels).any():
            raise MistakeError(
                f"None of the test images is of a class that version {version} has learned, such as "
                f"{contract.classes[contract.learned[0]]!r}; name its data with --data."
            )
        graph = store.fetch(version, folder) / manifest.classifier_file
        cost = Cost(milliseconds=_milliseconds(graph, test), bytes=graph.stat().st_size)
        champion = bench.answers(served) if served is not None else None
        past = [] if champion is None else [champion, *_past(bench, entries, served)]
    pictures: dict[str, bytes] = {}
    best: Answers | None = None
    flips: Flips | None = None
    if champion is None:
        resolved = resolution(int(candidate.knows(labels).sum()), test.groups)
        floors = _floors(contract, candidate, test, settings)
        checks = rules.first_checks(candidate, labels, floors, classes=classes, groups=test.groups)
    else:
        best = _best(past, candidate, labels)
        flips = rules.flips(candidate, champion, labels, test.groups)
        shared = rules.compared(candidate, champion, labels)
        together = None if test.groups is None else test.groups[shared]
        resolved = resolution(int(shared.sum()), together, expected_flips(store, entries, version))
        theirs = store.manifest(champion.version)
        checks = rules.successor_checks(
            candidate,
            champion,
            best,
            labels,
            classes=classes,
            champions=[*classes, *theirs.classes[len(classes) :]],
            groups=test.groups,
            margin=resolved.margin,
        )
        if manifest.class_list != theirs.class_list:
            checks = _of_a_new_list(checks, manifest, champion.version)
        pictures["flips.png"] = thumbnails.flipped(test, candidate, champion)
    verdict = Verdict(
        version=version,
        at=datetime.now(UTC),
        by=settings.who,
        candidate=figures(candidate, labels, classes),
        champion=figures(champion, labels, classes) if champion else None,
        best=best.version if best else None,
        flips=flips,
        cost=cost,
        test_digest=test.digest,
        test_images=len(test),
        weak=resolved.weak,
        decoder_version=DECODER_VERSION,
        checks=tuple(checks),
        resolved=Resolved(
            margin=resolved.margin,
            smallest=resolved.smallest,
            flips=resolved.expected.flips,
            verdicts=resolved.expected.verdicts,
            images=resolved.images,
            groups=resolved.groups,
        ),
    )
    attach_verdict(store, verdict, pictures)
    return verdict


@dataclass(frozen=True)
class _Bench:
    """What answers are asked of: versions of a store, and the test images at each one's size."""

    store: Store
    folder: Path
    tests: Tests
    test: Split
    class_list: int

    def answers(self, version: int) -> Answers:
        """A version's answers, by the class ids of the test images."""
        manifest = self.store.manifest(version)
        contract = manifest.contract
        test = self.tests(contract)
        if not np.array_equal(test.labels, self.test.labels):
            raise ValueError(f"version {version} got other test pictures than the candidate")
        fetched = self.store.fetch(version, self.folder)
        threads = len(os.sched_getaffinity(0))
        probs = graph_answers(fetched, version, test.images, threads=threads, model=contract.model)
        answers = Answers(version, probs, contract.unlearned)
        if manifest.class_list == self.class_list:
            return answers
        return by_names(self.test.classes, answers, contract.classes)


def _of_a_new_list(checks: list[Check], manifest: Manifest, champion: int) -> list[Check]:
    """The checks of a version of another list of classes than the champion's, which may drop classes."""
    told = Check(
        name="list of classes",
        value=manifest.class_list,
        limit=manifest.class_list,
        passed=True,
        meaning=f"new: ids may mean other classes than in version {champion}; --new-classes promotes it",
    )
    return [*(check for check in checks if check.name != "classes lost"), told]


def _floors(contract: Contract, candidate: Answers, test: Split, settings: Settings) -> Floors:
    """The floors of a first version: those of the default, or of the settings; else by chance."""
    by_chance = Floors.of(test.labels, candidate.learned, len(test.classes))
    given = settings.model_fields_set
    default = contract.classes == DEFAULT_CONTRACT.classes
    return Floors(
        settings.gate_floor if default or "gate_floor" in given else by_chance.accuracy,
        np.full(len(test.classes), settings.gate_class_floor)
        if default or "gate_class_floor" in given
        else by_chance.classes,
    )


def _best(past: Sequence[Answers], candidate: Answers, labels: NDArray[np.int64]) -> Answers:
    """The most accurate of the versions that served, on the classes that the candidate knows too."""

    def lead(answers: Answers) -> float:
        shared = rules.compared(candidate, answers, labels)
        if not shared.any():
            return -1.0
        ahead = answers.right(labels)[shared].astype(np.int64) - candidate.right(labels)[shared]
        return float(ahead.mean())

    return max(past, key=lead)


def _past(bench: _Bench, entries: Sequence[Entry], served: int | None) -> Iterator[Answers]:
    """The answers of all earlier champions that still exist; one that is broken is said and left out."""
    existing = set(bench.store.numbers()) - {served}
    for number in champions(entries):
        if number in existing:
            try:
                yield bench.answers(number)
            except (ExportError, RefusedError) as error:
                say(f"Drift is not measured against version {number}: {error}")


def _milliseconds(graph: Path, test: Split) -> float:
    import onnxruntime as ort

    options = ort.SessionOptions()
    options.intra_op_num_threads = 1
    session = ort.InferenceSession(graph, options, providers=["CPUExecutionProvider"])
    took = []
    for image in test.images[:_TIMED_IMAGES][:, None]:
        began = time.perf_counter()
        session.run(None, {INPUT_NAME: image})
        took.append(time.perf_counter() - began)
    return statistics.median(took) * 1e3
