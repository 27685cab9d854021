"""Judging versions of other sizes, fits and classes: graphs that tell colours apart, in ONNX Runtime."""

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from onnx import TensorProto, helper
from PIL import Image

from export.store.manifest import Manifest, file_digest
from export.store.versions import Store
from jobs.errors import MistakeError, RefusedError
from jobs.gate.attached import attach_verdict, last_verdict
from jobs.gate.judge import fixed, judge
from jobs.gate.verdict import Verdict, require_passed
from jobs.settings import load_settings
from model.contract import Contract
from model.data.dataset import Split

COLOURS = {
    "red": (1, 0, 0),
    "green": (0, 1, 0),
    "blue": (0, 0, 1),
    "7": (1, 1, 0),
    "yellow": (1, 1, 0),
    "white": (1, 1, 1),
}
CONTRACT = Contract(classes=("red", "green", "blue"), model="colours")
SETTINGS = load_settings(user="a test")

Publish = Callable[..., int]


def graph(contract: Contract, confused: tuple[int, int] | None) -> bytes:
    """Answers the colour that is nearest to the image's mean; two class ids may be confused."""
    wanted = np.array([COLOURS[name] for name in contract.classes], np.float32)
    bias = -(wanted**2).sum(axis=1)
    bias[list(contract.unlearned)] = -1e4
    if confused:
        order = np.arange(len(wanted))
        order[list(confused)] = order[list(confused)][::-1]
        wanted, bias = wanted[order], bias[order]
    size, count = contract.size, len(contract.classes)
    nodes = [
        helper.make_node("Cast", ["image"], ["f"], to=TensorProto.FLOAT),
        helper.make_node("ReduceMean", ["f", "axes"], ["mean"], keepdims=0),
        helper.make_node("Gemm", ["mean", "w", "b"], ["logits"]),
        helper.make_node("Softmax", ["logits"], ["probs"]),
    ]
    made = helper.make_graph(
        nodes,
        "colours",
        [helper.make_tensor_value_info("image", TensorProto.UINT8, ["batch", size, size, 3])],
        [helper.make_tensor_value_info("probs", TensorProto.FLOAT, ["batch", count])],
        [
            helper.make_tensor("axes", TensorProto.INT64, [2], [1, 2]),
            helper.make_tensor("w", TensorProto.FLOAT, [3, count], (12 * 2 * wanted.T / 255).ravel()),
            helper.make_tensor("b", TensorProto.FLOAT, [count], 12 * bias),
        ],
    )
    model = helper.make_model(made, opset_imports=[helper.make_opsetid("", 18)], ir_version=10)
    return bytes(model.SerializeToString())


@pytest.fixture
def published(store: Store, lineage: Any) -> Publish:
    """Publishes a version that tells colours apart."""

    def published(contract: Contract, confused: tuple[int, int] | None = None, **changes: Any) -> int:
        def build(number: int, folder: Path) -> Manifest:
            for name in (contract.model, contract.filters_model):
                (folder / name / str(number)).mkdir(parents=True)
                (folder / name / str(number) / "model.onnx").write_bytes(graph(contract, confused))
                (folder / name / "config.pbtxt").write_text(f'name: "{name}"\n')
            files = {
                path.relative_to(folder).as_posix(): file_digest(path)
                for path in folder.rglob("*")
                if path.is_file()
            }
            facts = dict(lineage(contract=contract, **changes))
            return Manifest(**facts, version=number, files=files)

        return store.publish(build).version

    return published


class Pictures:
    """The same pictures at the size of each contract; counts what was asked for."""

    def __init__(self, classes: tuple[str, ...], images: int = 450, groups: int | None = None) -> None:
        rng = np.random.default_rng(0)
        self.labels = np.arange(images) % len(classes)
        wanted = np.array([COLOURS[name] for name in classes])[self.labels]
        small = (wanted[:, None, None] * 200 + rng.integers(0, 56, (images, 8, 8, 3))).astype(np.uint8)
        self._pictures = [Image.fromarray(pixels) for pixels in small]
        self._classes, self._groups = classes, None if groups is None else np.arange(images) % groups
        self.asked: list[Contract] = []
        self._at: dict[int, Split] = {}

    def __call__(self, contract: Contract) -> Split:
        self.asked.append(contract)
        side = contract.size
        if side not in self._at:
            images = np.stack([np.asarray(picture.resize((side, side))) for picture in self._pictures])
            self._at[side] = Split(images, self.labels, self._classes, self._groups)
        return self._at[side]


def promote(store: Store, version: int, after: int = 0) -> None:
    store.ledger.record("promote", version, by="a test", reason="-", after=after)


def failed(verdict: Verdict) -> set[str]:
    return {check.name for check in verdict.checks if not check.passed}


def test_versions_of_other_sizes_and_fits_are_judged_on_the_same_pictures(
    store: Store, published: Publish
) -> None:
    first = published(CONTRACT)
    promote(store, first)
    larger = replace(CONTRACT, size=64, fit="pad")
    tests = Pictures(CONTRACT.classes)
    verdict = judge(store, published(larger), tests, SETTINGS)
    assert (verdict.word, verdict.judged_against) == ("passed", first)
    assert verdict.candidate.accuracy == 1
    assert {(contract.size, contract.fit) for contract in tests.asked} == {(32, "stretch"), (64, "pad")}
    assert verdict.test_digest == tests(larger).digest
    swapped = judge(store, published(replace(larger, size=48), (0, 2)), tests, SETTINGS)
    assert {"accuracy, lower bound", "red", "blue"} <= failed(swapped)


def test_data_that_cannot_be_decoded_again_and_pictures_in_another_order_are_refused(
    store: Store, published: Publish
) -> None:
    promote(store, published(CONTRACT))
    larger = published(replace(CONTRACT, size=64))
    tests = Pictures(CONTRACT.classes)
    with pytest.raises(MistakeError, match=r"takes images of 64 pixels and the test images have 32.*--data"):
        judge(store, larger, fixed(tests(CONTRACT)), SETTINGS)

    def turned(contract: Contract) -> Split:
        split = tests(contract)
        return split if contract.size == 64 else replace(split, labels=split.labels[::-1])

    with pytest.raises(ValueError, match="other test pictures"):
        judge(store, larger, turned, SETTINGS)


def test_a_first_version_is_held_to_floors_by_chance_and_to_the_settings_where_they_say_so(
    store: Store, published: Publish
) -> None:
    good, confused = published(CONTRACT), published(CONTRACT, (0, 1))
    tests = Pictures(CONTRACT.classes)
    passed = judge(store, good, tests, SETTINGS)
    assert passed.word == "passed"
    assert [check.limit for check in passed.checks[:2]] == pytest.approx([0.5, 0.5])  # a third and a quarter
    assert failed(judge(store, confused, tests, SETTINGS)) >= {"accuracy", "weakest class (red)"}
    strict = load_settings(user="a test", gate_floor=0.9, gate_class_floor=0.8)
    assert [check.limit for check in judge(store, good, tests, strict).checks[:2]] == [0.9, 0.8]


def test_a_class_more_is_judged_by_its_floor_and_a_class_less_is_refused(
    store: Store, published: Publish
) -> None:
    wider = replace(CONTRACT, classes=("red", "green", "blue", "yellow"))
    tests = Pictures(wider.classes, 600)
    promote(store, published(CONTRACT))
    more = judge(store, published(wider), tests, SETTINGS)
    assert (more.word, more.resolved and more.resolved.images) == ("passed", 450)
    assert "weakest new class (yellow)" in {check.name for check in more.checks}
    promote(store, more.version, after=1)
    fewer = judge(store, published(CONTRACT), tests, SETTINGS)
    assert failed(fewer) == {"classes lost"}
    with pytest.raises(RefusedError, match=r"classes lost \+1"):
        require_passed(fewer, weak_accepted=True)
    unlearned = judge(store, published(replace(wider, unlearned=(0,))), tests, SETTINGS)
    assert failed(unlearned) == {"classes lost"}


def test_a_class_that_the_candidate_does_not_even_name_is_told_by_its_own_name(
    store: Store, published: Publish
) -> None:
    wider = replace(CONTRACT, classes=("red", "green", "blue", "7"))
    promote(store, published(wider))
    (lost,) = (
        check
        for check in judge(store, published(CONTRACT), Pictures(CONTRACT.classes), SETTINGS).checks
        if check.name == "classes lost"
    )
    assert lost.meaning.startswith("version 1 knows '7'; promote against the gate")


def test_another_list_of_classes_is_compared_by_the_names_and_may_drop_some(
    store: Store, published: Publish
) -> None:
    promote(store, published(CONTRACT))
    other = replace(CONTRACT, classes=("blue", "red", "white"))
    verdict = judge(store, published(other, class_list=2), Pictures(other.classes), SETTINGS)
    assert failed(verdict) == set()
    assert "list of classes" in {check.name for check in verdict.checks}
    assert verdict.champion is not None
    assert verdict.champion.accuracy == 1


def test_a_version_whose_classes_the_test_images_lack_is_a_mistake(store: Store, published: Publish) -> None:
    version = published(replace(CONTRACT, classes=("white", "yellow", "red"), unlearned=(2,)))
    tests = Pictures(("white", "yellow", "red"))
    only_red = replace(tests(CONTRACT), labels=np.full(450, 2))
    with pytest.raises(MistakeError, match=r"None of the test images is of a class that version 1.*'white'"):
        judge(store, version, lambda _: only_red, SETTINGS)


def test_few_images_or_few_groups_are_weak_evidence_and_the_verdict_says_which(
    store: Store, published: Publish
) -> None:
    promote(store, published(CONTRACT))
    version = published(CONTRACT)
    few = judge(store, version, Pictures(CONTRACT.classes, 150), SETTINGS)
    assert few.word == "weak"
    assert "with so few test images the evidence is weak" in few.sentence
    grouped = judge(store, version, Pictures(CONTRACT.classes, 600, groups=29), SETTINGS)
    assert grouped.word == "weak"
    assert "with so few groups (29) in the test images the evidence is weak" in grouped.sentence
    with pytest.raises(RefusedError, match="--accept-weak-evidence"):
        require_passed(grouped, weak_accepted=False)
    enough = judge(store, version, Pictures(CONTRACT.classes, 5_000), SETTINGS)
    assert (enough.word, enough.resolved and enough.resolved.margin) == ("passed", 0.01)


def test_the_margin_comes_of_the_champions_history(store: Store, published: Publish) -> None:
    first = published(CONTRACT)
    promote(store, first)
    tests = Pictures(CONTRACT.classes, 2_000)
    second = judge(store, published(CONTRACT), tests, SETTINGS)
    assert second.resolved is not None
    assert (second.resolved.flips, second.resolved.verdicts) == (0.1, 0)
    flipped = second.flips.model_copy(update={"mended": 30, "broken": 30}) if second.flips else None
    attach_verdict(store, second.model_copy(update={"flips": flipped}), {})
    promote(store, second.version, after=1)
    third = judge(store, published(CONTRACT), tests, SETTINGS)
    assert third.resolved is not None
    assert (third.resolved.flips, third.resolved.verdicts) == (0.03, 1)
    assert third.resolved.margin == pytest.approx(0.0113, abs=1e-4)
    assert last_verdict(store, third.version) == third
