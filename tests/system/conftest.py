"""`cnn-image run` as a person starts it: trained for real, served by the real Triton, in an empty folder."""

import os
import re
import shutil
import signal
import subprocess
import sys
import time
import urllib.request
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path

import psutil
import pytest
from forward_proxy import GATEWAY_PAGE, ForwardProxy, http_answer
from machine import free_port

ROOT = Path(__file__).parent.parent.parent
COMMAND = Path(sys.executable).with_name("cnn-image")


@dataclass
class Run:
    """One `cnn-image run`, in a session of its own so that a Ctrl-C reaches it as from a terminal.

    Attributes:
        home: The folder it works in; `var/` comes to lie there.
        port: Where it serves.
        environment: Variables beside those of this process.
    """

    home: Path
    port: int
    environment: dict[str, str] = field(default_factory=dict)
    process: subprocess.Popen[bytes] = field(init=False)
    command: Path = COMMAND

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}"

    @property
    def version(self) -> str:
        """Which version it served first: the first one's int8 twin, or itself where the twin was worse."""
        return re.findall(r"^Version (\d+) is served on", self.output, re.MULTILINE)[0]

    @property
    def output(self) -> str:
        return (self.home / "output.txt").read_text(errors="replace")

    @property
    def variables(self) -> dict[str, str]:
        """What is set for it, beside the variables of this process."""
        return {
            "PORT": str(self.port),
            "CIFAR10_DIR": "sample",
            "EPOCHS": "2",
            "CNN_IMAGE_TRITON_VENV": str(ROOT / ".venv-triton"),
            **self.environment,
        }

    def start(self) -> None:
        with (self.home / "output.txt").open("wb") as output:
            self.process = subprocess.Popen(
                [COMMAND, "run"],
                cwd=self.home,
                env=os.environ | self.variables,
                stdout=output,
                stderr=subprocess.STDOUT,
                start_new_session=True,
            )

    def wait_for(self, text: str, seconds: float = 900) -> None:
        """Until the output holds a text; fails when the process ends without it."""
        deadline = time.monotonic() + seconds
        while text not in self.output:
            if self.process.poll() is not None and text not in self.output:
                pytest.fail(f"ended with {self.process.returncode} before saying {text!r}:\n{self.output}")
            if time.monotonic() > deadline:
                pytest.fail(f"did not say {text!r} within {seconds} s:\n{self.output}")
            time.sleep(0.05)

    def wait_serving(self) -> None:
        """Until the example's answer was printed, which is the last thing before it serves on."""
        self.wait_for("Ctrl-C")

    def members(self) -> list[psutil.Process]:
        """Every process that this run started and that still lives."""
        found = []
        for process in psutil.process_iter():
            try:
                if os.getsid(process.pid) == self.process.pid and process.status() != psutil.STATUS_ZOMBIE:
                    found.append(process)
            except (psutil.NoSuchProcess, ProcessLookupError):
                continue
        return found

    def interrupt(self, seconds: float = 60) -> int:
        """Ctrl-C; returns the exit code once everything ended."""
        os.killpg(self.process.pid, signal.SIGINT)
        return self.process.wait(seconds)

    def end(self) -> None:
        """Whatever the test left."""
        for member in self.members():
            member.kill()
        self.process.wait(30)

    def answers(self) -> bool:
        try:
            with urllib.request.urlopen(f"{self.url}/health", timeout=2) as answer:
                return bool(answer.status == 200)
        except OSError:
            return False


StartRun = Callable[..., Run]


@pytest.fixture
def start_run(tmp_path: Path) -> Iterator[StartRun]:
    """Starts `cnn-image run` in an empty folder, or in a copy of another run's; ends it after the test."""
    runs: list[Run] = []

    def start(
        *,
        copy_of: Run | None = None,
        unserved: bool = False,
        port: int | None = None,
        **environment: str,
    ) -> Run:
        home = tmp_path / f"home-{len(runs)}"
        home.mkdir()
        if copy_of is not None:
            shutil.copytree(copy_of.home / "var" / "store", home / "var" / "store")
        if unserved:
            shutil.rmtree(home / "var" / "store" / "ledger")
        run = Run(home, port or free_port(2), environment)
        runs.append(run)
        run.start()
        return run

    yield start
    for run in runs:
        run.end()


@dataclass
class Surroundings:
    """What people's machines have around `cnn-image`, and what must not matter to it.

    Attributes:
        home: A folder with signs in its name that a shell reads, and with modules whose names are ours.
        proxy: Answers every request as a proxy does that gets nowhere.
        executed: The file that those modules write to when somebody imports them.
    """

    home: Path
    proxy: ForwardProxy
    executed: Path

    @classmethod
    def make(cls, folder: Path) -> "Surroundings":
        home = folder / "My Projects; $HOME & 'more' ü"
        home.mkdir()
        made = cls(home, ForwardProxy(http_answer("502 Bad Gateway", GATEWAY_PAGE)), folder / "executed")
        for name in (
            "model",
            "export",
            "jobs/__init__",
            "kserve/__init__",
            "image_transformer",
            "numpy",
            "httpx",
        ):
            module = home / f"{name}.py"
            module.parent.mkdir(exist_ok=True)
            module.write_text(f"open({str(made.executed)!r}, 'a').write(__name__ + ' ')\nraise ImportError\n")
        return made

    @property
    def environment(self) -> dict[str, str]:
        gone = str(self.home / "gone.pem")
        proxies = dict.fromkeys(("http_proxy", "HTTPS_PROXY", "grpc_proxy"), self.proxy.http)
        certificates = ("SSL_CERT_FILE", "REQUESTS_CA_BUNDLE", "CURL_CA_BUNDLE", "AWS_CA_BUNDLE")
        return {
            **proxies,
            "ALL_PROXY": self.proxy.socks,
            **dict.fromkeys(certificates, gone),
            "SSL_CERT_DIR": str(self.home / "gone"),
            "PYTHONPATH": str(self.home),
        }


@pytest.fixture(scope="session")
def surroundings(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Surroundings]:
    surroundings = Surroundings.make(tmp_path_factory.mktemp("served"))
    yield surroundings
    surroundings.proxy.close()


@pytest.fixture(scope="session")
def served(surroundings: Surroundings) -> Iterator[Run]:
    """A service that `cnn-image run` trained from the sample; left running for all tests of the session.

    It came up among all that must not matter to it: see `test_surroundings`.
    """
    run = Run(surroundings.home, free_port(2), surroundings.environment)
    run.start()
    try:
        run.wait_serving()
        yield run
    finally:
        run.end()
