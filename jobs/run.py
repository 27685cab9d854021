"""`cnn-image run`, which `make run` calls: from nothing to a service that answers, on this machine.

What exists already is used: a promoted version is served at once, a published one is promoted, an
interrupted training goes on from its checkpoint. Training runs in a process of its own, so that TensorFlow's
memory goes with it, and the path that only serves never imports it.
"""

import asyncio
import json
import os
import shlex
import subprocess
import sys

import httpx

from export.store import Store, open_store
from jobs.console import answer, say
from jobs.errors import Exit, FaultError, JobError
from jobs.processes import die_with_parent, require_free_port
from jobs.serve import Service, serve
from jobs.settings import Settings
from model.contract import CLASSES
from model.data import example_images

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
    from jobs.deploy import open_deployer
    from jobs.promotion import promote

    published = store.numbers()
    if not published:
        _train_and_publish(settings)
        published = store.numbers()
    # Whoever clones this wants to see an answer, so the first version on a laptop is served without the
    # gate's verdict, and the ledger says so; every later one has to pass it.
    promote(
        store,
        open_deployer(settings, store),
        published[-1],
        judged_against=None,
        decoder=store.manifest(published[-1]).decoder_version,
        by=settings.who,
        reason="the first version on this machine, not judged",
    )


def _train_and_publish(settings: Settings) -> None:
    """Run `cnn-image retrain --no-promote` as a child, its output on this terminal.

    Raises:
        JobError: It failed; it has said why.
    """
    command = [sys.executable, "-m", "jobs.cli", "retrain", "--no-promote", "--sample-allowed"]
    flags = {"--store": settings.store, "--data": settings.data}
    command += [part for flag, value in flags.items() if value for part in (flag, value)]
    # What it answers is for scripts; what it says while it works is for the person who waits here.
    child = subprocess.Popen(command, stdout=subprocess.DEVNULL, preexec_fn=die_with_parent)  # noqa: PLW1509
    try:
        code = child.wait()
    except KeyboardInterrupt:  # the terminal has sent it to the child too
        code = child.wait()
    except BaseException:
        child.terminate()
        child.wait()
        raise
    if code != Exit.OK:
        raise _ChildError(code)


class _ChildError(JobError):
    """The child has said what went wrong; only its exit code is handed on."""

    def __init__(self, code: int) -> None:
        super().__init__("Nothing is served; the same command goes on with what was made so far.")
        self.exit_code = Exit(code) if code in set(Exit) else Exit.BUG


async def _show(service: Service, settings: Settings) -> None:
    """Send an example through the service, and print the call as a person would make it."""
    image = example_images()[EXAMPLE]
    async with httpx.AsyncClient(base_url=settings.url, timeout=30) as client:
        response = await client.post("/predict", files={"file": (image.name, image.read_bytes())})
    if response.status_code != httpx.codes.OK:
        raise FaultError(f"The example image was answered with {response.status_code}: {response.text[:300]}")
    answer(f"\nVersion {service.version} is served on http://localhost:{settings.port}\n")
    example = shlex.quote(os.path.relpath(image))  # noqa: ASYNC240 - no file is touched
    answer(f"$ curl -F file=@{example} http://localhost:{settings.port}/predict")
    answer(json.dumps(response.json(), indent=2))
    answer("\nCtrl-C ends it.")
