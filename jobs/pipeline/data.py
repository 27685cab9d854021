"""The data of a request as a version's contract has it: known classes, and which split keeps a picture."""

from pathlib import Path
from typing import TYPE_CHECKING

from export.store.manifest import Manifest
from export.store.versions import SPLITS, Store
from jobs.console import say
from jobs.errors import LostError, MistakeError
from jobs.pipeline.decoding import decoding_shown
from jobs.pipeline.training_runs import Request
from jobs.settings import Settings
from model.contract import Contract

if TYPE_CHECKING:
    from model.data.dataset import Dataset
    from model.data.own.wishes import Wishes


def load_data(
    request: Request,
    settings: Settings,
    store: Store,
    *,
    sample_allowed: bool,
    contract: Contract | None = None,
) -> "Dataset":
    """Load the data of a request and say which it is: `read_data`, and a line for people."""
    dataset = read_data(request, settings, store, sample_allowed=sample_allowed, contract=contract)
    say_which(dataset)
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
    contract: Contract | None = None,
) -> "Dataset":
    """Load the data of a request.

    Args:
        request: Which data, in which size and fit.
        settings: Where decoded pictures are kept.
        store: Whose versions the classes and the splits are inherited from; None inherits nothing.
        sample_allowed: Whether the small sample may stand in for CIFAR-10.
        contract: Of a version that the pictures are for, in place of the request's size and fit.

    Raises:
        DataError: It cannot be used, or there is none.
        MistakeError: It is CIFAR-10, and the store's versions are of other classes.
    """
    from model.data.sources import load_dataset

    with_classes = wishes(request, settings, store, contract)
    with decoding_shown() as progress:
        dataset = load_dataset(
            request.data, allow_sample=sample_allowed, wishes=with_classes, progress=progress
        )
    known = with_classes.classes[: len(dataset.classes)]
    if dataset.kind != "images" and known and known != dataset.classes:
        raise MistakeError(
            f"{dataset.source} is CIFAR-10, and the versions in the store are of other classes "
            f"({', '.join(known[:5])} …): name their data with --data, or another model with --model."
        )
    return dataset


def wishes(
    request: Request, settings: Settings, store: Store | None, contract: Contract | None = None
) -> "Wishes":
    """What a request asks of its data, beside what the model knows and has decided already.

    Args:
        request: Size and fit, where it says them.
        settings: Where decoded pictures are kept.
        store: Its classes; the size, fit and splits of the version before. None knows nothing.
        contract: Of a version that the pictures are for.
    """
    from model.data.own.wishes import Wishes

    before = _newest_of_own_images(store) if store else None
    known = None if store is None or request.new_classes else store.classes
    like = contract or (before.contract if before else None)
    size, fit = (contract.size, contract.fit) if contract else (request.size, request.fit)
    return Wishes(
        size=size or (like.size if like else None),
        fit=fit or (like.fit if like else "stretch"),
        cache=settings.home / "pictures",
        classes=known.names() if known else (),
        renamed=known.former_names() if known else {},
        # Also of a version that was refused or rolled back: what it learned from stays what is learned from.
        earlier=store.evidence(before.version, SPLITS) if store and before else None,
        fixes=Path(request.fixes) if request.fixes else None,
    )


def give_ids(dataset: "Dataset", request: Request, settings: Settings, store: Store) -> int:
    """Give the classes of one's own images their ids in the store, once and for ever.

    Returns:
        The list that the ids are of.

    Raises:
        LostError: Someone else has given the next ids at the same moment.
    """
    if dataset.kind != "images":
        return store.classes.number
    if request.new_classes:
        return store.classes.begin_anew(dataset.classes, by=settings.who)
    names = store.classes.learn(dataset.classes, by=settings.who)
    if names[: len(dataset.classes)] != dataset.classes:
        raise LostError("Another training has added classes at the same moment; run the command again.")
    return store.classes.number


def _newest_of_own_images(store: Store) -> Manifest | None:
    for manifest in reversed(store.versions()):
        if SPLITS in manifest.evidence:
            return manifest
    return None
