"""The data of a request as a version's contract has it: known classes, and which split keeps a picture."""

from collections.abc import Callable, Iterable
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

from export.store.manifest import Manifest
from export.store.versions import SPLITS, Store
from jobs.console import say
from jobs.errors import LostError, MistakeError
from jobs.gate.judge import Tests, fixed
from jobs.pipeline.decoding import decoding_shown
from jobs.pipeline.training_runs import Request
from jobs.settings import Settings
from model.contract import Contract

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

    before = version or (_newest_of_own_images(store) if store else None)
    if request.data is None and before is not None and before.data.kind == "images":
        raise MistakeError(  # else CIFAR-10 would be downloaded, to be refused
            f"Version {before.version} was made of {before.data.source}: name the data with --data."
        )
    with_classes = wishes(request, settings, store, version)
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


def wishes(
    request: Request, settings: Settings, store: Store | None, version: Manifest | None = None
) -> "Wishes":
    """What a request asks of its data, beside what the model knows and has decided already.

    Args:
        request: Size and fit, where it says them.
        settings: Where decoded pictures are kept.
        store: Its classes; size and fit of what is served, the splits of the newest. None knows nothing.
        version: That the pictures are for.
    """
    from model.data.own.wishes import Wishes

    before = _newest_of_own_images(store) if store else None
    # What is served says size and fit: a version that tried others and was refused changes nothing.
    like = version or (_served_of_own_images(store) if store else None) or before
    size, fit = (None, None) if version else (request.size, request.fit)
    known: tuple[str, ...] = ()
    renamed: dict[str, str] = {}
    if store is not None and (version or not request.new_classes):
        class_list = version.class_list if version else None
        known, renamed = store.classes.names(class_list), store.classes.former_names(class_list)
    return Wishes(
        size=size or (like.contract.size if like else None),
        fit=fit or (like.contract.fit if like else "stretch"),
        cache=settings.home / "pictures",
        classes=known,
        renamed=renamed,
        # Also of a version that was refused or rolled back: what it learned from stays what is learned from.
        earlier=store.evidence(before.version, SPLITS) if store and before else None,
        fixes=Path(request.fixes) if request.fixes else None,
    )


def rename_classes(renames: Iterable[str], settings: Settings, store: Store) -> None:
    """Call classes something else from the next version on; done again, nothing changes.

    Args:
        renames: `OLD=NEW` each.
        settings: Who does it.
        store: Whose classes.

    Raises:
        MistakeError: One of them is no renaming.
        StoreError: There is no such class, or another one of the new name.
        ContractError: The new name cannot be one.
    """
    for rename in renames:
        old, sign, new = rename.partition("=")
        if not sign:
            raise MistakeError(f"--rename is {rename!r}: name both, as in --rename old=new.")
        store.classes.rename(old, new, by=settings.who)
        say(f"The class {old!r} is called {new!r} from the next version on.")


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


def _served_of_own_images(store: Store) -> Manifest | None:
    served = store.ledger.served()
    manifest = store.manifest(served) if served is not None else None
    return manifest if manifest and SPLITS in manifest.evidence else None


def _newest_of_own_images(store: Store) -> Manifest | None:
    for manifest in reversed(store.versions()):
        if SPLITS in manifest.evidence:
            return manifest
    return None
