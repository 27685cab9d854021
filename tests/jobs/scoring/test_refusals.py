"""What cannot be scored is refused in one sentence before any work."""

from pathlib import Path

import pytest
from command_line import run, said
from own_pictures import lay, paint
from scoring_home import Scorer

from jobs.errors import Exit

FILES = {"a.png": paint(1), "b.png": paint(2)}


@pytest.fixture
def source(scorer: Scorer) -> Path:
    return lay(scorer.home / "source", FILES)


def refused(*arguments: str) -> str:
    """The one sentence, apart from the line that says what is looked at."""
    result = run("score", *arguments)
    assert result.exit_code == Exit.MISTAKE, result.output
    lines = [line for line in result.stderr.splitlines() if not line.startswith("Looking at ")]
    assert len(lines) == 1, lines
    return lines[0]


def test_a_version_that_is_not_there(source: Path) -> None:
    sentence = refused("source", "--out", "out", "--version", "8")
    assert sentence.startswith("There is no version 8 in ")
    assert not Path("out").exists()


def test_no_promoted_version(home: Path) -> None:
    lay(home / "source", FILES)
    assert refused("source", "--out", "out").startswith("No version is promoted in ")


def test_a_source_that_is_not_there(scorer: Scorer) -> None:
    assert said(run("score", "gone", "--out", "out"), Exit.MISTAKE).startswith("gone does not exist; name ")
    assert not Path("out").exists()


@pytest.mark.parametrize("address", ["gs://bucket/in", "az://bucket/in", "https://example.com/in.zip"])
def test_an_address_of_another_kind(address: str, source: Path) -> None:
    for words in ((address, "--out", "out"), ("source", "--out", address)):
        assert refused(*words).startswith(f"{address} is an address that is not read or written here; name ")
    assert not Path("out").exists()


@pytest.mark.parametrize("files", [{}, {"read-me.txt": b"nothing", "data.bin": bytes(100)}])
def test_a_source_without_pictures(files: dict[str, bytes], scorer: Scorer) -> None:
    (scorer.home / "bare").mkdir()
    lay(scorer.home / "bare", files)
    sentence = refused("bare", "--out", "out")
    assert "holds no pictures" in sentence or "not one picture" in sentence


def test_a_result_inside_its_source(source: Path) -> None:
    assert "would lie inside the source" in refused("source", "--out", "source/out")
    assert sorted(path.name for path in source.iterdir()) == sorted(FILES)


def test_a_place_that_holds_something_else(source: Path) -> None:
    lay(Path("out"), {"letters.parquet": b"mine"})
    assert "holds letters.parquet, which no scoring wrote" in refused("source", "--out", "out")


def test_a_place_that_cannot_be_written(source: Path) -> None:
    Path("file").write_bytes(b"")
    sentence = refused("source", "--out", "file/out")
    assert "file/out failed" in sentence
    assert "Not a directory" in sentence


def test_on_a_cluster_everything_lies_in_s3(home: Path) -> None:
    sentence = refused("source", "--out", "s3://b/out", "--on-cluster", "--workers", "20")
    assert sentence == "source is not seen by pods; with --on-cluster name s3:// addresses."
    for flag in ("--only-new", "--store"):
        words = ("s3://b/in", "--out", "s3://b/out", "--on-cluster", flag, "here")
        assert refused(*words).startswith("here is not seen by pods; ")
    words = ("s3://b/in", "--out", "s3://b/out", "--on-cluster", "--run", "a/b")
    assert refused(*words).startswith("--run 'a/b' is no name for a folder")


def test_one_machine_of_many_has_an_index(source: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("JOB_COMPLETION_INDEX", "2")
    assert "it says which machine this is: 0 to 1." in refused("source", "--out", "out", "--of", "2")


@pytest.mark.slow
def test_the_result_of_another_scoring(scorer: Scorer, source: Path) -> None:
    scorer.run("source", "--out", "out", "--workers", "1")
    lay(scorer.home / "other", FILES)
    assert "(source " in refused("other", "--out", "out")
    assert "(limit None, not 1)" in refused("source", "--out", "out", "--limit", "1")
    assert "(version 7, not 6)" in refused("source", "--out", "out", "--version", "6")
    assert "No picture of" in refused("source", "--out", "new", "--only-new", "out")
    assert "holds no result of a scoring" in refused("source", "--out", "new", "--only-new", "other")
