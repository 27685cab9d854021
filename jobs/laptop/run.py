"""`cnn-image run`, which `make run` calls: from nothing to a service that answers, on this machine.

What exists already is used: a promoted version is served at once, a published one is promoted, an
interrupted training goes on from its checkpoint. Training runs in a process of its own, so that TensorFlow's
memory goes with it, and the path that only serves never imports it.
"""

import asyncio
import json
import os
import platform
import shlex
import subprocess
import sys
from pathlib import Path

import httpx

from export.store.versions import Store, open_store
from jobs.console import answer, say
from jobs.errors import Exit, FaultError
from jobs.laptop.processes import die_with_parent, require_free_port
from jobs.laptop.serve import Service, serve
from jobs.settings import Settings
from model.contract import CLASSES
from model.data.http_client import local_client
from model.data.sources import example_images

EXAMPLE = CLASSES[-1]


def run(settings: Settings) -> None:
    """Serve the promoted version until Ctrl-C; train, publish and promote one first if there is none.

    Raises:
        MistakeError: A port is in use, or the data cannot be used.
        JobError: A step failed; versions made earlier are untouched.
    """
    require_free_port(settings.port, "HTTP", "PORT")
    require_free_port(settings.transformer_grpc_port, "gRPC", "CNN_IMAGE_GRPC_PORT")
    store = open_store(settings.store_url)
    served = store.ledger.served()
    if served is None:
        _first_version(settings, store)
    else:
        say(f"Serving version {served}, promoted earlier; `cnn-image retrain` trains another.")
    asyncio.run(serve(settings, store, lambda service: _show(service, settings)))


def _first_version(settings: Settings, store: Store) -> None:
    """Train and publish a version if none was published yet, and promote the newest."""
    if not store.numbers():
        _child(settings, "retrain", "--no-promote", "--sample-allowed", *_flag("--data", settings.data))
    # Whoever clones this wants to see an answer, so the first version on a laptop is served without the
    # gate's verdict, and the ledger says so; every later one has to pass it.
    reason = "the first version on this machine, not judged"
    version = store.numbers()[-1]
    _child(settings, "promote", str(version), "--override-gate", reason)


def _child(settings: Settings, *arguments: str) -> None:
    """Run a command of `cnn-image` as a child; what it says goes to this terminal.

    Raises:
        SystemExit: It failed, has said why, and hands on its exit code.
        FaultError: It was killed, for want of memory perhaps.
    """
    command = [sys.executable, "-P", "-m", "jobs.cli", *arguments, *_flag("--store", settings.store)]
    # What it answers is for scripts; what it says while it works is for the person who waits here.
    # Nothing has threads yet here, which a preexec_fn could get stuck on.
    child = subprocess.Popen(command, stdout=subprocess.DEVNULL, preexec_fn=die_with_parent)  # noqa: PLW1509
    try:
        code = child.wait()
    except KeyboardInterrupt:  # the terminal has sent it to the child too, which may have been done by then
        code = child.wait()
        if code == 0:
            raise
    except BaseException as reason:
        child.terminate()
        if child.wait() == Exit.TERMINATED:
            raise SystemExit(Exit.TERMINATED) from reason  # the child has said so
        raise
    if code < 0:
        raise FaultError(
            f"`cnn-image {arguments[0]}` was killed by signal {-code}; the same command goes on."
        )
    if code:
        raise SystemExit(code)


def _flag(name: str, value: str | None) -> list[str]:
    return [name, value] if value else []


async def _show(service: Service, settings: Settings) -> None:
    """Send an example through the service, and print the call as a person would make it."""
    image = example_images()[EXAMPLE]
    async with local_client(settings.url, 30) as client:
        response = await client.post("/predict", files={"file": (image.name, image.read_bytes())})
    if response.status_code != httpx.codes.OK:
        raise FaultError(f"The example image was answered with {response.status_code}: {response.text[:300]}")
    answer(f"\nVersion {service.version} is served on http://localhost:{settings.port}\n")
    if settings.in_container:  # its host name is its id, unless somebody chose another one
        answer(f"$ docker cp {platform.node()}:{image} .")
        image = Path(image.name)
    example = shlex.quote(os.path.relpath(image))  # noqa: ASYNC240 - no file is touched
    answer(f"$ curl -F file=@{example} http://localhost:{settings.port}/predict")
    answer(json.dumps(response.json(), indent=2))
    answer("\nCtrl-C ends it.")
