"""What Prometheus reads of the answers: classes, confidence, how unlike anything learned."""

import io
import json
from dataclasses import dataclass
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray
from PIL import Image
from prometheus_client import CollectorRegistry, generate_latest
from prometheus_client.parser import text_string_to_metric_families
from senders import SENDERS, text

from image_transformer.codecs.tensors import Images, Probabilities
from image_transformer.kserve_model import ImageModel
from image_transformer.observe.metrics import Metrics
from image_transformer.triton.served import Served, Unlike
from model.contract import CLASSES, DEFAULT_CONTRACT, Contract

ROUTES = ("raw", "form", "v1", "v2", "v2 binary", "gRPC")


@dataclass
class Painted:
    """A picture's red is its class, a 256th of its green how sure that is."""

    written: Contract = DEFAULT_CONTRACT
    version: int = 7

    @property
    def contract(self) -> Contract:
        return self.written

    def probs(self, pixels: NDArray[np.uint8]) -> NDArray[np.float32]:
        best, sure = pixels[:, 0, 0, 0].astype(int), pixels[:, 0, 0, 1] / 256
        others = len(self.contract.classes) - 1
        probs = np.repeat(((1 - sure) / others)[:, None], others + 1, axis=1)
        probs[np.arange(len(best)), best] = sure
        return probs.astype(np.float32)


def painted(class_id: int, green: int = 192) -> bytes:
    buffer = io.BytesIO()
    Image.new("RGB", (32, 32), (class_id, green, 0)).save(buffer, "PNG")
    return buffer.getvalue()


def shown(metrics: Metrics) -> dict[str, dict[str, float]]:
    """What Prometheus reads: a metric's samples by the one label that they have."""
    found: dict[str, dict[str, float]] = {}
    for family in text_string_to_metric_families(generate_latest(_registry(metrics)).decode()):
        for sample in family.samples:
            found.setdefault(sample.name, {})[",".join(sample.labels.values())] = sample.value
    return found


def _registry(metrics: Metrics) -> CollectorRegistry:
    registry = CollectorRegistry()
    registry.register(metrics)
    return registry


def answers(metrics: Metrics) -> dict[str, float]:
    """Images by class, where there are any."""
    return {name: count for name, count in shown(metrics)["cnn_image_answers_total"].items() if count}


def up_to(values: list[float], bounds: dict[str, float]) -> dict[str, float]:
    """A histogram's samples, counted in another way."""
    return {bound: sum(value <= float(bound) for value in values) for bound in bounds}


@pytest.fixture
async def scored(fake_triton: Any, start_service: Any) -> Any:
    fake_triton.model, fake_triton.scored = Painted(), True
    return await start_service()


async def test_known_images_are_counted_exactly(scored: Any) -> None:
    greens = {4: (255, 192, 128), 1: (250,), 0: (90,)}
    for class_id, all_greens in greens.items():
        for green in all_greens:
            await SENDERS["raw"](scored).send([painted(class_id, green)])
    now = shown(scored.metrics)
    assert now["cnn_image_answers_total"] == {
        **{"airplane": 1, "automobile": 1, "bird": 0, "cat": 0, "dog": 3},
    }
    sure = [green / 256 for all_greens in greens.values() for green in all_greens]
    buckets = now["cnn_image_confidence_bucket"]
    assert buckets == up_to(sure, buckets)
    assert (buckets["0.5"], buckets["0.8"], buckets["0.99"], buckets["+Inf"]) == (2, 3, 4, 5)
    assert now["cnn_image_confidence_sum"][""] == sum(sure)
    assert now["cnn_image_confidence_count"][""] == 5
    scores = now["cnn_image_ood_score_bucket"]  # the fake's: the red of the first pixel
    assert scores == up_to([4, 4, 4, 1, 0], scores)
    assert (scores["-0.5"], scores["0"], scores["1"], scores["3"], scores["4"]) == (0, 1, 2, 2, 5)
    assert now["cnn_image_marked_images_total"][""] == 0


async def test_every_way_of_asking_counts_each_image_once(scored: Any) -> None:
    for route in ROUTES:
        await SENDERS[route](scored).send([painted(3)])
    assert answers(scored.metrics) == {"cat": len(ROUTES)}
    for route in ROUTES[1:]:
        await SENDERS[route](scored).send([painted(1), painted(2), painted(1)])
    assert answers(scored.metrics) == {"cat": 6, "automobile": 10, "bird": 5}
    await ImageModel(scored.inference).predict({"instances": [text(painted(0))]})
    await scored.inference.explain(Images([painted(0)]), lambda: True)  # and none of its 500 masks
    assert answers(scored.metrics)["airplane"] == 2
    await SENDERS["form"](scored).send([painted(4)] * 200)  # in pieces
    await SENDERS["form"](scored).send([painted(4, 255), painted(4, 100)] * 100)
    now = shown(scored.metrics)
    assert now["cnn_image_answers_total"]["dog"] == 400
    assert sum(now["cnn_image_answers_total"].values()) == now["cnn_image_images_total"]["7"]
    assert now["cnn_image_confidence_count"][""] == now["cnn_image_images_total"]["7"]
    assert now["cnn_image_ood_score_bucket"]["+Inf"] == now["cnn_image_images_total"]["7"]


async def test_what_is_not_answered_and_the_filters_count_nothing(
    fake_triton: Any, start_service: Any
) -> None:
    fake_triton.model, fake_triton.scored, fake_triton.filters = Painted(), True, True
    service = await start_service(refuse_unlike=True)
    assert (await SENDERS["raw"](service).send([b"no image"])).status == 400
    filters = "/v2/models/cnn-image-filters/infer"
    assert (await SENDERS["v2"](service).send([painted(1)], path=filters)).status == 200
    service.fake.model = Painted(Contract(classes=tuple(map(str, range(256)))))
    service.fake.version = "8"
    await service.triton.probe()
    assert (await SENDERS["raw"](service).send([painted(201)])).json()["code"] == "unlike_training"
    service.fake.status = 500
    assert (await SENDERS["raw"](service).send([painted(1)])).status == 503
    now = shown(service.metrics)
    assert not any(now["cnn_image_answers_total"].values())
    assert now["cnn_image_confidence_count"][""] == now["cnn_image_ood_score_bucket"]["+Inf"] == 0


async def test_an_image_is_marked_above_the_threshold(scored: Any) -> None:
    many = Contract(classes=tuple(map(str, range(256))))
    scored.fake.model, scored.fake.version = Painted(many), "9"
    await scored.triton.probe()
    for red in (99, 100, 101, 250):
        assert (await SENDERS["raw"](scored).send([painted(red)])).status == 200
    now = shown(scored.metrics)
    assert now["cnn_image_marked_images_total"][""] == 2
    assert now["cnn_image_ood_score_bucket"]["32"] == 0


async def test_classes_behind_the_first_hundred_are_counted_together(service: Any) -> None:
    service.fake.model = Painted(Contract(classes=tuple(f"class {number}" for number in range(1000))))
    service.fake.version = "8"
    await service.triton.probe()
    first = shown(service.metrics)["cnn_image_answers_total"]
    assert first == {**{f"class {number}": 0 for number in range(100)}, "other": 0}
    for class_id in (0, 99, 99, 100, 255):
        assert (await SENDERS["raw"](service).send([painted(class_id)])).status == 200
    assert answers(service.metrics) == {"class 0": 1, "class 99": 2, "other": 2}
    assert len(shown(service.metrics)["cnn_image_answers_total"]) == 101


async def test_two_versions_side_by_side_count_by_name_and_so_does_the_way_back(
    service: Any, beside: Any
) -> None:
    """Class 1 of the one is class 0 of the other, and the one has no score."""
    service.fake.model = Painted()
    other = await beside(Painted(Contract(classes=("automobile", "horse", "dog")), 8), scored=True)
    given = {"7": 0, "8": 0}
    for _ in range(10):
        answer = await SENDERS["raw"](service).send([painted(1)])
        given[answer.headers["x-model-version"]] += 1
    assert min(given.values()) > 0
    assert answers(service.metrics) == {"automobile": given["7"], "horse": given["8"]}
    now = shown(service.metrics)
    assert now["cnn_image_confidence_count"][""] == 10
    assert now["cnn_image_ood_score_bucket"]["+Inf"] == given["8"]
    await other.stop()
    await service.triton.probe()
    assert answers(service.metrics)["horse"] == given["8"]  # no counter goes back
    await SENDERS["raw"](service).send([painted(0)])
    assert answers(service.metrics) == {"airplane": 1, "automobile": given["7"], "horse": given["8"]}


def test_promotions_to_ever_other_classes_leave_no_more_than_so_many_series() -> None:
    metrics = Metrics()
    made = []
    for number in range(20):
        names = tuple(f"{number}: {name}" for name in range(150))
        served = Served("m", str(number), Contract(classes=names), {})
        made.append(served)
        metrics.outcomes.contracts = lambda: [one.contract for one in made[-2:]]
        metrics.outcomes.add(served, Probabilities(np.eye(150, dtype=np.float32), str(number)))
        seen = shown(metrics)["cnn_image_answers_total"]
        assert len(seen) <= 501
        assert all(seen[name] == 1 for name in names[:100])
        assert seen["other"] == 50 * (number + 1)
    assert shown(metrics)["cnn_image_confidence_sum"][""] == 20 * 150


@pytest.mark.parametrize("name", ['say "cheese" {x="1"} 5', "a=b,c", "naïve 五 🐕", "#", "x" * 100])
async def test_a_name_that_is_allowed_is_told_as_it_is(service: Any, name: str) -> None:
    service.fake.model, service.fake.version = Painted(Contract(classes=("plain", name))), "8"
    await service.triton.probe()
    await SENDERS["raw"](service).send([painted(1)])
    assert answers(service.metrics) == {name: 1}


@pytest.mark.parametrize("name", ["two\nlines", "x" * 1_000_000, "\x00", "back\\slash", "\ud800"])
async def test_a_version_with_any_other_name_is_not_served_and_breaks_no_metric(
    service: Any, name: str
) -> None:
    """The contract takes no such name, whoever wrote it."""
    service.fake.parameters["contract"] = json.dumps(
        {**json.loads(DEFAULT_CONTRACT.to_json()), "classes": ["plain", name]}
    )
    service.fake.version = "8"
    await service.triton.probe()
    assert (await SENDERS["raw"](service).send([painted(1)])).status == 503
    text = generate_latest(_registry(service.metrics))
    assert len(text) < 50_000
    assert set(shown(service.metrics)["cnn_image_answers_total"]) == set(CLASSES)


def test_what_is_no_number_spoils_no_sum() -> None:
    metrics, served = Metrics(), Served("m", "1", DEFAULT_CONTRACT, {}, unlike=Unlike(2.0, 9.0))
    probs = np.full((3, 5), np.nan, np.float32)
    probs[0] = [0.5, 0.125, 0.125, 0.125, 0.125]
    scores = np.array([0.5, np.inf, np.nan], np.float32)
    metrics.outcomes.add(served, Probabilities(probs, "1", DEFAULT_CONTRACT, scores, 2.0))
    now = shown(metrics)
    assert now["cnn_image_confidence_sum"][""] == 0.5
    assert (now["cnn_image_confidence_bucket"]["0.999"], now["cnn_image_confidence_count"][""]) == (1, 3)
    assert (now["cnn_image_ood_score_bucket"]["32"], now["cnn_image_ood_score_bucket"]["+Inf"]) == (1, 3)
    assert now["cnn_image_marked_images_total"][""] == 1
