"""A scoring from its beginning to its summary; begun again, it goes on from what is done."""

import hashlib
import os
import re
import tempfile
import time
import uuid
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Final

from export.store.manifest import Manifest
from export.store.versions import Store
from jobs.console import say
from jobs.errors import MistakeError
from jobs.scoring.choice import chosen, earlier_results
from jobs.scoring.crew import Crew
from jobs.scoring.destination import PAGE, SUMMARY, Destination, place_of_run
from jobs.scoring.plan import Plan, Request, cut, write_list
from jobs.scoring.progress import scoring_shown
from jobs.scoring.source.listing import STDIN, Listing, list_source, looks_like_pictures, opened_again
from jobs.scoring.source.picture import Picture
from jobs.scoring.source.readers import Reader, reader_of
from jobs.scoring.summary import Summary, page, seen, summarize
from jobs.scoring.worker import Job
from jobs.settings import Settings
from model.data.own.places.opening import identity
from model.data.own.places.pointed import S3
from model.images.decode import DECODER_VERSION
from model.images.header import image_format
from model.training.device import usable_cores

_LOOKED_AT: Final = 32
_ADDRESS: Final = re.compile(r"[A-Za-z][A-Za-z0-9+.-]*://")


@dataclass(frozen=True)
class Wish:
    """What is asked for.

    Attributes:
        source: As the user writes it.
        out: The place of the result; with `run`, of the results of many runs.
        version: Which one answers; None for the promoted one.
        limit: So many pictures at most, the first.
        sample: So many pictures at most, drawn.
        only_new: An earlier result, or a place of some, whose pictures are left out.
        run: Name of a folder in `out` for the result, without the pictures that the others there have.
        workers: Processes; None for one a core.
        part: Of how many machines this is which, from 0; each scores its own shards.
    """

    source: str
    out: str
    version: int | None = None
    limit: int | None = None
    sample: int | None = None
    only_new: str | None = None
    run: str | None = None
    workers: int | None = None
    part: tuple[int, int] = (0, 1)

    @property
    def place(self) -> str:
        """Where the result of this run lies."""
        return self.out if self.run is None else place_of_run(self.out, self.run)


def score(settings: Settings, wish: Wish, stdin: Iterable[str] = ()) -> Summary | None:
    """Score a source.

    Args:
        settings: Of the command line.
        wish: What is asked for.
        stdin: What stands on standard input.

    Returns:
        The summary; None where shards are left to other machines, or a run finds nothing new.

    Raises:
        MistakeError: The place holds something else or is none, or there is no such version.
        DataError: The source cannot be read.
        StoreError: The store or the place of the result refuses.
        JobFailedError: A worker failed.
    """
    began = time.monotonic()
    for place in (wish.source, wish.out, wish.only_new or ""):
        _require_known(place)
    lines = list(stdin)
    request = _request(wish, lines)
    destination = Destination(settings.open_place(wish.place))
    store = settings.open_store()
    with tempfile.TemporaryDirectory(prefix="cnn-image-score-") as scratch:
        plan, container = destination.plan(), None
        if plan is None:
            manifest = _version(store, wish.version)
            listing = _listed(wish, destination, lines, Path(scratch))
            container = listing.container
            plan = _begun(settings, request, manifest, listing, destination, wish)
            del listing  # of a million pictures 400 MB, while the plan's list has them
            if plan is None:
                say(f"No picture of {wish.source} is new since the runs in {wish.out}.")
                return None
        _require_same(plan, request, wish, destination)
        manifest = store.manifest(plan.version)
        _require_version(plan, manifest, destination)
        if container is None:
            container = opened_again(plan.origin, Path(scratch), wish.source)
        version = store.fetch(plan.version, Path(scratch) / "version")
        done = destination.done(plan)
        mine = shards_of(plan, wish.part) - done
        _say_begun(plan, done, destination)
        count = wish.workers or usable_cores()
        job = Job(settings, wish.place, version, container, max(1, usable_cores() // count))
        ready = sum(plan.shards[number] for number in done)
        with scoring_shown(ready + sum(plan.shards[number] for number in mine), ready) as tell:
            Crew(job, destination, plan, count).work(mine, tell)
        if len(destination.done(plan)) < len(plan.shards):
            say("The shards of this machine are done; others are under way elsewhere.")
            return None
        if not mine and (written := destination.summary()) is not None:
            return Summary.from_json(written, destination.url)
        reader = reader_of(plan.origin, container, wish.source, remote=plan.remote)
        scored = plan.pictures - ready  # by whomever, since this start
        return _summarized(destination, plan, manifest, reader, scored, time.monotonic() - began)


def shards_of(plan: Plan, part: tuple[int, int]) -> set[int]:
    """The shards of one machine.

    Args:
        plan: Has them all.
        part: Of how many machines it is which, from 0.

    Returns:
        Of a Parquet neighbouring ones, since its rows are read in their order; else those whose number leaves
        the machine's as remainder, so that pictures that lie together and take long are shared.
    """
    this, machines = part
    total = len(plan.shards)
    if plan.kind == "rows":
        return {shard for shard in range(total) if shard * machines // total == this}
    return set(range(this, total, machines))


def _require_known(place: str) -> None:
    """Refuse an address of another kind, which would be taken for a path.

    Raises:
        MistakeError: It is one.
    """
    if _ADDRESS.match(place) and not place.startswith(S3):
        raise MistakeError(
            f"{place} is an address that is not read or written here; name a path or an s3:// address, and "
            "copy there what lies elsewhere."
        )


def _request(wish: Wish, lines: Sequence[str]) -> Request:
    source = identity(wish.source)
    if wish.source == STDIN:
        source = f"standard input {hashlib.sha256(os.fsencode(''.join(lines))).hexdigest()[:16]}"
    earlier = wish.out if wish.run is not None else wish.only_new
    only_new = identity(earlier) if earlier else None
    return Request(source=source, limit=wish.limit, sample=wish.sample, only_new=only_new)


def _version(store: Store, version: int | None) -> Manifest:
    number = store.ledger.served() if version is None else version
    if number is None:
        raise MistakeError(
            f"No version is promoted in {store.url}; name one with --version, of those that "
            "`cnn-image versions` lists."
        )
    return store.manifest(number)


def _listed(wish: Wish, destination: Destination, lines: Sequence[str], scratch: Path) -> Listing:
    """What the source holds, once it is known that the result can be written."""
    if wish.source != STDIN and not wish.source.startswith(S3):
        _require_apart(Path(wish.source).expanduser(), wish.place)
    elif wish.source.startswith(S3) and f"{wish.place.rstrip('/')}/".startswith(
        f"{wish.source.rstrip('/')}/"
    ):
        raise _inside(wish.place, wish.source)
    destination.require_free()
    say(f"Looking at {'standard input' if wish.source == STDIN else wish.source} …")
    return list_source(wish.source, scratch, lines)


def _require_apart(source: Path, out: str) -> None:
    """Leave a source that is not there to who lists it, before anything is written."""
    if not source.exists():
        list_source(str(source), source)
    if "://" not in out and source.is_dir() and Path(out).resolve().is_relative_to(source.resolve()):
        raise _inside(out, source)


def _inside(out: object, source: object) -> MistakeError:
    return MistakeError(
        f"The result {out} would lie inside the source {source} and be scored itself; name another "
        "place with --out."
    )


def _begun(
    settings: Settings,
    request: Request,
    manifest: Manifest,
    listing: Listing,
    destination: Destination,
    wish: Wish,
) -> Plan | None:
    """The plan that holds; None where a run finds nothing new."""
    earlier: Sequence[Destination] = ()
    if request.only_new:
        earlier = earlier_results(settings.open_place, request.only_new, before=wish.run)
        if not earlier and wish.run is None:
            raise MistakeError(f"{request.only_new} holds no result of a scoring; name one with --only-new.")
    pictures = chosen(listing.pictures, request, earlier)
    if not pictures:
        if wish.run is not None:
            return None
        raise MistakeError(f"No picture of {request.source} is new since {request.only_new}.")
    remote = any(picture.key.startswith(S3.encode()) for picture in pictures)
    reader = reader_of(listing.origin, listing.container, request.source, remote=remote)
    _require_pictures(pictures, reader, request.source)
    shards = cut(pictures)
    content = write_list(pictures, shards)
    digest = hashlib.sha256(content).hexdigest()
    plan = Plan(
        id=uuid.uuid4().hex,
        created=datetime.now(UTC),
        created_by=settings.who,
        request=request,
        kind=listing.origin.kind,
        container=listing.origin.container,
        stamp=listing.origin.stamp,
        list_key=f"_plan/pictures-{digest[:16]}.arrow",
        list_sha256=digest,
        shards=tuple(shards),
        seen=len(listing.pictures),
        remote=remote,
        model=manifest.contract.model,
        version=manifest.version,
        precision=manifest.precision,
        graph_sha256=manifest.files[manifest.classifier_file].sha256,
        decoder=DECODER_VERSION,
        classes=manifest.contract.classes,
        data_digest=manifest.data.digest,
        commit=manifest.commit or "",
    )
    return destination.begin(plan, content)


def _require_pictures(pictures: Sequence[Picture], reader: Reader, source: str) -> None:
    """Refuse a source none of whose names or first bytes is a picture's.

    Raises:
        MistakeError: It is one.
    """
    if looks_like_pictures(pictures):
        return
    there = [picture for picture in pictures if picture.trouble is None]
    step = max(1, len(there) // _LOOKED_AT)
    for data in reader.read(there[::step]):
        if isinstance(data, bytes) and image_format(data) is not None:
            return
    raise MistakeError(
        f"{source} has {len(pictures):,} files and not one picture among those looked at; name what has "
        "pictures."
    )


def _require_same(plan: Plan, request: Request, wish: Wish, destination: Destination) -> None:
    """Refuse to go on with a result of something else.

    Raises:
        MistakeError: It is one.
    """
    other = None
    if plan.request != request:
        theirs, ours = plan.request.model_dump(), request.model_dump()
        name = next(name for name in theirs if theirs[name] != ours[name])
        other = f"{name.replace('_', '-')} {theirs[name]}, not {ours[name]}"
    elif wish.version is not None and wish.version != plan.version:
        other = f"version {plan.version}, not {wish.version}"
    if other:
        raise MistakeError(
            f"{destination.url} holds the result of another scoring ({other}); name another with --out."
        )


def _require_version(plan: Plan, manifest: Manifest, destination: Destination) -> None:
    graph = manifest.files[manifest.classifier_file].sha256
    if plan.graph_sha256 != graph or plan.model != manifest.contract.model:
        raise MistakeError(
            f"{destination.url} was begun with another version {plan.version} of {plan.model} than this "
            "store has; name that store with --store, or another place with --out."
        )
    if plan.decoder != DECODER_VERSION:
        raise MistakeError(
            f"{destination.url} was begun with decoder {plan.decoder}, and this cnn-image has "
            f"{DECODER_VERSION}; name another place with --out, so that one table is of one decoder."
        )


def _say_begun(plan: Plan, done: set[int], destination: Destination) -> None:
    what = f"{plan.pictures:,} pictures by version {plan.version} ({plan.precision}) of {plan.model}"
    if done:
        shards = f"{len(done):,} of {len(plan.shards):,} shards"
        say(f"Going on in {destination.url}: {shards} of {what} are done.")
    else:
        shards = "1 shard" if len(plan.shards) == 1 else f"{len(plan.shards):,} shards"
        say(f"Scoring {what}, in {shards}, into {destination.url}.")


def _summarized(
    destination: Destination, plan: Plan, manifest: Manifest, reader: Reader, scored: int, seconds: float
) -> Summary:
    summary, places = summarize(destination, plan, scored=scored, seconds=seconds)
    pictures = destination.pictures(plan)
    least = [pictures.shard(shard)[row] for shard, row in places]
    shown = seen(least, reader, manifest.contract)
    destination.put(PAGE, page(summary, shown).encode())
    destination.put(SUMMARY, summary.to_json())
    return summary
