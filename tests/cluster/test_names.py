"""What the objects of a model are called: the default's as ever, another one's after itself."""

import json
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml
from cluster.kube import rendered

pytestmark = pytest.mark.cluster

EVERYTHING = (
    *("minio.enabled=true", "mlflow.enabled=true", "training.data.volumeClaim=cifar10", "argo.enabled=true"),
    *("networkPolicy.enabled=true", "monitoring.podMonitor.enabled=true", "monitoring.rules.enabled=true"),
    *("monitoring.dashboard.enabled=true", "serving.trainApi.enabled=true"),
    *("serving.trainApi.tokenSecret=token", "serving.service.type=NodePort"),
)
BEFORE = Path(__file__).with_name("names.txt")
"""Of the last chart that had no value `model`: what releases that are installed have, and cannot change."""
KSERVE = [(kind, f"-{part}") for kind in ("Deployment", "Service") for part in ("predictor", "transformer")]
"""What KServe makes of an InferenceService, as its name goes on."""

_HASH = re.compile(r"-[0-9a-f]{8}$")


def objects(*values: str) -> list[dict[str, Any]]:
    """What the chart renders with everything on, the templates in the ConfigMap included."""
    flags = [flag for value in (*EVERYTHING, *values) for flag in ("--set", value)]
    found = [each for each in yaml.safe_load_all(rendered(*flags)) if each]
    for each in list(found):
        if each["kind"] == "ConfigMap" and "inferenceservice.yaml" in each["data"]:
            found += [yaml.safe_load(text) for text in each["data"].values()]
    return found


def name_of(each: dict[str, Any]) -> str:
    name = str(each["metadata"]["name"])
    return _HASH.sub("-HASH", name) if each["kind"] == "Job" else name


def selectors(part: Any) -> Iterator[Any]:
    """What an object finds others by, wherever it stands in it."""
    if isinstance(part, dict):
        yield from (part[key] for key in ("selector", "podSelector") if key in part)
        part = list(part.values())
    if isinstance(part, list):
        for inner in part:
            yield from selectors(inner)


def lines(found: list[dict[str, Any]]) -> set[str]:
    """An object a line: kind, name, selectors."""
    return {
        f"{each['kind']} {name_of(each)} {json.dumps(list(selectors(each.get('spec'))), sort_keys=True)}"
        for each in found
    }


def texts(part: Any) -> Iterator[str]:
    """Every text in an object, keys too."""
    if isinstance(part, str):
        yield part
    elif isinstance(part, dict):
        for key, value in part.items():
            yield key
            yield from texts(value)
    elif isinstance(part, list):
        for inner in part:
            yield from texts(inner)


def test_the_default_renames_nothing() -> None:
    """Objects, claims and selectors are those of the charts before."""
    assert sorted(lines(objects())) == BEFORE.read_text().splitlines()


def test_all_of_another_model_is_called_after_it() -> None:
    for each in objects("model=hands"):
        assert re.match(r"hands(-|$)", name_of(each)), name_of(each)
        for text in texts(each):
            # The chart's, the images' and the containers' names are the product's; so is the bucket.
            ours = re.sub(
                r"cnn-image-(train|transformer):|helm.sh/chart|cnn-image-0\.1\.0|s3://cnn-image/", "", text
            )
            assert not re.search(r"cnn-image-\w|name: cnn-image|isvc cnn-image", ours), (name_of(each), text)
    assert not lines(objects("model=hands")) & lines(objects())


def made(model: str) -> set[tuple[str, str]]:
    """Kind and name of all that a model has in its namespace, by the chart and by KServe."""
    found = {(each["kind"], name_of(each)) for each in objects(f"model={model}")}
    return found | {(kind, f"{model}{end}") for kind, end in KSERVE}


def test_no_two_models_share_an_object_or_the_name_is_refused() -> None:
    """Another model that is called as an object of the first has none of its objects, or is not taken."""
    first = made("a")
    refused = set()
    for other in sorted({name for _, name in first if name != "a" and "HASH" not in name}):
        try:
            theirs = made(other)
        except AssertionError as error:
            refused.add(str(error).partition("model: ")[2].splitlines()[0])
            continue
        assert first & theirs == set(), other
    assert refused == {
        f'the name "a-{end}" belongs to an object of the model "a"; take one that does not end in -{end}.'
        for end in ("predictor", "predictor-pods", "transformer", "minio", "mlflow")
    }


@pytest.mark.parametrize("model", ["Hands", "1a", "a_b", "a-", "a" * 41, "a.b", "on", "null", "no"])
def test_what_is_no_name_is_refused(model: str) -> None:
    with pytest.raises(AssertionError, match=r"/model|model: YAML takes"):
        rendered("--set-string", f"model={model}", "--set", "minio.enabled=true,training.enabled=false")


def test_the_store_of_another_model_has_a_root_of_its_own() -> None:
    def stores(model: str) -> set[str]:
        return {
            text for each in objects(f"model={model}") for text in texts(each) if text.startswith("s3://")
        }

    assert stores("cnn-image") == {"s3://cnn-image/store"}
    assert stores("hands") == {"s3://cnn-image/models/hands/store"}


def test_who_shares_a_minio_and_an_mlflow_is_let_through() -> None:
    found = objects("networkPolicy.models={hands}")
    policies = {name_of(each): each["spec"] for each in found if each["kind"] == "NetworkPolicy"}
    for name in ("cnn-image-minio", "cnn-image-mlflow"):
        (rule,) = policies[name]["ingress"]
        allowed = [peer["podSelector"]["matchLabels"] for peer in rule["from"]]
        assert allowed == [{"app.kubernetes.io/name": model} for model in ("cnn-image", "hands")]
    for name in ("cnn-image-transformer", "cnn-image-predictor"):
        assert "hands" not in json.dumps(policies[name])


def test_rules_and_dashboard_are_of_one_models_pods() -> None:
    long = "m" * 40
    pods = {  # as Kubernetes calls them; a name that is too long is cut
        "a": ["a-predictor-7d9fd6c9f4-x2zkp", "a-transformer-5b8c6d-abcde"],
        "a-b": ["a-b-predictor-7d9fd6c9f4-x2zkp", "a-b-transformer-5b8c6d-abcde"],
        long: [f"{long}-transformer-5b8c6x2zkp"],
    }
    for model in pods:
        found = objects(f"model={model}")
        (rule,) = (each["spec"]["groups"] for each in found if each["kind"] == "PrometheusRule")
        assert [group["name"] for group in rule] == [model]
        assert {each["labels"]["model"] for each in rule[0]["rules"]} == {model}
        (dashboard,) = (each["data"] for each in found if each["metadata"]["name"] == f"{model}-dashboard")
        shown = json.loads(dashboard[f"{model}.json"])
        assert (shown["uid"], shown["title"]) == (model, model)
        queries = [target["expr"] for panel in shown["panels"] for target in panel["targets"]]
        queries += [each["expr"] for each in rule[0]["rules"] if "cnn_image_" in each["expr"]]
        for query in queries:
            metrics = re.findall(r"(?:cnn_image|nv)_[a-z0-9_]+", query)
            asked = re.findall(r'pod=~"([^"]+)"', query)
            assert len(asked) == len(metrics), query
            for pattern in asked:  # as Prometheus takes it, from beginning to end
                for whose, names in pods.items():
                    matched = {bool(re.fullmatch(pattern, name)) for name in names}
                    assert matched == {whose == model}, (pattern, names)
        for each in rule[0]["rules"]:
            for recorded in re.findall(r"cnn_image:[a-z0-9_:]+(.{0,9})", each["expr"]):
                assert recorded.startswith(f'{{model="{model}"'[:9]), each["expr"]
