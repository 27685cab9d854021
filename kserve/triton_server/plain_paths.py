"""Paths that Triton can be given: its Python backend puts them into a shell's command line as they are.

A space in one of them ends the path there, and other signs could do anything. So a path with any sign that a
shell may read is reached by a link in a folder of our own, which nobody else may enter.
"""

import re
import tempfile
from dataclasses import replace
from pathlib import Path

from triton_server.environment import EnvironmentIncompleteError, TritonEnvironment
from triton_server.leftovers import region_prefix

_PLAIN = re.compile(r"[A-Za-z0-9/._+-]+")


def plain_paths(
    repository: Path, environment: TritonEnvironment, pid: int
) -> tuple[Path, TritonEnvironment, Path | None]:
    """Returns the model repository and the environment by plain paths.

    Args:
        repository: The folder of models, absolute.
        environment: Where the server lies.
        pid: The process that will be Triton; the folder of links is named after it.

    Returns:
        Both, and the folder of links, to be removed when Triton has ended; None where none was needed.

    Raises:
        EnvironmentIncompleteError: A link is needed, and there is no folder with a plain path for it.
    """
    odd = [
        path for path in (repository, environment.root, environment.python_libraries) if not _is_plain(path)
    ]
    if not odd:
        return repository, environment, None
    links = _folder(pid, odd[0])

    def linked(path: Path, name: str) -> Path:
        if path not in odd:
            return path
        (links / name).symlink_to(path)
        return links / name

    root = linked(environment.root, "environment")
    plain = replace(
        environment,
        root=root,
        home=root / environment.home.relative_to(environment.root),
        python_libraries=linked(environment.python_libraries, "libpython"),
    )
    return linked(repository, "models"), plain, links


def _is_plain(path: Path) -> bool:
    return _PLAIN.fullmatch(str(path)) is not None


def _folder(pid: int, for_path: Path) -> Path:
    for parent in (tempfile.gettempdir(), "/tmp", "/dev/shm"):  # noqa: S108 - mkdtemp makes it, for us alone
        if _is_plain(Path(parent)):
            try:
                return Path(tempfile.mkdtemp(prefix=region_prefix(pid), dir=parent))
            except OSError:  # not there, or not ours to write
                continue
    raise EnvironmentIncompleteError(
        f"Triton cannot take the path {for_path}, for the signs in it, and there is no folder for a link to "
        "it: let TMPDIR name one whose path has letters and digits alone, or use another folder."
    )
