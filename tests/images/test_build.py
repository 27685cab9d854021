"""`make images` with the tools that a machine may have: which one builds, and what is said where none can."""

import os
import subprocess
from pathlib import Path

import pytest

BUILD = Path(__file__).parents[2] / "images" / "build"
TOOL = '#!/bin/sh\n[ "$1" = version ] && exit {version}\necho "{name} builds"\n'


@pytest.mark.parametrize(
    ("tools", "builder", "builds", "said"),
    [
        ({"docker": 0, "buildah": 1}, None, "docker", ""),
        ({"docker": 1, "podman": 1, "buildah": 1}, None, "podman", "does not answer; building with podman."),
        ({"docker": 1, "buildah": 1}, None, "buildah", "does not answer; building with buildah."),
        ({"docker": 0, "buildah": 1}, "buildah", "buildah", ""),
        ({"docker": 1}, None, None, "its daemon does not answer; start it, or install podman or buildah and"),
        ({"docker": 1, "buildah": 1}, "docker", None, "build with BUILDER=buildah."),
        ({}, None, None, "none of docker, podman, buildah is installed; install one of them."),
    ],
)
def test_the_first_tool_that_can_build_does(
    tools: dict[str, int], builder: str | None, builds: str | None, said: str, tmp_path: Path
) -> None:
    """`version` fails as docker's does where there is a client and no daemon."""
    for name, version in tools.items():
        tool = tmp_path / name
        tool.write_text(TOOL.format(name=name, version=version))
        tool.chmod(0o755)
    for name in ("bash", "dirname", "readlink", "sed", "git", "timeout", "sh"):
        (tmp_path / name).symlink_to(f"/usr/bin/{name}")
    variables = {"BUILDER": builder} if builder else {}
    kept = {name: value for name, value in os.environ.items() if name not in {"BUILDER", "BUILD_COMMAND"}}
    done = subprocess.run(
        [BUILD, "transformer"],
        env=kept | variables | {"PATH": str(tmp_path)},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == (0 if builds else 1), done.stderr
    assert (f"{builds} builds" in done.stdout) == bool(builds)
    assert said in done.stderr
    assert len(done.stderr.splitlines()) == bool(said)
