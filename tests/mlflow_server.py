"""Real MLflow servers for the tests: the pinned one, and old ones in environments of their own.

An old version's environment is `var/tools/mlflow-VERSION`, made once of what a server needs and no more
(40 MB, seconds). CNN_IMAGE_MLFLOW_VERSIONS says which are tried, as in `2.3.2 2.9.2 2.22.1`; by itself the
oldest is.
"""

import fcntl
import os
import signal
import socket
import subprocess
import sys
import urllib.error
import urllib.request
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import pytest
from machine import free_port, wait_until

TOOLS = Path(__file__).parent.parent / "var" / "tools"
PINNED = "pinned"
OLD_VERSIONS = os.environ.get("CNN_IMAGE_MLFLOW_VERSIONS", "2.3.2").split()
ASKS_FOR_A_USER = "2.9.2"
"""Later ones' basic-auth needs packages more."""
# The bounds are of what these versions were released with: they allow newer ones that break them.
NEEDS = (
    "flask<3",
    "werkzeug<3.1",
    "sqlalchemy<2.1",
    "alembic<2",
    "gunicorn<23",
    "querystring-parser<2",
    "setuptools<80",
)
USER, PASSWORD = "admin", "password"  # what MLflow's basic-auth begins with

StartMlflow = Callable[..., "Mlflow"]


def environment_of(version: str) -> Path:
    """The `bin` folder with this version's `mlflow`; skips the test where it cannot be had."""
    if version == PINNED:
        return Path(sys.executable).parent
    place = TOOLS / f"mlflow-{version}"
    TOOLS.mkdir(parents=True, exist_ok=True)
    with (TOOLS / "mlflow.lock").open("w") as lock:  # of the tests side by side, one installs
        fcntl.flock(lock, fcntl.LOCK_EX)
        if not (place / "complete").exists():
            uv = (sys.executable, "-m", "uv")
            packages = (f"mlflow-skinny=={version}", *NEEDS)
            try:
                for command in (
                    (*uv, "venv", "--quiet", "--clear", "--python", sys.executable, place),
                    (*uv, "pip", "install", "--quiet", "--python", place / "bin" / "python", *packages),
                ):
                    subprocess.run(command, check=True, timeout=600, capture_output=True)
            except subprocess.CalledProcessError as error:
                reason = f"MLFLOW {version} IS MISSING: {error.stderr.decode()[-300:]}"
                if os.environ.get("CNN_IMAGE_REQUIRE_ALL") == "1":
                    pytest.fail(reason)
                pytest.skip(reason)
            (place / "complete").touch()
    return place / "bin"


@dataclass
class Mlflow:
    """An MLflow of the tests' own; it keeps its data and its port over `stop` and `start`.

    Attributes:
        version: `pinned` for the one that this product installs.
        auth: Whether it asks for a user: MLflow's own basic-auth.
    """

    version: str
    programs: Path
    folder: Path
    port: int
    auth: bool = False
    process: subprocess.Popen[bytes] | None = None

    @property
    def uri(self) -> str:
        return f"http://127.0.0.1:{self.port}"

    def start(self) -> None:
        command: list[str | Path] = [self.programs / "mlflow", "server", "--workers", "1"]
        command += ["--host", "127.0.0.1", "--port", str(self.port)]
        command += ["--backend-store-uri", f"sqlite:///{self.folder / 'mlflow.db'}"]
        if self.auth:
            command += ["--app-name", "basic-auth"]
        with (self.folder / "mlflow.log").open("ab") as log:
            self.process = subprocess.Popen(
                command,
                cwd=self.folder,
                env={
                    "HOME": str(self.folder),
                    "PATH": f"{self.programs}:{os.environ['PATH']}",
                    "MLFLOW_SERVER_ENABLE_JOB_EXECUTION": "false",
                },
                stdout=log,
                stderr=log,
                start_new_session=True,  # a group of its own: gunicorn outlives the program that starts it
            )
        wait_until(self._answers, "MLflow's start")

    def stop(self) -> None:
        if self.process is not None:
            os.killpg(self.process.pid, signal.SIGTERM)
            self.process.wait(60)
            self.process = None
            wait_until(lambda: not self._listens(), "MLflow's end")

    def _listens(self) -> bool:
        with socket.socket() as probe:
            return probe.connect_ex(("127.0.0.1", self.port)) == 0

    def _answers(self) -> bool:
        if self.process is None or self.process.poll() is not None:
            pytest.fail(f"MLflow ended:\n{(self.folder / 'mlflow.log').read_text()[-3000:]}")
        try:
            with urllib.request.urlopen(f"{self.uri}/health", timeout=5) as answer:
                return bool(answer.status == 200)
        except urllib.error.HTTPError as error:
            return error.code == 401
        except (OSError, urllib.error.URLError):
            return False


@contextmanager
def mlflows(folders: pytest.TempPathFactory) -> Iterator[StartMlflow]:
    """Gives a function that starts an MLflow; all it started end with the block."""
    started: list[Mlflow] = []

    def start(version: str = PINNED, *, auth: bool = False) -> Mlflow:
        mlflow = Mlflow(version, environment_of(version), folders.mktemp("mlflow"), free_port(), auth)
        started.append(mlflow)
        mlflow.start()
        return mlflow

    try:
        yield start
    finally:
        for mlflow in started:
            mlflow.stop()
