"""What `/info` says of a contract follows from it alone."""

import dataclasses

import pytest

from image_transformer.http.info import architecture
from model.contract import DEFAULT_CONTRACT, NETWORKS, SIZES, Contract, Network
from model.network.cnn import HIDDEN_UNITS, block_channels
from model.network.efficientnet_lite import FEATURES, blocks


@pytest.mark.parametrize("network", NETWORKS[1:])
def test_a_network_that_knows_photographs_is_told_by_its_name_and_blocks(network: Network) -> None:
    contract = Contract(("cat", "dog"), size=96, network=network, filters=())
    told = architecture(contract)
    assert told.startswith(f"{network}: Conv, {len(blocks(network))} x inverted bottleneck, Conv {FEATURES},")
    assert told.endswith("Dense 2, softmax")


@pytest.mark.parametrize("size", SIZES)
def test_the_architecture_is_that_of_the_network(size: int) -> None:
    contract = dataclasses.replace(DEFAULT_CONTRACT, size=size)
    channels = "/".join(map(str, block_channels(size)))
    assert f"x [Conv {channels}, BatchNorm, ReLU" in architecture(contract)
    assert f"{len(block_channels(size))} x [" in architecture(contract)
    assert f"Dense {HIDDEN_UNITS}, ReLU" in architecture(contract)
