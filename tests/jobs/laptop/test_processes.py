"""Child processes: started when of use, started again when they die, gone when they should be."""

import asyncio
import itertools
import os
import signal
import socket
import subprocess
import sys
from collections.abc import Awaitable, Callable
from pathlib import Path

import psutil
import pytest

from jobs.errors import FaultError, MistakeError
from jobs.laptop import processes
from jobs.laptop.processes import Child, free_ports, require_free_port

WRITES_PID = "import os, sys, time; open(sys.argv[1], 'a').write(f'{os.getpid()}\\n'); time.sleep(60)"


async def until(condition: Callable[[], bool], seconds: float = 10) -> None:
    async with asyncio.timeout(seconds):
        while not condition():  # noqa: ASYNC110 - other processes set no event
            await asyncio.sleep(0.01)


def child(tmp_path: Path, code: str, prepare: Callable[[], Awaitable[None]] | None = None) -> Child:
    async def nothing() -> None: ...

    argv = [sys.executable, "-c", code, str(tmp_path / "pids")]
    return Child("the child", argv, os.environ, tmp_path / "child.log", prepare or nothing)


def pids(tmp_path: Path) -> list[int]:
    path = tmp_path / "pids"
    return [int(line) for line in path.read_text().split()] if path.exists() else []


def alive(pid: int) -> bool:
    try:
        return psutil.Process(pid).status() != psutil.STATUS_ZOMBIE
    except psutil.NoSuchProcess:
        return False


async def test_a_child_that_dies_is_started_again(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(processes, "FIRST_PAUSE_SECONDS", 0.01)
    kept = child(tmp_path, WRITES_PID)
    await kept.start()
    keeping = asyncio.create_task(kept.keep())
    for number in (1, 2, 3):
        await until(lambda number=number: len(pids(tmp_path)) == number)  # type: ignore[misc]
        os.kill(pids(tmp_path)[-1], signal.SIGKILL)
    await until(lambda: len(pids(tmp_path)) == 4)
    keeping.cancel()
    await kept.stop()
    assert not any(alive(pid) for pid in pids(tmp_path))


async def test_the_pause_grows_while_a_child_keeps_dying(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    pauses: list[float] = []

    async def sleep(seconds: float) -> None:
        pauses.append(seconds)
        if len(pauses) == 8:
            raise asyncio.CancelledError

    monkeypatch.setattr(processes.asyncio, "sleep", sleep)
    with pytest.raises(asyncio.CancelledError):
        await child(tmp_path, "raise SystemExit(1)").keep()
    assert pauses == [0.5, 1, 2, 4, 8, 16, 30, 30]


async def test_a_child_that_ends_at_its_start_is_a_fault_with_its_last_words(tmp_path: Path) -> None:
    async def never() -> None:
        await asyncio.Event().wait()

    with pytest.raises(FaultError, match=r"code 3 at its start: no licence \(log: .*child\.log\)"):
        await child(tmp_path, "import sys; print('no licence'); sys.exit(3)", never).start()


CRASHES = (
    "import os, signal, sys, time\n"
    "pids = open(sys.argv[1], 'a+')\n"
    "pids.write(f'{os.getpid()}\\n'); pids.flush(); pids.seek(0)\n"
    "len(pids.readlines()) > int(sys.argv[2]) or os.kill(os.getpid(), signal.SIGABRT)\n"
    "time.sleep(60)"
)


@pytest.mark.parametrize("crashes", [1, 2, 3])
async def test_a_crash_at_the_start_is_tried_again_a_few_times(
    tmp_path: Path, capfd: pytest.CaptureFixture[str], crashes: int
) -> None:
    attempts = itertools.count(1)

    async def loaded() -> None:  # as a client whose server crashes hears of it before its parent does
        attempt = next(attempts)
        await until(lambda: len(pids(tmp_path)) == attempt)
        if attempt <= crashes:
            raise FaultError("the connection was closed")

    fragile = child(tmp_path, CRASHES, loaded)
    fragile.argv = [*fragile.argv, str(crashes)]
    if crashes == 3:
        with pytest.raises(FaultError, match=r"ended with code -6 at its start"):
            await fragile.start()
    else:
        await fragile.start()
        assert alive(pids(tmp_path)[-1])
    assert len(pids(tmp_path)) == min(crashes, 2) + 1
    assert capfd.readouterr().err.count("ended with code -6") == min(crashes, 2)
    await fragile.stop()


async def test_a_child_that_is_of_no_use_is_ended(tmp_path: Path) -> None:
    async def unfit() -> None:
        await until(lambda: bool(pids(tmp_path)))
        raise FaultError("it never answers")

    with pytest.raises(FaultError, match="never answers"):
        await child(tmp_path, WRITES_PID, unfit).start()
    assert not alive(pids(tmp_path)[0])


async def test_stopping_ends_what_the_child_started_too(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(processes, "STOP_SECONDS", 0.2)
    code = (
        "import signal, subprocess, sys\n"
        "signal.signal(signal.SIGTERM, signal.SIG_IGN)\n"
        f"subprocess.run([sys.executable, '-c', {WRITES_PID!r}, sys.argv[1]])"
    )
    deaf = child(tmp_path, code)
    await deaf.start()
    await until(lambda: len(pids(tmp_path)) == 1)
    await deaf.stop()
    await until(lambda: not alive(pids(tmp_path)[0]))


def test_children_die_with_a_parent_that_is_killed(tmp_path: Path) -> None:
    code = f"""
import asyncio, os, sys
from pathlib import Path
from jobs.laptop.processes import Child
async def main():
    async def nothing(): ...
    argv = [sys.executable, "-c", {WRITES_PID!r}, sys.argv[1]]
    child = Child("c", argv, os.environ, Path(sys.argv[2]), nothing)
    await child.start()
    await asyncio.sleep(60)
asyncio.run(main())
"""
    parent = subprocess.Popen(
        [sys.executable, "-c", code, str(tmp_path / "pids"), str(tmp_path / "child.log")]
    )
    asyncio.run(until(lambda: len(pids(tmp_path)) == 1))
    parent.kill()
    parent.wait()
    asyncio.run(until(lambda: not alive(pids(tmp_path)[0])))


@pytest.mark.parametrize("address", ["127.0.0.1", "::1"])
def test_a_port_in_use_is_named_with_the_variable_that_changes_it(address: str) -> None:
    family = socket.AF_INET6 if ":" in address else socket.AF_INET
    with socket.create_server((address, 0), family=family) as taken:
        port = taken.getsockname()[1]
        for host in ("::", address):
            with pytest.raises(MistakeError, match=rf"Port {port}, for HTTP, .*PORT="):
                require_free_port(host, port, "HTTP", "PORT")
    require_free_port("::", port, "HTTP", "PORT")


@pytest.mark.parametrize("host", ["192.0.2.1", "2001:db8::1", "fe80::1", "no.such.host.invalid"])
def test_an_address_of_another_machine_is_named_with_its_variable(host: str) -> None:
    with pytest.raises(MistakeError, match=rf"CNN_IMAGE_HOST names {host}, which is no address"):
        require_free_port(host, 0, "HTTP", "PORT")


def test_free_ports_differ() -> None:
    assert len(set(free_ports(20))) == 20
