"""Which model one's own images are: called after them, and another folder of that name is another model."""

import json
import os
import re
import shlex
import unicodedata
from pathlib import Path, PurePosixPath

from jobs.console import say
from jobs.errors import MistakeError
from jobs.settings import Settings
from model.contract import MODEL_NAME, ContractError, check_model_name
from model.data.own.places.manifest import MANIFESTS
from model.data.own.places.opening import identity, official, opened

_ARCHIVES = re.compile(r"\.(zip|tgz|txz|tbz2|tar(\.(gz|xz|bz2|zst))?)$", re.IGNORECASE)
_S3 = "s3://"


def named_after(source: str) -> str:
    """The name of a model that is made of one's own images, after their folder, archive or address.

    `~/My Photos` becomes `my-photos`, `s3://bucket/birds.tar.gz` becomes `birds`, and `birds/labels.csv` too.
    """
    stem = _named(identity(source)).rpartition("/")[2]
    plain = unicodedata.normalize("NFKD", stem).encode("ascii", "ignore").decode().lower()
    name = re.sub(r"[^a-z0-9]+", "-", plain).strip("-")[:40].strip("-")
    try:
        check_model_name(name)
    except ContractError:  # it begins with a digit, or nothing is left
        return f"images-{name}"[:40].strip("-")
    return "images" if name == MODEL_NAME else name


def of_its_data(settings: Settings) -> Settings:
    """The settings with a model's name after its data, where these are one's own and no model was named.

    Raises:
        DataError: There is no data of that name.
        MistakeError: The model of that name is made of other data.
    """
    if settings.data in {None, "sample"} or "CNN_IMAGE_MODEL" in os.environ:
        return settings
    source = str(settings.data)
    name = named_after(source)
    called = settings.model_copy(update={"model": name})
    if called.home.is_dir():  # made by an earlier run
        _require_same(called, identity(source))
    else:
        with opened(source) as place:
            if official(place) is not None:
                return settings
    _remember(called, identity(source))
    os.environ["CNN_IMAGE_MODEL"] = name  # for the commands that this one runs
    say(f"The model is called {name}, after its data; `cnn-image --model {name} …` is about it.")
    return called


def model_of_its_data(settings: Settings) -> Settings | None:
    """The settings of the model that would learn the data's own images, without making one.

    That is the one that was named, or the default where it has learned own images; else the one that `run`
    calls after the data, where that is there.

    Returns:
        None where nothing is known of the data's classes: there is no model of it yet.

    Raises:
        StoreError: A store cannot be read.
    """
    if settings.store or "CNN_IMAGE_MODEL" in os.environ:
        return settings
    versions = settings.open_store().versions()
    if not versions or any(version.data.kind == "images" for version in versions):
        return settings
    source = str(settings.data)
    called = settings.of_model(named_after(source))
    here = called.home.is_dir() and any(_is_same(one, identity(source)) for one in _made_of(called))
    return called if here else None


def _require_same(settings: Settings, source: str) -> None:
    """Let nobody take another folder of the same name for the model that is there.

    Where the data that it was made of is gone, it was moved here.
    """
    if any(_is_same(one, source) for one in _remembered(settings)):
        return
    known = _made_of(settings)
    there = [one for one in known if _is_there(one)]
    if any(_is_same(one, source) for one in there):
        return
    if there:
        raise MistakeError(
            f"The model {settings.model} is made of {there[-1]}, and {source} has the same name: give its "
            f"model another one with `cnn-image --model NAME run --data {shlex.quote(source)}`, or go on "
            f"with {settings.model} with `cnn-image --model {settings.model} run --data "
            f"{shlex.quote(source)}`."
        )
    if known:
        say(
            f"The model {settings.model} was made of {known[-1]}, which is gone: {source} is taken for the "
            "same, moved. If it is not, give its model another name with `cnn-image --model NAME run`."
        )


def _named(source: str) -> str:
    """What a model is called after: an archive without its suffix, of a CSV or Parquet its folder."""
    scheme = _S3 if source.startswith(_S3) else ""
    path = PurePosixPath(source.removeprefix(scheme))
    if path.suffix.casefold() in MANIFESTS:
        path = path.parent
    return scheme + _ARCHIVES.sub("", os.path.normpath(path))


def _is_there(source: str) -> bool:
    """Whether data is where it was; of a bucket nobody asks, for that may take long."""
    return source.startswith(_S3) or Path(source).exists()


def _is_same(one: str, other: str) -> bool:
    """Whether both are one place, by whatever path, or are called after one."""
    if _named(one) == _named(other):
        return True
    pairs = [(one, other), (_named(one), _named(other))]
    return any(Path(a).exists() and Path(b).exists() and Path(a).samefile(b) for a, b in pairs)


def _file(settings: Settings) -> Path:
    return settings.home / "data.json"


def _made_of(settings: Settings) -> list[str]:
    """The data that the model was made of, as its folder and its versions say."""
    # A training that was given the model's name says its data in the version alone.
    versions = settings.open_store().versions()
    own = [identity(version.data.source) for version in versions if version.data.kind == "images"]
    return [*_remembered(settings), *own]


def _remembered(settings: Settings) -> list[str]:
    """The data that the model was made of, the oldest first."""
    try:
        read = json.loads(_file(settings).read_text())
    except (FileNotFoundError, ValueError):
        return []
    return [str(source) for source in read] if isinstance(read, list) else []


def _remember(settings: Settings, source: str) -> None:
    there = [one for one in _remembered(settings) if _is_there(one)]  # what is gone may be others' place soon
    sources = list(dict.fromkeys([*there, source]))
    settings.home.mkdir(parents=True, exist_ok=True)
    _file(settings).write_text(json.dumps(sources, indent=1) + "\n")
