"""Which network a training is for, and the weights that it begins with: known before any work is done."""

from pathlib import Path
from typing import TYPE_CHECKING

from export.store.manifest import Manifest
from export.store.versions import SPLITS, Store
from jobs.console import say
from jobs.errors import MistakeError
from jobs.training_runs import Request
from model.contract import Contract, Network, network_filters, network_sizes

if TYPE_CHECKING:
    from model.data.dataset import Dataset


def newest_of_own_images(store: Store) -> Manifest | None:
    """The newest version that was made of own images, served or not."""
    for manifest in reversed(store.versions()):
        if SPLITS in manifest.evidence:
            return manifest
    return None


def served_of_own_images(store: Store) -> Manifest | None:
    """The version that is served, where it was made of own images."""
    served = store.ledger.served()
    manifest = store.manifest(served) if served is not None else None
    return manifest if manifest and SPLITS in manifest.evidence else None


def succeeded(store: Store | None) -> Manifest | None:
    """The version whose network, size and fit a training keeps unless told.

    What is served says it: a version that tried others and was refused changes nothing.
    """
    return (served_of_own_images(store) or newest_of_own_images(store)) if store else None


def network_of(request: Request, like: Manifest | None) -> Network | None:
    """What a request's data is to be learned by; None chooses it by the size of the pictures.

    Args:
        request: Network and size, where it says them.
        like: The version whose network is kept.
    """
    from model.data.own.wishes import FOR_PHOTOGRAPHS
    from model.network.pretrained.source import installed

    if request.network or like:
        return request.network or (like.contract.network if like else None)
    return None if request.weights or installed(FOR_PHOTOGRAPHS) else "cnn"


def size_of(request: Request, like: Manifest | None) -> int | None:
    """The side of the network's input; None chooses it by the pictures.

    The size of the version before is kept where the network that is asked for takes it.
    """
    if request.size or like is None:
        return request.size
    taken = network_sizes(request.network or like.contract.network)
    return like.contract.size if like.contract.size in taken else None


def check_network(request: Request, store: Store | None) -> None:
    """Look whether the network can be had, before any data is fetched or decoded.

    Args:
        request: What is to be trained.
        store: Its versions may say the network; None has none.

    Raises:
        ContractError: The network takes no pictures of the size.
        MistakeError: The network is not for this data, or the weights are not for this network.
        WeightsError: There are no weights, or they are damaged or another network's.
    """
    like = succeeded(store)
    network = network_of(request, like)
    if request.weights and network in {None, "cnn"}:
        raise MistakeError(
            "--weights are what a network begins with that knows photographs, and cnn begins with nothing: "
            "name the weights' network with --network, or leave --weights out."
        )
    if network in {None, "cnn"}:
        return
    _require_pictures(request, network)
    size = size_of(request, like)
    if size:
        Contract(("a", "b"), size, network=network, filters=network_filters(network))
    _check_weights(request, network, like)


def require_own_pictures(request: Request, dataset: "Dataset") -> None:
    """Refuse CIFAR-10's own files for a network that takes larger pictures.

    Raises:
        MistakeError: They are named for one.
    """
    if dataset.kind != "images" and request.network not in {None, "cnn"}:
        raise MistakeError(
            f"{dataset.source} is CIFAR-10 in 32 pixels, for the network cnn; {request.network} takes "
            f"pictures of {network_sizes(request.network)[0]} and more: name pictures in class folders with "
            "--data, or leave --network out."
        )


def say_network(dataset: "Dataset", request: Request, store: Store | None) -> None:
    """Say which network learns own pictures, and why."""
    from model.data.own.wishes import FOR_PHOTOGRAPHS
    from model.network.pretrained.source import installed

    if dataset.kind != "images" or request.network:
        return
    like, network = succeeded(store), dataset.network
    if like:
        say(f"Network: {network}, as version {like.version}.")
    elif network != "cnn":
        say(
            f"Network: {network}, fine-tuned from ImageNet, for these are photographs (input {dataset.size} "
            "pixels); --network cnn learns from nothing, in less time."
        )
    elif not installed(FOR_PHOTOGRAPHS):
        say(
            f"Network: cnn, from nothing, for the weights of {FOR_PHOTOGRAPHS} are not installed (the extra "
            "`pretrained`)."
        )
    else:
        say(
            f"Network: cnn, from nothing, for pictures of {dataset.size} pixels; {FOR_PHOTOGRAPHS} takes "
            f"{network_sizes(FOR_PHOTOGRAPHS)[0]} and more."
        )


def weights_of(request: Request) -> Path | None:
    """The file of one's own that the network begins with; None takes the network's package."""
    return Path(request.weights) if request.weights else None


def _require_pictures(request: Request, network: Network | None) -> None:
    if request.network and request.data in {None, "sample"}:
        raise MistakeError(
            f"{network} takes photographs, and the data is CIFAR-10 in 32 pixels: name pictures in class "
            "folders with --data, or leave --network out."
        )


def _check_weights(request: Request, network: Network | None, like: Manifest | None) -> None:
    from model.network.pretrained.source import find_weights

    before = like.pretrained if like and like.pretrained and not request.network else None
    own = weights_of(request)
    _, source = find_weights(str(network), own)
    if before and own is None and before.sha256 != source.sha256:
        raise MistakeError(
            f"Version {like.version if like else 0} began with the weights {before.origin}: name them with "
            f"--weights, or say --network {network} to begin with {source.origin}."
        )
    if own is None:
        return  # its digest is known
    from model.network.pretrained.weights import pretrained_network
    from model.training.device import load_tensorflow

    load_tensorflow()
    size = network_sizes(network or "cnn")[0]
    pretrained_network(0, Contract(("a", "b"), size, network=network or "cnn", filters=()), own)
