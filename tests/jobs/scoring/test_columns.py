"""Columns are what Arrow makes of the same values, and come without pandas."""

import subprocess
import sys
from pathlib import Path

import numpy as np
import pyarrow as pa
import pytest
from scoring_home import ROOT

from jobs.scoring.columns import binaries, lists, numbers, numbers_in, texts

VALID = np.array([True, False, True] * 7 + [False])
NUMBERS = np.arange(22, dtype=np.float32)
LISTS = np.arange(66, dtype=np.float32).reshape(22, 3)

WITHOUT_PANDAS = """
import sys
from pathlib import Path
import numpy as np
from scoring_home import make_plan, pictures_of
from export.store.blobs import FolderBlobs
from jobs.scoring.destination import Destination, shard_key
from jobs.scoring.source.picture import Trouble
from jobs.scoring.summary import summarize
from jobs.scoring.table import Rows
destination = Destination(FolderBlobs(Path(sys.argv[1])))
plan = destination.begin(*make_plan(pictures_of(5)))
rows = Rows(0, destination.pictures(plan).shard(0), len(plan.classes))
rows.refuse(3, Trouble("missing", "It is not there."))
rows.answer([0, 1, 2, 4], np.full((4, len(plan.classes)), 0.5, np.float32), None)
destination.put(shard_key(0), rows.to_parquet(plan))
summary, least = summarize(destination, plan, scored=5, seconds=1.0)
assert summary.answered == 4 and summary.errors["missing"].image == "000003.jpg"
assert least == [(0, 0), (0, 1), (0, 2), (0, 4)]
assert not {"pandas", "pyarrow.compute"} & set(sys.modules)
"""


@pytest.mark.parametrize("values", [[], ["a", "", "ü\n"], ["a", None, "ü"], [None, None]])
def test_texts(values: list[str | None]) -> None:
    made = texts(values)
    made.validate(full=True)
    assert made.equals(pa.array(values, pa.string()))


def test_half_a_surrogate_pair_is_no_text() -> None:
    with pytest.raises(UnicodeEncodeError):
        texts(["a\udcff"])


@pytest.mark.parametrize("values", [[], [b"a", b"", b"\xff\0"]])
def test_binaries(values: list[bytes]) -> None:
    made = binaries(values)
    made.validate(full=True)
    assert made.equals(pa.array(values, pa.binary()))


@pytest.mark.parametrize("kind", [np.int32, np.int64, np.float32])
@pytest.mark.parametrize("valid", [VALID, ~VALID, np.ones(22, bool), np.zeros(22, bool)])
def test_numbers_there_and_back(kind: type[np.generic], valid: np.ndarray) -> None:
    values = NUMBERS.astype(kind)
    made = numbers(values, valid)
    made.validate(full=True)
    assert made.equals(pa.array(values, mask=~valid))
    for column in (pa.chunked_array([made]), pa.chunked_array([made[:9], made[9:], made[5:6]])):
        found, there = numbers_in(column, kind)
        assert found.dtype == kind
        assert [
            number if is_there else None for number, is_there in zip(found.tolist(), there, strict=True)
        ] == column.to_pylist()


def test_no_numbers() -> None:
    found, there = numbers_in(pa.chunked_array([], pa.int32()), np.int32)
    assert (len(found), len(there)) == (0, 0)


@pytest.mark.parametrize("valid", [VALID, np.ones(22, bool), np.zeros(22, bool)])
def test_lists(valid: np.ndarray) -> None:
    made = lists(LISTS, valid)
    made.validate(full=True)
    assert made.to_pylist() == [
        row if is_there else None for row, is_there in zip(LISTS.tolist(), valid, strict=True)
    ]
    assert made.type == pa.list_(pa.float32())


def test_a_result_is_written_and_read_without_pandas(tmp_path: Path) -> None:
    done = subprocess.run(
        [sys.executable, "-c", WITHOUT_PANDAS, str(tmp_path)],
        env={"PYTHONPATH": f"{ROOT}:{ROOT / 'kserve'}:{ROOT / 'tests'}"},
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )
    assert done.returncode == 0, done.stderr
