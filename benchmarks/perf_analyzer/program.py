"""perf_analyzer itself: installed once, and what it needs beside it.

It comes in the wheel of tritonclient 2.51.0, the last that has it, and links two libraries that it does not
bring: libb64.so.0d and libcudart.so.12. The embedded Triton's environment has both, under other names.
"""

import os
import subprocess
import sys
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Final

VERSION: Final = "2.51.0"
LIBRARIES: Final = {"libb64.so.0d": "libb64-*.so.0d", "libcudart.so.12": "libcudart-*.so.12*"}
_BUNDLED: Final = Path("lib/python3.11/site-packages/nvidia_pytriton.libs")


class ProgramError(RuntimeError):
    """perf_analyzer cannot be had, or failed; the message says what to do."""


@dataclass(frozen=True)
class Program:
    """An installed perf_analyzer.

    Attributes:
        path: The executable.
        libraries: The folder with what it links.
    """

    path: Path
    libraries: Path

    def run(self, *arguments: str, seconds: float) -> str:
        """Runs it to its end.

        Returns:
            What it said on its standard output.

        Raises:
            ProgramError: it failed, or did not end in time.
        """
        environment: Mapping[str, str] = {**os.environ, "LD_LIBRARY_PATH": str(self.libraries)}
        try:
            done = subprocess.run(
                [str(self.path), *arguments],
                env=environment,
                capture_output=True,
                text=True,
                check=False,
                timeout=seconds,
            )
        except subprocess.TimeoutExpired:
            raise ProgramError(
                f"perf_analyzer had not ended after {seconds:g} s; ask for a shorter window."
            ) from None
        if done.returncode:
            raise ProgramError(f"perf_analyzer failed: {(done.stderr or done.stdout).strip()[-800:]}")
        return done.stdout


def install(folder: Path, triton: Path) -> Program:
    """Installs perf_analyzer unless that was done.

    Args:
        folder: Where it goes.
        triton: The virtual environment of the embedded Triton, which has the libraries.

    Raises:
        ProgramError: one of the libraries is not there, or the package cannot be had.
    """
    libraries, program = folder / "lib", folder / "venv" / "bin" / "perf_analyzer"
    libraries.mkdir(parents=True, exist_ok=True)
    for name, pattern in LIBRARIES.items():
        found = next(iter(sorted((triton / _BUNDLED).glob(pattern))), None)
        if found is None:
            raise ProgramError(
                f"{triton} has no {name}, which perf_analyzer links; run `make install` first."
            )
        link = libraries / name
        link.unlink(missing_ok=True)
        link.symlink_to(found.absolute())
    if not program.exists():
        uv = (sys.executable, "-m", "uv")
        for command in (
            (*uv, "venv", "--quiet", "--clear", "--python", sys.executable, str(folder / "venv")),
            # Without its dependencies: the Python client is not used.
            (
                *uv,
                "pip",
                "install",
                "--quiet",
                "--no-deps",
                "--python",
                str(folder / "venv"),
                f"tritonclient=={VERSION}",
            ),
        ):
            done = subprocess.run(command, capture_output=True, text=True, check=False, timeout=600)
            if done.returncode:
                raise ProgramError(
                    f"tritonclient {VERSION} cannot be installed: {done.stderr.strip()[-300:]}"
                )
    return Program(program, libraries)
