"""A version on this machine: brought once, checked, and used again where it is whole."""

import shutil
import tempfile
from collections.abc import Callable
from pathlib import Path

from export.errors import IntegrityError
from export.store.manifest import MANIFEST_NAME, FileDigest, Manifest, digest_of
from model.contract import VERSION_WIDTH


def bring(manifest: Manifest, folder: Path, read: Callable[[str], bytes]) -> Path:
    """Write a version's files to a subfolder of its own, whole or not at all; see `Store.fetch`.

    Args:
        manifest: The version's.
        folder: Gets the subfolder.
        read: Gives a file by its path, checked.
    """
    target = folder / f"{manifest.version:0{VERSION_WIDTH}d}"
    if target.exists():
        if _is_whole(target, manifest):
            return target
        shutil.rmtree(target)
    folder.mkdir(parents=True, exist_ok=True)
    scratch = Path(tempfile.mkdtemp(prefix=".fetch-", dir=folder))
    try:
        for path in manifest.files:
            file = scratch / path
            file.parent.mkdir(parents=True, exist_ok=True)
            file.write_bytes(read(path))
        (scratch / MANIFEST_NAME).write_bytes(manifest.to_json())
        scratch.chmod(0o755)
        try:
            scratch.rename(target)
        except OSError:  # another process fetched the same version meanwhile
            if not _is_whole(target, manifest):
                raise
    finally:
        shutil.rmtree(scratch, ignore_errors=True)
    return target


def check(data: bytes, expected: FileDigest, name: str) -> None:
    """Require a file to be what was published.

    Raises:
        IntegrityError: It is not.
    """
    if digest_of(data) != expected:
        raise IntegrityError(
            f"{name} is not what was published (digest); do not serve it, publish the model again."
        )


def _is_whole(folder: Path, manifest: Manifest) -> bool:
    """Whether a folder holds exactly the manifest's files."""
    present = {path.relative_to(folder).as_posix() for path in folder.rglob("*") if not path.is_dir()}
    if present != {*manifest.files, MANIFEST_NAME}:
        return False
    try:
        for path, expected in manifest.files.items():
            check((folder / path).read_bytes(), expected, path)
    except IntegrityError:
        return False
    return (folder / MANIFEST_NAME).read_bytes() == manifest.to_json()
