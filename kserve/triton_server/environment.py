"""The environment that carries Triton: where its server lies, and the backends folder it is started with."""

import hashlib
import os
import shutil
import tempfile
from dataclasses import dataclass
from pathlib import Path

_BACKEND_MODEL = Path(__file__).parent / "backend" / "model.py"
_STUB = "triton_python_backend_stub"
_INSTALL = "Run `make install`, or install kserve/triton_server/requirements.txt as its README.md says."


class EnvironmentIncompleteError(RuntimeError):
    """The environment cannot run Triton; the message says what to do."""


@dataclass(frozen=True)
class TritonEnvironment:
    """A virtual environment with the wheel that carries Triton.

    Attributes:
        root: The virtual environment.
        home: The wheel's folder with `bin`, `backends` and `python_backend_stubs`.
        python_libraries: The folder with the shared libpython that Triton's Python stub links.
    """

    root: Path
    home: Path
    python_libraries: Path

    @property
    def server(self) -> Path:
        """The `tritonserver` program."""
        return self.home / "bin" / "tritonserver"

    def backends(self) -> Path:
        """Returns the folder for `--backend-directory`, made at the first start.

        It lies beside the wheel's own, because libraries are found relative to it: the wheel's Python backend
        with its stub, and our `onnxruntime` backend. All are copies: Triton sets its stub's run bit, and
        follows no link out of the folder. The name holds our backend's digest, so that a changed one is taken
        up. Two first starts at once make it twice, and one wins.
        """
        ready = self.home / f"backends-{hashlib.sha256(_BACKEND_MODEL.read_bytes()).hexdigest()[:12]}"
        if not ready.exists():
            made = Path(tempfile.mkdtemp(dir=self.home, prefix=".backends-"))
            made.chmod(0o755)
            python = shutil.copytree(self.home / "backends" / "python", made / "python")
            shutil.copy(self.home / "python_backend_stubs" / "3.11" / _STUB, python / _STUB)
            (made / "onnxruntime").mkdir()
            shutil.copy(_BACKEND_MODEL, made / "onnxruntime" / "model.py")
            try:
                made.rename(ready)
            except OSError:  # another start was first
                shutil.rmtree(made)
        return ready


def find_environment(venv: Path) -> TritonEnvironment:
    """Looks into a virtual environment for all that Triton needs.

    Args:
        venv: The virtual environment's folder.

    Raises:
        EnvironmentIncompleteError: it is missing, incomplete, or its Python has no shared library.
    """
    root = venv.absolute()
    packages = root / "lib" / "python3.11" / "site-packages"
    home = packages / "pytriton" / "tritonserver"
    if not (home / "bin" / "tritonserver").is_file():
        raise EnvironmentIncompleteError(f"There is no Triton in {root}. {_INSTALL}")
    for package in ("numpy", "onnxruntime"):
        if not (packages / package).is_dir():
            raise EnvironmentIncompleteError(f"{root} lacks {package}. {_INSTALL}")
    return TritonEnvironment(root, home, _shared_libpython(root))


def _shared_libpython(root: Path) -> Path:
    """Returns the folder of `libpython3.11.so.1.0`: the environment's own Python, or the system's."""
    python = Path(os.path.realpath(root / "bin" / "python"))
    candidates = (
        python.parent.parent / "lib",
        Path("/usr/lib/x86_64-linux-gnu"),
        Path("/usr/lib64"),
        Path("/usr/lib"),
    )
    for folder in candidates:
        if (folder / "libpython3.11.so.1.0").is_file():
            return folder
    raise EnvironmentIncompleteError(
        "Triton's Python stub needs the shared library libpython3.11.so.1.0: install it "
        "(on Debian: apt-get install libpython3.11), or make the environment with `uv venv --managed-python`."
    )
