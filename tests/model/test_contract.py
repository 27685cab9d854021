"""What a version promises: what is taken, what is refused, and that what is written can be read."""

import dataclasses
from typing import Any

import pytest

from model.contract import (
    CLASSES,
    DEFAULT_CONTRACT,
    FILTER_NAMES,
    LITE_SIZES,
    NETWORKS,
    SIZES,
    Contract,
    ContractError,
    network_filters,
    network_sizes,
)

TEN = Contract(("null", "eins", "犬, の", "four"), size=64, fit="pad", unlearned=(1,), model="photos")
LITE = Contract(("cat", "dog"), size=128, network="efficientnet-lite0", filters=())


def test_the_default_is_the_five_classes_at_32_pixels() -> None:
    assert DEFAULT_CONTRACT.classes == CLASSES == ("airplane", "automobile", "bird", "cat", "dog")
    assert DEFAULT_CONTRACT.image_shape == (32, 32, 3)
    assert DEFAULT_CONTRACT.image_bytes == 3072
    assert DEFAULT_CONTRACT.fit == "stretch"
    assert DEFAULT_CONTRACT.filters == FILTER_NAMES
    assert DEFAULT_CONTRACT.learned == (0, 1, 2, 3, 4)
    assert (DEFAULT_CONTRACT.model, DEFAULT_CONTRACT.filters_model) == ("cnn-image", "cnn-image-filters")


@pytest.mark.parametrize("contract", [DEFAULT_CONTRACT, TEN, LITE])
def test_what_is_written_is_read(contract: Contract) -> None:
    assert Contract.from_json(contract.to_json()) == contract
    assert "\n" not in contract.to_json()


def test_a_contract_of_before_other_networks_is_read_unchanged() -> None:
    text = (
        '{"classes": ["cat", "dog"], "filters": ["smoothing", "edge_detection", "sharpness"], "fit": "crop", '
        '"model": "photos", "network": "cnn", "size": 48, "unlearned": []}'
    )
    contract = Contract.from_json(text)
    assert (contract.network, contract.size, contract.filters) == ("cnn", 48, FILTER_NAMES)
    assert contract.to_json() == text


@pytest.mark.parametrize("network", NETWORKS)
def test_a_network_takes_its_sizes_and_no_other(network: Any) -> None:
    filters = network_filters(network)
    assert network_sizes(network) == (SIZES if network == "cnn" else LITE_SIZES)
    assert (filters == ()) == (network != "cnn")
    for size in SIZES:
        if size in network_sizes(network):
            assert Contract(("a", "b"), size=size, network=network, filters=filters).size == size
        else:
            with pytest.raises(ContractError, match=f"takes no pictures of {size} pixels; choose a size of"):
                Contract(("a", "b"), size=size, network=network, filters=filters)


def test_a_network_without_filters_claims_none() -> None:
    with pytest.raises(ContractError, match=r"The filters .* are not known here"):
        dataclasses.replace(LITE, filters=FILTER_NAMES)


def test_an_unlearned_class_keeps_its_place() -> None:
    assert TEN.learned == (0, 2, 3)
    assert TEN.classes[1] == "eins"


@pytest.mark.parametrize(
    ("change", "says"),
    [
        ({"classes": ("cat",)}, "There are 1 classes; 2 to 1000"),
        ({"classes": tuple(map(str, range(1001)))}, "There are 1001 classes"),
        ({"classes": ("cat", "cat")}, "'cat' is there twice"),
        ({"classes": ("é", "e\N{COMBINING ACUTE ACCENT}")}, "is there twice"),
        ({"classes": ("cat", "")}, "is empty"),
        ({"classes": ("cat", " dog")}, "begins or ends with a space"),
        ({"classes": ("cat", "../dog")}, "looks like a path"),
        ({"classes": ("cat", "..")}, "looks like a path"),
        ({"classes": ("cat", "do\tg")}, "do not print"),
        ({"classes": ("cat", "x" * 101)}, "101 characters"),
        ({"size": 40}, "The size 40 is not offered; choose one of 32, 48,"),
        ({"fit": "zoom"}, "The fit 'zoom' is not known; choose one of stretch, crop, pad"),
        ({"network": "vit"}, "'vit' is not known here; update"),
        ({"filters": ("blur",)}, "not known here; update"),
        ({"unlearned": (7,)}, "no ascending class ids"),
        ({"unlearned": (1, 0)}, "no ascending class ids"),
        ({"unlearned": (0, 1, 2, 3)}, "Fewer than two classes are learned"),
        ({"model": "Photos"}, "no DNS label"),
        ({"model": "x" * 41}, "no DNS label"),
        ({"model": "photos-"}, "no DNS label"),
    ],
)
def test_what_cannot_be_kept_is_refused(change: dict[str, Any], says: str) -> None:
    with pytest.raises(ContractError, match=says):
        dataclasses.replace(DEFAULT_CONTRACT, **change)


@pytest.mark.parametrize(
    "text",
    [
        "",
        "[]",
        '{"colour": true}',
        '{"classes": ["cat", "dog"], "filters": [], "unlearned": [], "size": [32]}',
    ],
)
def test_what_is_no_contract_is_said(text: str) -> None:
    with pytest.raises(ContractError, match="update it"):
        Contract.from_json(text)
