"""Runs into one place, as a schedule makes them: each has what is new since the others."""

from pathlib import Path

import numpy as np
import pytest
from command_line import run, said
from own_pictures import lay, paint
from scoring_home import Scorer, make_plan, pictures_of, rows_of

from export.store.blobs import FolderBlobs
from jobs.errors import Exit
from jobs.scoring.choice import chosen, earlier_results
from jobs.scoring.destination import SUMMARY, Destination, shard_key
from jobs.scoring.plan import Request
from jobs.scoring.source.picture import Picture, Trouble
from jobs.scoring.summary import Failure, summarize
from jobs.scoring.table import Rows

FIRST = {f"{number}.png": paint(number) for number in range(6)}


@pytest.mark.slow
def test_each_run_has_what_is_new_since_the_others(scorer: Scorer) -> None:
    source, scored = lay(scorer.home / "source", FIRST), scorer.home / "scored"
    arguments = ("source", "--out", "scored", "--workers", "1", "--run")
    # None is there before the first; without a summary it was cut off, and what it has counts.
    assert scorer.summary(*arguments, "monday")["pictures"] == len(FIRST)
    (scored / "monday/_summary.json").unlink()
    process = scorer.start(*arguments, "tuesday")
    _, words = process.communicate(timeout=120)
    assert process.returncode == 0, words
    assert words.splitlines()[-1] == "No picture of source is new since the runs in scored."
    assert not list(scored.glob("tuesday/part-*"))

    lay(source, {"0.png": paint(100), "new.png": paint(101)})
    assert scorer.summary(*arguments, "wednesday")["answered"] == 2
    assert {row["image"] for row in rows_of(scored / "wednesday")} == {"0.png", "new.png"}
    # All runs are one table; only what was written again is there once more.
    images = [row["image"] for row in rows_of(scored)]
    assert sorted(images) == sorted([*FIRST, "0.png", "new.png"])
    # A place of runs is an earlier result, too.
    assert "No picture of" in scorer.run("source", "--out", "all", "--only-new", "scored", code=2)


def test_of_a_place_count_its_own_result_and_those_of_its_runs(tmp_path: Path) -> None:
    def begin(place: Path, name: str) -> None:
        plan, content = make_plan([Picture(name, b"/" + name.encode(), 9, "s")])
        Destination(FolderBlobs(place)).begin(plan, content)

    begin(tmp_path, "zero.png")
    for run_name in ("monday", "tuesday", "wednesday"):
        begin(tmp_path / run_name, f"{run_name}.png")
    found = earlier_results(lambda place: FolderBlobs(Path(place)), str(tmp_path), before="tuesday")
    assert [result.url for result in found] == [
        str(tmp_path),
        str(tmp_path / "monday"),
        str(tmp_path / "wednesday"),
    ]


@pytest.mark.parametrize(
    ("errors", "read"), [({}, False), ({"broken_image": 1}, False), ({"broken_image": 1, "changed": 1}, True)]
)
def test_shards_are_read_only_where_the_summary_does_not_say_that_all_is_settled(
    errors: dict[str, int], *, read: bool, tmp_path: Path
) -> None:
    pictures = pictures_of(3)
    plan, content = make_plan(pictures)
    earlier = Destination(FolderBlobs(tmp_path))
    earlier.begin(plan, content)
    rows = Rows(0, pictures, classes=2)
    rows.answer([1, 2], np.full((2, 2), 0.5, np.float32), None)
    rows.refuse(0, Trouble("changed", "It was written again."))
    earlier.put(shard_key(0), rows.to_parquet(plan))
    summary, _ = summarize(earlier, plan, scored=3, seconds=1)
    failures = {code: Failure(pictures=times, image="i", error="e") for code, times in errors.items()}
    earlier.put(SUMMARY, summary.model_copy(update={"errors": failures}).to_json())
    left = chosen([*pictures, Picture("new.jpg", b"/p/new", 1, "s")], Request(source="/p"), [earlier])
    assert [picture.name for picture in left] == [*(["000000.jpg"] if read else []), "new.jpg"]


@pytest.mark.parametrize("name", ["a/b", "_plan", ".hidden", "", ".."])
def test_a_run_has_the_name_of_a_folder_that_readers_look_into(name: str, scorer: Scorer) -> None:
    lay(scorer.home / "source", FIRST)
    sentence = said(run("score", "source", "--out", "scored", "--run", name), Exit.MISTAKE)
    assert "is no name for a folder" in sentence
    assert not Path("scored").exists()


def test_a_run_leaves_out_what_the_others_have_and_nothing_else(scorer: Scorer) -> None:
    arguments = ("score", "source", "--out", "scored", "--run", "a", "--only-new", "earlier")
    assert "leave --only-new away" in said(run(*arguments), Exit.MISTAKE)
