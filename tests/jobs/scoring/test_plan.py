"""The plan: how a source is cut, that it comes back as it was, and that whoever writes it first decides."""

from pathlib import Path

import pytest
from scoring_home import make_plan, pictures_of

from export.errors import IntegrityError
from export.store.blobs import FolderBlobs
from jobs.scoring.destination import Destination
from jobs.scoring.plan import PictureList, cut
from jobs.scoring.source.picture import Picture, Trouble


@pytest.mark.parametrize(
    ("count", "length", "first", "shards"),
    [
        (1, 900, 1, 1),
        (256, 900, 256, 1),
        (20_000, 900, 625, 32),
        (300_000, 900, 8_192, 37),
        (100, 3_000_000, 21, 5),
        (3, 600_000_000, 1, 3),
    ],
)
def test_shards_are_cut_by_number_and_bytes(count: int, length: int, first: int, shards: int) -> None:
    sizes = cut(pictures_of(count, length))
    assert (sizes[0], len(sizes), sum(sizes)) == (first, shards, count)
    assert all(sizes)


def test_a_list_comes_back_a_shard_at_a_time() -> None:
    found = pictures_of(600)
    found[300] = Picture("odd \t\n ü", b"/p/\xff\xfe", 0, "", Trouble("missing", "It is not there."))
    plan, content = make_plan(found)
    listed = PictureList(plan, content)
    assert len(listed) == len(plan.shards) == 3
    assert [picture for shard in listed for picture in shard] == found
    assert listed.shard(1) == found[256:512]


def test_a_list_that_was_changed_is_refused() -> None:
    plan, content = make_plan(pictures_of(3))
    with pytest.raises(IntegrityError, match="is not what was written with its plan"):
        PictureList(plan, content + b" ")


def test_who_comes_first_decides(tmp_path: Path) -> None:
    destination = Destination(FolderBlobs(tmp_path))
    assert destination.plan() is None
    first = make_plan(pictures_of(3))
    second = make_plan(pictures_of(4), id="2")
    assert destination.begin(*first) == first[0]
    assert destination.begin(*second) == first[0]
    assert destination.plan() == first[0]
    assert [picture.name for shard in destination.pictures(first[0]) for picture in shard] == [
        "000000.jpg",
        "000001.jpg",
        "000002.jpg",
    ]


def test_a_plan_of_a_later_release_is_refused(tmp_path: Path) -> None:
    plan, _ = make_plan(pictures_of(3))
    (tmp_path / "_plan.json").write_bytes(plan.to_json().replace(b'"layout": 1', b'"layout": 2'))
    with pytest.raises(IntegrityError, match=r"_plan.json in .* is no plan that this cnn-image knows"):
        Destination(FolderBlobs(tmp_path)).plan()
