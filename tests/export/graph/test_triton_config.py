"""config.pbtxt is read back through Triton's own protobuf, in a process of its own.

(tritonclient.grpc and kserve cannot be imported into one process.)
"""

import json
import subprocess
import sys
from typing import Any

import pytest

from export.graph.triton_config import VARIANTS, ModelConfig, classifier_config, filters_config
from export.store.lineage import Lineage, lineage_parameters
from model.contract import CLASSES, Contract

_READ_BACK = """
import json, sys
from google.protobuf import json_format, text_format
from tritonclient.grpc.model_config_pb2 import ModelConfig
parsed = [text_format.Parse(text, ModelConfig()) for text in json.load(sys.stdin)]
print(json.dumps([json_format.MessageToDict(one, preserving_proto_field_name=True) for one in parsed]))
"""


ODD = Contract(
    classes=(
        'the "quoted" one',
        "it's, with a comma",
        "{curly} [square] <tag>",
        "100 % # $HOME ${x}",
        "naïve café",
        "дерево",
        "木の葉",
        "شجرة",
        "पेड़",
        "🌳👩‍🌾".replace("\u200d", ""),
        "x" * 100,
    ),
    size=96,
    fit="pad",
    unlearned=(2, 9),
    model="my-photos",
)


def read_back(configs: list[ModelConfig]) -> list[dict[str, Any]]:
    done = subprocess.run(
        [sys.executable, "-c", _READ_BACK],
        input=json.dumps([config.to_pbtxt() for config in configs]),
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    parsed: list[dict[str, Any]] = json.loads(done.stdout)
    return parsed


@pytest.fixture(scope="module")
def parsed(lineage: Lineage) -> dict[str, dict[str, Any]]:
    parameters = lineage_parameters(lineage, 7)
    configs = [
        make(variant, parameters) for make in (classifier_config, filters_config) for variant in VARIANTS
    ]
    names = [f"{config.name}/{config.variant.name}" for config in configs]
    return dict(zip(names, read_back(configs), strict=True))


def test_another_contract_has_its_own_names_and_shapes_and_goes_through_unharmed(lineage: Lineage) -> None:
    parameters = lineage_parameters(lineage.model_copy(update={"contract": ODD}), 7)
    classifier, filters = read_back(
        [make(VARIANTS[0], parameters, ODD) for make in (classifier_config, filters_config)]
    )
    assert (classifier["name"], filters["name"]) == ("my-photos", "my-photos-filters")
    for config in (classifier, filters):
        assert config["input"][0]["dims"] == ["96", "96", "3"]
        assert config["model_warmup"][0]["inputs"]["image"]["dims"] == ["96", "96", "3"]
        assert Contract.from_json(config["parameters"]["contract"]["string_value"]) == ODD
    assert classifier["output"][0]["dims"] == ["11"]
    assert filters["output"][0]["dims"] == ["96", "96", "12"]


def test_the_classifier_has_the_contracts_signature(parsed: dict[str, dict[str, Any]]) -> None:
    for variant in VARIANTS:
        config = parsed[f"cnn-image/{variant.name}"]
        assert config["name"] == "cnn-image"
        assert config["backend"] == "onnxruntime"
        assert config["max_batch_size"] == 64
        assert config["input"] == [{"name": "image", "data_type": "TYPE_UINT8", "dims": ["32", "32", "3"]}]
        assert config["output"] == [
            {"name": "probs", "data_type": "TYPE_FP32", "dims": ["5"], "label_filename": "labels.txt"}
        ]


def test_the_filter_model_has_the_contracts_signature(parsed: dict[str, dict[str, Any]]) -> None:
    for variant in VARIANTS:
        config = parsed[f"cnn-image-filters/{variant.name}"]
        assert config["input"] == [{"name": "image", "data_type": "TYPE_UINT8", "dims": ["32", "32", "3"]}]
        assert config["output"] == [
            {"name": "filtered", "data_type": "TYPE_FP32", "dims": ["32", "32", "12"]}
        ]
        assert config["instance_group"][0]["count"] == 1


@pytest.mark.parametrize(("variant", "instances"), [("cpu-1", 1), ("cpu-2", 2), ("cpu-4", 4)])
def test_a_cpu_variant_runs_one_instance_a_core_with_one_thread_each(
    parsed: dict[str, dict[str, Any]], variant: str, instances: int
) -> None:
    config = parsed[f"cnn-image/{variant}"]
    assert config["instance_group"] == [{"kind": "KIND_CPU", "count": instances}]
    assert config["parameters"]["intra_op_thread_count"] == {"string_value": "1"}
    assert "dynamic_batching" not in config


def test_the_gpu_variant_joins_requests_on_the_gpu(parsed: dict[str, dict[str, Any]]) -> None:
    config = parsed["cnn-image/gpu"]
    assert config["instance_group"][0]["kind"] == "KIND_GPU"
    assert "dynamic_batching" in config


def test_variants_differ_only_in_how_they_run(parsed: dict[str, dict[str, Any]]) -> None:
    how = {"instance_group", "dynamic_batching"}
    for model in ("cnn-image", "cnn-image-filters"):
        what = [
            {key: value for key, value in parsed[f"{model}/{variant.name}"].items() if key not in how}
            for variant in VARIANTS
        ]
        assert all(one == what[0] for one in what)


def test_the_lineage_is_readable_from_the_parameters(parsed: dict[str, dict[str, Any]]) -> None:
    parameters = {
        key: value["string_value"] for key, value in parsed["cnn-image/cpu-2"]["parameters"].items()
    }
    assert parameters["version"] == "7"
    assert parameters["created"] == "2026-11-03T12:30:00+00:00"
    assert parameters["created_by"] == 'Zoë "the\\slash"second line'
    assert parameters["data_digest"] == "d" * 64
    assert parameters["decoder_version"] == "1"
    assert parameters["mlflow_run"] == "run-1"
    assert parameters["classes"].split(",") == list(CLASSES)
    assert json.loads(parameters["metrics"])["val_accuracy"] == 0.8


def test_every_instance_is_warmed_up_before_it_serves(parsed: dict[str, dict[str, Any]]) -> None:
    warm_up = parsed["cnn-image/cpu-2"]["model_warmup"]
    assert [step["batch_size"] for step in warm_up] == [1, 8]
    assert warm_up[0]["inputs"]["image"] == {
        "data_type": "TYPE_UINT8",
        "dims": ["32", "32", "3"],
        "random_data": True,
    }
