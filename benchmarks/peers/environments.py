"""Environments of their own for other servers, below `var/tools/peers`, of pinned packages.

`requirements/NAME.in` says what a peer needs beside itself: what our decoder and the network need, in the
versions that this product has; when `make lock` changes those, write them there and run
`uv pip compile --python-version 3.11 --no-header --no-annotate --no-emit-index-url NAME.in -o NAME.txt`.
"""

import shutil
import subprocess
import sys
from importlib import metadata
from pathlib import Path
from typing import Final

PEERS: Final = ("mosec", "litserve", "bentoml", "ray")
ROOT: Final = Path("var/tools/peers")
_REQUIREMENTS: Final = Path(__file__).with_name("requirements")


class InstallError(RuntimeError):
    """A peer cannot be installed; the message says which."""


def python(peer: str) -> Path:
    """Returns the Python that has a peer, which is installed unless that was done.

    Raises:
        InstallError: its packages cannot be had, or are not those that this product has.
    """
    for line in (_REQUIREMENTS / f"{peer}.in").read_text().splitlines():
        name, _, pinned = line.partition("==")
        if pinned and pinned != (ours := metadata.version(name)):
            raise InstallError(
                f"{peer}.in pins {name} {pinned}, this product has {ours}: write that there, and compile "
                f"{peer}.txt anew as benchmarks/peers/environments.py says."
            )
    folder = ROOT / peer
    wanted = (_REQUIREMENTS / f"{peer}.txt").read_text()
    done = folder / "installed.txt"
    if not done.exists() or done.read_text() != wanted:
        print(f"installing {peer} into {folder}", flush=True)
        uv = (sys.executable, "-m", "uv")
        _run(peer, *uv, "venv", "--quiet", "--clear", "--python", sys.executable, str(folder))
        requirements = str(_REQUIREMENTS / f"{peer}.txt")
        _run(peer, *uv, "pip", "install", "--quiet", "--python", str(folder), "--requirements", requirements)
        done.write_text(wanted)
    return (folder / "bin" / "python").absolute()


def version(peer: str) -> str:
    """The pinned version of a peer."""
    lines = (_REQUIREMENTS / f"{peer}.txt").read_text().splitlines()
    return next(line.partition("==")[2] for line in lines if line.startswith(f"{peer}=="))


def remove() -> None:
    """Removes all of them."""
    shutil.rmtree(ROOT, ignore_errors=True)


def _run(peer: str, *command: str) -> None:
    done = subprocess.run(command, capture_output=True, text=True, check=False, timeout=900)
    if done.returncode:
        raise InstallError(f"{peer} cannot be installed: {done.stderr.strip()[-300:]}")
