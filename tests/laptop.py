"""`cnn-image` as a person types it, in a folder of its own."""

import os
import shutil
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path

from export.store.versions import Store, open_store

ROOT = Path(__file__).parent.parent


@dataclass(frozen=True)
class Laptop:
    """A folder in which `cnn-image` works on the sample that ships with the repository."""

    home: Path
    epochs: int

    @property
    def store(self) -> Store:
        return open_store(str(self.home / "var" / "store"))

    @property
    def runs(self) -> list[Path]:
        """The training runs' folders, the oldest first."""
        return sorted((self.home / "var" / "runs").iterdir())

    def begin_again(self, name: str) -> None:
        """The oldest run once more, as a kill after its training would have left it."""
        again = self.home / "var" / "runs" / name
        left = shutil.ignore_patterns("export", "published.json")
        shutil.copytree(self.runs[0], again, ignore=left)
        (again / "unfinished").touch()

    def start(self, *arguments: str, **variables: str) -> subprocess.Popen[str]:
        """Start a command; `variables` are set for it."""
        kept = {name: value for name, value in os.environ.items() if not name.startswith("CNN_IMAGE_")}
        environment = {
            **kept,
            "CIFAR10_DIR": "sample",
            "EPOCHS": str(self.epochs),
            "CNN_IMAGE_INT8": "false",  # one version a training, unless a test wants the twin
            "CNN_IMAGE_TRITON_VENV": str(ROOT / ".venv-triton"),
            "PYTHONPATH": f"{ROOT}:{ROOT / 'kserve'}",
            **variables,
        }
        return subprocess.Popen(
            [sys.executable, "-m", "jobs.cli", *arguments],
            cwd=self.home,
            env=environment,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )

    def run(self, *arguments: str, code: int = 0, **variables: str) -> str:
        """Run a command to its end, which is due with this exit code.

        Returns:
            What it answers, on stdout; what it says, on stderr, where another code than 0 is due.
        """
        process = self.start(*arguments, **variables)
        answered, said = process.communicate(timeout=500)
        assert process.returncode == code, said
        assert "Traceback" not in said
        return answered if code == 0 else said
