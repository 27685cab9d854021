"""What `/info` says of a contract follows from it alone."""

import dataclasses

import pytest

from image_transformer.http.info import architecture
from model.contract import DEFAULT_CONTRACT, SIZES
from model.network.cnn import HIDDEN_UNITS, block_channels


@pytest.mark.parametrize("size", SIZES)
def test_the_architecture_is_that_of_the_network(size: int) -> None:
    contract = dataclasses.replace(DEFAULT_CONTRACT, size=size)
    channels = "/".join(map(str, block_channels(size)))
    assert f"x [Conv {channels}, BatchNorm, ReLU" in architecture(contract)
    assert f"{len(block_channels(size))} x [" in architecture(contract)
    assert f"Dense {HIDDEN_UNITS}, ReLU" in architecture(contract)
