"""Training runs on disk: which one to go on with, and what a step leaves for the next.

var/runs/20261122-184412-3f2a/
    request.json        what was asked for
    unfinished          while a retrain has more to do with it, so that another try goes on with it
    checkpoint.npz      while it trains
    model.keras, run.json   once it is trained
    evidence/, held-out.npy of one's own images: their splits and some of them, for the version
    export/             the graphs and their lineage, once parity is proven
    published.json      the version's number in the store it was published to
"""

import fcntl
import json
import secrets
import shutil
import unicodedata
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import asdict, dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from typing import Final

from export.store.versions import Store
from jobs.errors import MistakeError
from jobs.settings import Settings
from model.contract import Fit, Network

_LATER: Final = ("network", "weights")


@dataclass(frozen=True)
class Request:
    """What a run was asked for; an interrupted run goes on only for the same request.

    Attributes:
        data: As the user named it; None for whatever is found.
        recipe: Its name.
        epochs: In place of the recipe's.
        batch_size: In place of the recipe's.
        seed: Of everything random.
        size: Side of the network's input in place of what the version before has, or the pictures say.
        fit: How a picture becomes a square, in place of what the version before has.
        mirror: Whether mirrored pictures are learned too.
        fixes: CSV file of labels that are put right while the pictures are read.
        new_classes: Begin a new list of class ids; versions of it have nothing to do with those before.
        renamed: Classes that are called something else from now on: old name → new name.
        drop_leaks: Whether pictures that the source has in two splits are left out of the weaker one.
        network: What learns, in place of what the version before has, or the pictures' size says.
        weights: File that it begins with, in place of the network's package.
    """

    data: str | None
    recipe: str
    epochs: int | None
    batch_size: int | None
    seed: int
    size: int | None = None
    fit: Fit | None = None
    mirror: bool = True
    fixes: str | None = None
    new_classes: bool = False
    renamed: Mapping[str, str] = field(default_factory=dict)
    drop_leaks: bool = False
    network: Network | None = None
    weights: str | None = None


def request_of(
    settings: Settings,
    seed: int,
    *,
    fix: Path | None = None,
    new_classes: bool = False,
    rename: Sequence[str] = (),
) -> Request:
    """What the settings ask to be trained, but for the names of classes, which trainings alone change.

    Raises:
        MistakeError: A class cannot be renamed like that.
    """
    if rename and new_classes:
        raise MistakeError("--rename keeps a class and --new-classes begins anew; give one of the two.")
    return Request(
        data=settings.data,
        recipe=settings.recipe,
        epochs=settings.epochs,
        batch_size=settings.batch_size,
        seed=seed,
        size=settings.size,
        fit=settings.fit,
        mirror=settings.mirror,
        fixes=str(fix.absolute()) if fix else None,
        new_classes=new_classes,
        renamed=read_renames(rename),
        drop_leaks=settings.drop_leaks,
        network=settings.network,
        weights=str(settings.weights.absolute()) if settings.weights else None,
    )


def read_renames(given: Sequence[str]) -> dict[str, str]:
    """What `--rename old=new` means, given any number of times: old name → new name, in composed form.

    Raises:
        MistakeError: One says something else, or two do not go together.
    """
    renamed: dict[str, str] = {}
    for rename in given:
        old, *news = (unicodedata.normalize("NFC", name.strip()) for name in rename.split("="))
        if len(news) != 1 or not old or not news[0] or old == news[0]:
            raise MistakeError(f"--rename is {rename!r}: write the old name, one =, and the new name.")
        if old in renamed or news[0] in renamed.values():
            raise MistakeError(f"--rename names {rename!r} and one of its classes twice; rename each once.")
        renamed[old] = news[0]
    return renamed


@dataclass(frozen=True)
class Run:
    """A run's folder, and how far it came."""

    folder: Path

    @property
    def name(self) -> str:
        """What commands call it."""
        return self.folder.name

    @property
    def trained(self) -> bool:
        """Whether training has ended well."""
        return (self.folder / "run.json").is_file()

    @property
    def export_folder(self) -> Path:
        """Where the exported graphs are."""
        return self.folder / "export"

    @property
    def exported(self) -> bool:
        """Whether the graphs are there and parity is proven; the lineage is written last."""
        return (self.export_folder / "lineage.json").is_file()

    @property
    def evidence_folder(self) -> Path:
        """What the version will have beside it, of one's own images: their splits, known images."""
        return self.folder / "evidence"

    @property
    def score(self) -> Path:
        """What the score of what is unlike anything learned is made of; not there where a run has none."""
        return self.folder / "score.npz"

    @property
    def usual(self) -> Path:
        """The validation pictures, as far as thresholds need them, as pixels."""
        return self.folder / "usual.npy"

    @property
    def held_out(self) -> Path:
        """Pixels of test images, of one's own, that the exported graphs are compared with the model on."""
        return self.folder / "held-out.npy"

    @property
    def class_list(self) -> int:
        """The store's list that the class ids are of."""
        path = self.folder / "class-list"
        return int(path.read_text()) if path.is_file() else 1

    def of_class_list(self, number: int) -> None:
        """Note which list that is."""
        (self.folder / "class-list").write_text(f"{number}\n")

    def version(self, store: Store) -> int | None:
        """The version it was published as in a store."""
        try:
            return int(json.loads((self.folder / "published.json").read_text())[store.url])
        except (FileNotFoundError, KeyError):
            return None

    def published_as(self, store: Store, version: int) -> None:
        """Note the version's number."""
        (self.folder / "published.json").write_text(json.dumps({store.url: version}) + "\n")

    @property
    def unfinished(self) -> bool:
        """Whether a retrain that was to bring it to its end has not done so."""
        return (self.folder / "unfinished").exists()

    def begin(self) -> None:
        """Note that a retrain is to bring it to its end: published, or promoted, or refused."""
        (self.folder / "unfinished").touch()

    def finish(self) -> None:
        """Note that nothing more is to be done with it; the next retrain trains anew."""
        (self.folder / "unfinished").unlink(missing_ok=True)

    @contextmanager
    def held(self) -> Iterator[None]:
        """Keep other processes from training the same run.

        Raises:
            MistakeError: One does.
        """
        with (self.folder / ".lock").open("w") as lock:
            try:
                fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError:
                raise MistakeError(
                    f"Run {self.name} is being trained by another process; wait for it."
                ) from None
            yield

    @property
    def busy(self) -> bool:
        """Whether another process trains it now."""
        try:
            with self.held():
                return False
        except MistakeError:
            return True

    def request(self) -> Request:
        """What was asked for.

        Raises:
            MistakeError: The folder does not say.
        """
        try:
            return Request(**json.loads((self.folder / "request.json").read_text()))
        except (OSError, ValueError, TypeError) as error:
            raise MistakeError(
                f"{self.folder} is no training run, or its request.json is damaged ({error}); remove it."
            ) from None


def new_run(runs: Path, request: Request, name: str | None = None) -> Run:
    """Make a run's folder; one of the same name and request is used again."""
    name = name or f"{datetime.now(UTC):%Y%m%d-%H%M%S}-{secrets.token_hex(2)}"
    run = Run(runs / name)
    if run.folder.is_dir() and run.request() != request:
        raise MistakeError(f"{run.folder} was made for something else; choose another name for this run.")
    run.folder.mkdir(parents=True, exist_ok=True)
    # What earlier releases do not know is written where it says something: they refuse the run otherwise.
    asked = {name: value for name, value in asdict(request).items() if value or name not in _LATER}
    (run.folder / "request.json").write_text(json.dumps(asked, indent=1) + "\n")
    return run


def unfinished_run(runs: Path, request: Request, store: Store) -> Run | None:
    """The newest run of this request that a retrain began and did not bring to its end."""
    for run in _newest_first(runs):
        if run.unfinished and run.request() == request and not run.busy:
            version = run.version(store)
            if version is None or version in store.numbers():
                return run
    return None


def left_unfinished(runs: Path, store: Store, version: int) -> Run | None:
    """The run that was published as a version and has more to be done with it: its int8 twin, for example."""
    for run in _newest_first(runs):
        if run.unfinished and not run.busy and run.version(store) == version:
            return run
    return None


def interrupted_run(runs: Path, request: Request) -> Run | None:
    """The newest run of this request whose training was interrupted."""
    for run in _newest_first(runs):
        if run.request() == request and not run.trained and not run.busy:
            return run
    return None


def find_run(runs: Path, name: str | None) -> Run:
    """The run of that name, or the newest one.

    Raises:
        MistakeError: There is none.
    """
    if name is None:
        for run in _newest_first(runs):
            return run
        raise MistakeError(f"There is no training run in {runs}; make one with `cnn-image train`.")
    run = Run(runs / name)
    if Path(name).name != name or not run.folder.is_dir():
        raise MistakeError(f"There is no training run {name!r} in {runs}.")
    return run


def remove_old_runs(runs: Path, keep: int) -> None:
    """Remove the folders of old runs: not the newest `keep`, and none that could still be gone on with."""
    for run in list(_newest_first(runs))[keep:]:
        if run.trained and not run.unfinished and not run.busy:
            shutil.rmtree(run.folder)


def _newest_first(runs: Path) -> Iterator[Run]:
    # By the request, written when a run is begun; the folder's own time moves with each lock and checkpoint.
    requests = sorted(runs.glob("*/request.json"), key=lambda path: path.stat().st_mtime, reverse=True)
    yield from (Run(request.parent) for request in requests)
