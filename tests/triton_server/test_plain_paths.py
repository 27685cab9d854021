import stat
import tempfile
from pathlib import Path

import pytest

from triton_server.environment import EnvironmentIncompleteError, TritonEnvironment
from triton_server.plain_paths import plain_paths

PLAIN = Path("/opt/triton-1.0/a_b")


@pytest.fixture
def scratch(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Where temporary files go; pytest's own folder has a plain path."""
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path))
    return tmp_path


def environment(root: Path, libraries: Path = PLAIN) -> TritonEnvironment:
    return TritonEnvironment(root, root / "lib" / "tritonserver", libraries)


def test_plain_paths_stay_as_they_are(scratch: Path) -> None:
    given = environment(PLAIN)
    assert plain_paths(PLAIN, given, 42) == (PLAIN, given, None)
    assert list(scratch.iterdir()) == []


@pytest.mark.parametrize("name", ["My Projects", "a$HOME", "b;c", "d&e", "it's", 'f"g', "`h`", "ü", "i\nj"])
def test_other_signs_are_behind_links_that_nobody_else_may_follow(name: str, scratch: Path) -> None:
    odd = scratch / name
    (odd / "lib" / "tritonserver").mkdir(parents=True)
    repository, plain, links = plain_paths(odd, environment(odd, odd), 42)
    assert links is not None
    assert stat.S_IMODE(links.stat().st_mode) == 0o700
    assert links.parent == scratch
    for path in (repository, plain.root, plain.home, plain.python_libraries):
        assert links in path.parents
        assert name not in str(path)
    assert repository.resolve() == plain.root.resolve() == plain.python_libraries.resolve() == odd
    assert plain.home.resolve() == odd / "lib" / "tritonserver"


def test_a_plain_path_beside_an_odd_one_gets_no_link(scratch: Path) -> None:
    odd = scratch / "My Projects"
    odd.mkdir()
    repository, plain, links = plain_paths(odd, environment(PLAIN), 42)
    assert plain == environment(PLAIN)
    assert links is not None
    assert list(links.iterdir()) == [repository]


def test_an_odd_folder_for_temporary_files_is_passed_over(
    scratch: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(tempfile, "tempdir", str(scratch / "not plain"))
    links = plain_paths(scratch / "My Projects", environment(PLAIN), 42)[2]
    assert links is not None
    assert links.parent in {Path("/tmp"), Path("/dev/shm")}
    for link in links.iterdir():
        link.unlink()
    links.rmdir()


def test_no_folder_for_links_is_one_sentence(scratch: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def full(prefix: str, dir: str) -> str:
        raise OSError("no space")

    monkeypatch.setattr(tempfile, "mkdtemp", full)
    with pytest.raises(
        EnvironmentIncompleteError, match=r"^Triton cannot take the path .*My Projects.*TMPDIR"
    ):
        plain_paths(scratch / "My Projects", environment(PLAIN), 42)
