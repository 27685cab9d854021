"""`cnn-image run`, which `make run` calls: from nothing to a service that answers, on this machine.

What exists already is used: a promoted version is served at once, a published one is promoted, an
interrupted training goes on from its checkpoint. Training runs in a process of its own, so that TensorFlow's
memory goes with it, and the path that only serves never imports it.
"""

import asyncio
import io
import json
import os
import platform
import shlex
import signal
import subprocess
import sys
import zipfile
from collections.abc import Collection
from pathlib import Path

import httpx

from export.store.versions import Store
from jobs.console import answer, say
from jobs.errors import Exit, FaultError, MistakeError
from jobs.known import known_evidence
from jobs.laptop.naming import of_its_data
from jobs.laptop.ports import require_free_ports
from jobs.laptop.processes import die_with_parent
from jobs.laptop.serve import Service, serve
from jobs.settings import Settings
from jobs.signals import Told
from jobs.training_runs import left_unfinished
from model.contract import CLASSES, MODEL_NAME
from model.data.remote.http_client import local_client
from model.data.sources import example_images

EXAMPLE = CLASSES[-1]
_FIRST = "the first version on this machine"
_JUDGED = (Exit.OK, Exit.REFUSED, Exit.MISTAKE)
"""How `judge` ends where the version can be served: a mistake is data that is not here any more."""


def run(settings: Settings) -> None:
    """Serve the promoted version until Ctrl-C; train, publish, judge and promote one first if there is none.

    Raises:
        MistakeError: A port is in use, the data cannot be used, or the model of its name is of other data.
        JobError: A step failed; versions made earlier are untouched.
    """
    settings = of_its_data(settings)
    require_free_ports(settings)  # now, and not after the training alone
    store = settings.open_store()
    served = store.ledger.served()
    if served is None:
        _first_version(settings, store)
    else:
        say(f"Serving version {served}, promoted earlier; `cnn-image retrain` trains another.")
    asyncio.run(serve(settings, store, lambda service: _show(service, store, settings)))


def _first_version(settings: Settings, store: Store) -> None:
    """Train and publish a version if none was published yet; judge and promote the newest."""
    if not store.numbers():
        if settings.data is None and settings.model != MODEL_NAME:
            raise MistakeError(
                f"The model {settings.model} has no version yet and no data is named: name its pictures with "
                "--data."
            )
        _child(settings, "retrain", "--no-promote", "--sample-allowed", *_wishes(settings))
    elif settings.prefers_int8:
        _missing_twin(settings, store)
    newest = store.manifest(store.numbers()[-1])
    version = str(newest.version)
    # Whoever clones this wants to see an answer, and nothing else can be served yet: a first version on a
    # laptop is served whatever the gate says of it. The ledger says so; every later one has to pass.
    say(f"Judging version {version} …")
    data = settings.data or ("sample" if newest.data.kind == "sample" else None)
    code = _child(settings, "judge", version, *_flag("--data", data), shown=True, codes=_JUDGED)
    if code == Exit.OK:
        _child(settings, "promote", version, "--accept-weak-evidence", "--reason", _FIRST)
        return
    word = "could not be judged" if code == Exit.MISTAKE else "was refused"
    say(
        f"Version {version} {word}, and is served all the same, since there is nothing else to serve here; "
        "`cnn-image retrain` trains another, which takes its place if it is no worse."
    )
    _child(settings, "promote", version, "--override-gate", f"{_FIRST}, which {word}")


def _missing_twin(settings: Settings, store: Store) -> None:
    """Make the newest version's int8 twin where a training was interrupted while it was made."""
    newest = store.numbers()[-1]
    left = left_unfinished(settings.runs, store, newest)
    if left is None:
        return
    code = _child(settings, "publish", "--run", left.name, codes=(Exit.OK, Exit.MISTAKE))
    if code == Exit.MISTAKE:  # its data is not here any more, perhaps
        say(f"Going on without an int8 twin; `cnn-image quantize {newest}` makes it.")


def _child(
    settings: Settings, *arguments: str, shown: bool = False, codes: Collection[Exit] = (Exit.OK,)
) -> int:
    """Run a command of `cnn-image` as a child; what it says goes to this terminal.

    Args:
        settings: The store it works on.
        arguments: The command.
        shown: Whether what it answers goes to this terminal too, beside what it says.
        codes: The ends that are no failure.

    Returns:
        Its exit code, one of `codes`.

    Raises:
        SystemExit: It failed, has said why, and hands on its exit code.
        FaultError: It was killed, for want of memory perhaps.
    """
    command = [sys.executable, "-P", "-m", "cnn_image_entry", *arguments, *_flag("--store", settings.store)]
    # What it answers is for scripts; what it says while it works is for the person who waits here.
    # Nothing has threads yet here, which a preexec_fn could get stuck on.
    answers = sys.stderr if shown else subprocess.DEVNULL
    child = subprocess.Popen(command, stdout=answers, preexec_fn=_begin)  # noqa: PLW1509
    try:
        code = child.wait()
    except KeyboardInterrupt as reason:  # the terminal has sent it to the child too
        code = child.wait()
        if code < 0 or code in codes:  # it ended before it could say so, or was done by then
            raise
        raise Told(code) from reason
    except BaseException as reason:
        child.terminate()
        if child.wait() == Exit.TERMINATED:
            raise Told(Exit.TERMINATED) from reason
        raise
    if code < 0:
        raise FaultError(
            f"`cnn-image {arguments[0]}` was killed by signal {-code}; the same command goes on."
        )
    if code not in codes:
        raise SystemExit(code)
    return code


def _begin() -> None:
    """Called in the child: Ctrl-C waits until `cnn_image_entry` lets it come, past Python's own beginning."""
    die_with_parent()
    signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGINT})


def _wishes(settings: Settings) -> list[str]:
    """What to train on and how, as flags."""
    mirror = [] if settings.mirror else ["--no-mirror"]
    size = _flag("--size", str(settings.size) if settings.size else None)
    network = _flag("--network", settings.network)
    weights = _flag("--weights", str(settings.weights) if settings.weights else None)
    return [
        *_flag("--data", settings.data),
        *size,
        *_flag("--fit", settings.fit),
        *network,
        *weights,
        *mirror,
    ]


def _flag(name: str, value: str | None) -> list[str]:
    return [name, value] if value else []


def _example(store: Store, version: int, settings: Settings) -> Path:
    """A picture that the served version knows: a test image of the default's, or of one's own."""
    known = known_evidence(store, version)
    if known is None:
        return example_images()[EXAMPLE]
    with zipfile.ZipFile(io.BytesIO(known)) as pictures:
        name = sorted(pictures.namelist())[-1]
        image = settings.home / f"example-{version}.png"
        image.write_bytes(pictures.read(name))
    return image


async def _show(service: Service, store: Store, settings: Settings) -> None:
    """Send an example through the service, and print the call as a person would make it."""
    image = await asyncio.to_thread(_example, store, service.version or 0, settings)
    async with local_client(service.url, 30) as client:
        response = await client.post("/predict", files={"file": (image.name, image.read_bytes())})
    if response.status_code != httpx.codes.OK:
        raise FaultError(f"The example image was answered with {response.status_code}: {response.text[:300]}")
    url = service.url.replace("//127.0.0.1:", "//localhost:")
    answer(f"\nVersion {service.version} is served on {url}\n")
    if settings.in_container:  # its host name is its id, unless somebody chose another one
        answer(f"$ docker cp {platform.node()}:{image} .")
        image = Path(image.name)
    near = os.path.relpath(image)  # noqa: ASYNC240 - no file is touched
    example = shlex.quote(str(image) if near.startswith("..") else near)
    answer(f"$ curl -F file=@{example} {url}/predict")
    answer(json.dumps(response.json(), indent=2))
    answer("\nCtrl-C ends it.")
