"""How much of a Parquet is in memory at a time."""

from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from model.data.own.places.parquet import Table

PICTURE = bytes(1_000_000)
ROWS = 48


@pytest.mark.parametrize("embedded", ["bytes", "as Hugging Face has them"])
def test_few_pictures_are_in_memory_at_a_time_however_small_the_file(tmp_path: Path, embedded: str) -> None:
    images = [PICTURE] * ROWS if embedded == "bytes" else [{"bytes": PICTURE, "path": "x"}] * ROWS
    path = tmp_path / "small.parquet"
    pq.write_table(pa.table({"image": images, "label": ["cat"] * ROWS}), path, compression="zstd")
    assert path.stat().st_size < 100_000
    before = pa.default_memory_pool()
    pool = pa.proxy_memory_pool(before)
    pa.set_memory_pool(pool)
    try:
        table = Table(path, "small.parquet")
        assert len(table.rows()) == ROWS
        read = [number for number, data in table.read(range(1, ROWS + 1)) if data == PICTURE]
    finally:
        pa.set_memory_pool(before)
    assert read == list(range(1, ROWS + 1))
    assert 0 < pool.max_memory() < len(PICTURE) * ROWS / 3
