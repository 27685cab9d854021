"""What tests ask of the machine that they share: a port, and a condition to come true."""

import os
import random
import shutil
import socket
import time
from collections.abc import Callable
from pathlib import Path
from typing import NoReturn

import pytest

# Below the ports that outgoing connections take (32,768 and up on Linux), so that none of them slips in
# before the server does; each of pytest-xdist's workers has a slice of its own.
_SLICE = 2_500
_FIRST = 10_000 + _SLICE * (int(os.environ.get("PYTEST_XDIST_WORKER", "gw0").removeprefix("gw")) % 8)
_given: set[int] = set()


def free_port(count: int = 1) -> int:
    """The first of `count` TCP ports in a row that nobody listens on; each is given once in a session."""
    while True:
        first = random.SystemRandom().randrange(_FIRST, _FIRST + _SLICE - count)
        ports = range(first, first + count)
        if _given.isdisjoint(ports) and all(map(_is_free, ports)):
            _given.update(ports)
            return first


def _is_free(port: int) -> bool:
    with socket.socket() as probe:
        try:
            probe.bind(("127.0.0.1", port))
        except OSError:
            return False
    return True


def program(name: str, how: str) -> str:
    """A program's path; where it is not installed the test is skipped, or fails if nothing may be skipped."""
    found = shutil.which(name)
    if found is None:
        missing(f"{name} is not installed: {how}")
    return found


def beside(path: str) -> Path:
    """A file of the test data that lies beside the checkout, in `../shared`; treated as a program is."""
    file = Path(__file__).parents[2] / "shared" / path
    if not file.exists():
        missing(f"{file} is not there")
    return file


def missing(reason: str) -> NoReturn:
    """Skip a test for want of its means, or fail it if nothing may be skipped."""
    if os.environ.get("CNN_IMAGE_REQUIRE_ALL") == "1":
        pytest.fail(reason)
    pytest.skip(reason)


def wait_until(happened: Callable[[], bool], what: str, seconds: float = 120) -> None:
    """Polls a condition; fails the test when it does not come true, with time for a busy machine."""
    deadline = time.monotonic() + seconds
    while not happened():
        if time.monotonic() > deadline:
            pytest.fail(f"{what} did not happen within {seconds} s")
        time.sleep(0.02)
