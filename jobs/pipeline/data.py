"""The data of a request as a version's contract has it: known classes, and which split keeps a picture."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

from export.store.manifest import Manifest
from export.store.versions import SPLITS, Store
from jobs.console import say
from jobs.errors import LostError, MistakeError
from jobs.gate.judge import Tests, fixed
from jobs.pipeline.decoding import decoding_shown
from jobs.pipeline.networks import (
    network_of,
    newest_of_own_images,
    require_own_pictures,
    say_network,
    size_of,
    succeeded,
)
from jobs.settings import Settings
from jobs.training_runs import Request
from model.contract import CLASSES, Contract

if TYPE_CHECKING:
    from model.data.dataset import Dataset, Split
    from model.data.own.wishes import Wishes


def load_data(
    request: Request,
    settings: Settings,
    store: Store,
    *,
    sample_allowed: bool,
    version: Manifest | None = None,
) -> "Dataset":
    """Load the data of a request and say which it is: `read_data`, and a line for people."""
    dataset = read_data(request, settings, store, sample_allowed=sample_allowed, version=version)
    say_which(dataset)
    if version is None:
        say_network(dataset, request, store)
    return dataset


def say_which(dataset: "Dataset") -> None:
    """Say which data it is, and how much."""
    counts = ", ".join(
        f"{len(split):,} {name}"
        for name, split in (
            ("training", dataset.train),
            ("validation", dataset.validation),
            ("test", dataset.test),
        )
    )
    own = "" if dataset.kind != "images" else f"{len(dataset.classes)} classes at {dataset.size} pixels, "
    say(f"Data: {dataset.source} ({own}{counts} images; digest {dataset.digest[:12]}).")


def read_data(
    request: Request,
    settings: Settings,
    store: Store | None,
    *,
    sample_allowed: bool,
    version: Manifest | None = None,
) -> "Dataset":
    """Load the data of a request.

    Args:
        request: Which data, in which size and fit.
        settings: Where decoded pictures are kept.
        store: Whose versions the classes and the splits are inherited from; None inherits nothing.
        sample_allowed: Whether the small sample may stand in for CIFAR-10.
        version: That the pictures are for, by its contract and class ids in place of the request's wishes.

    Raises:
        DataError: It cannot be used, or there is none.
        MistakeError: No data is named or it is CIFAR-10, and the store's versions are of other pictures.
    """
    from model.data.sources import load_dataset

    newest = newest_of_own_images(store) if store else None
    like = version or newest
    if request.data is None and like is not None and like.data.kind == "images":
        raise MistakeError(  # else CIFAR-10 would be downloaded, to be refused
            f"Version {like.version} was made of {like.data.source}: name the data with --data."
        )
    with_classes = _wishes(request, settings, store, newest, version)
    _require_named(request, settings, store, like, with_classes.classes)
    with decoding_shown() as progress:
        dataset = load_dataset(
            request.data, allow_sample=sample_allowed, wishes=with_classes, progress=progress
        )
    if dataset.kind != "images" and (request.renamed or request.drop_leaks or request.fixes):
        raise MistakeError(
            f"--rename, --drop-leaks and --fix are for own pictures, and {dataset.source} is CIFAR-10: "
            "leave them out, or name other data with --data."
        )
    require_own_pictures(request, dataset)
    known = with_classes.classes[: len(dataset.classes)]
    if dataset.kind != "images" and known and known != dataset.classes:
        raise MistakeError(
            f"{dataset.source} is CIFAR-10, and the versions in the store are of other classes "
            f"({', '.join(known[:5])} …): name their data with --data, or another model with --model."
        )
    return dataset


def _require_named(
    request: Request,
    settings: Settings,
    store: Store | None,
    like: Manifest | None,
    known: tuple[str, ...],
) -> None:
    """Let nobody who has forgotten to name own pictures wait for a download of CIFAR-10.

    Raises:
        MistakeError: No data is named, and the versions are not of CIFAR-10.
    """
    if request.data or store is None or not known or known[: len(CLASSES)] == CLASSES:
        return
    learned = f"learned from {like.data.source}" if like else f"know {', '.join(known[:5])} …"
    raise MistakeError(
        f"No data is named, and the versions of {settings.model} {learned}: name their pictures with --data, "
        "or another model with --model."
    )


def tests_of(
    data: Callable[[], "Dataset"], request: Request, settings: Settings, store: Store, version: Manifest
) -> Tests:
    """The test images for the gate, for each contract that it asks for.

    Args:
        data: Gives what the request's data is for the version.
        request: Which data.
        settings: Where decoded pictures are kept.
        store: Whose versions are judged.
        version: The candidate; labels are class ids of its list.
    """

    def tests(contract: Contract) -> "Split":
        dataset = data()
        if dataset.kind != "images":
            return fixed(dataset.test)(contract)
        if (contract.size, contract.fit) == (dataset.size, dataset.fit):
            return dataset.test
        alike = version.model_copy(
            update={"contract": replace(version.contract, size=contract.size, fit=contract.fit)}
        )
        return read_data(request, settings, store, sample_allowed=False, version=alike).test

    return tests


def wishes(request: Request, settings: Settings, store: Store | None) -> "Wishes":
    """What a request asks of its data, beside what the model knows and has decided already.

    Args:
        request: Network, size and fit, where it says them.
        settings: Where decoded pictures are kept.
        store: Its classes; network, size and fit of what is served, the splits of the newest. None has none.
    """
    return _wishes(request, settings, store, newest_of_own_images(store) if store else None)


def _wishes(
    request: Request,
    settings: Settings,
    store: Store | None,
    before: Manifest | None,
    version: Manifest | None = None,
) -> "Wishes":
    """As `wishes`; `before` is the store's newest version of own images, `version` the one they are for."""
    from model.data.own.wishes import Wishes

    like = version or succeeded(store)
    wanted = replace(request, network=None, size=None, fit=None) if version else request
    known: tuple[str, ...] = ()
    renamed: dict[str, str] = {}
    if store is not None and (version or not request.new_classes):
        class_list = version.class_list if version else None
        known, renamed = store.classes.names_now_and_before(class_list)
        _check_renames(request.renamed, known, renamed)
    # A name that the source still has may be older than the one that is changed now.
    known = tuple(request.renamed.get(name, name) for name in known)
    renamed = {old: request.renamed.get(new, new) for old, new in renamed.items()} | dict(request.renamed)
    return Wishes(
        size=size_of(wanted, like),
        fit=wanted.fit or (like.contract.fit if like else "stretch"),
        network=network_of(wanted, like),
        cache=settings.home / "pictures",
        classes=known,
        renamed=renamed,
        drop_leaks=request.drop_leaks,
        earlier=_earlier_splits(store, before) if store and before else None,
        fixes=Path(request.fixes) if request.fixes else None,
    )


def give_ids(dataset: "Dataset", request: Request, settings: Settings, store: Store) -> int:
    """Give the classes of one's own images their ids in the store, once and for ever.

    Returns:
        The list that the ids are of.

    Raises:
        LostError: Someone else has given the next ids at the same moment.
    """
    if request.new_classes:
        return store.classes.begin_anew(dataset.classes, by=settings.who)
    if dataset.kind != "images":
        return store.classes.number
    # Under its old name first, so that the list knows what a source calls it that has not followed.
    old_names = {new: old for old, new in request.renamed.items()}
    names = store.classes.learn([old_names.get(name, name) for name in dataset.classes], by=settings.who)
    for old, new in request.renamed.items():
        names = store.classes.rename(old, new, by=settings.who)
    if names[: len(dataset.classes)] != dataset.classes:
        raise LostError("Another training has added classes at the same moment; run the command again.")
    return store.classes.number


def _check_renames(renamed: Mapping[str, str], known: Sequence[str], former: Mapping[str, str]) -> None:
    """Refuse what the list of classes would not take, before anything is decoded.

    Raises:
        MistakeError: A class is called something else by now, or there is another one of the new name.
    """
    for old, new in renamed.items():
        now = former.get(old, old)
        if now not in {old, new}:
            raise MistakeError(f"The class {old!r} is called {now!r} by now; rename that one.")
        if former.get(new, new) not in {old, now} and (new in known or new in former):
            raise MistakeError(
                f"--rename: there is or was another class {new!r}; choose a name that is free."
            )


def _earlier_splits(store: Store, newest: Manifest) -> bytes:
    """The splits of the newest version, and of the served one where that is no predecessor of it.

    Also of a version that was refused or rolled back: what it learned from stays what is learned from. Two
    that were trained at once know nothing of one another's new pictures.
    """
    splits = store.evidence(newest.version, SPLITS)
    number = store.ledger.served()
    served = store.manifest(number) if number is not None else newest
    if served.evidence.get(SPLITS, newest.evidence[SPLITS]) == newest.evidence[SPLITS]:
        return splits
    from model.data.splits.memory import Splits, joined

    theirs = Splits.from_bytes(store.evidence(served.version, SPLITS))
    return joined(Splits.from_bytes(splits), theirs).to_bytes()
