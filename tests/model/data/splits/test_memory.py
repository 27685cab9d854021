import hashlib
import io
from dataclasses import fields, replace

import numpy as np
import pytest

from model.data.errors import DataError
from model.data.pictures import Picture
from model.data.splits.decide import decide
from model.data.splits.memory import Splits, group_hash, joined


def pictures(count: int) -> list[Picture]:
    rng = np.random.default_rng(0)
    return [
        Picture(
            name=f"secret-{number}.jpg",
            label="ab"[number % 2],
            given=None,
            group=f"Ada {number}" if number % 3 else None,
            digest=rng.bytes(32),
            phash=int(rng.integers(2**64, dtype=np.uint64)),
            thumb=rng.bytes(256),
            width=1,
            height=1,
            format="png",
            length=1,
        )
        for number in range(count)
    ]


@pytest.fixture
def splits() -> Splits:
    return decide(pictures(50)).splits


def test_what_is_written_is_read(splits: Splits) -> None:
    again = Splits.from_bytes(splits.to_bytes())
    for field in fields(Splits):
        assert np.array_equal(getattr(again, field.name), getattr(splits, field.name)), field.name
    assert len(again) == 50
    assert again.classes == ("a", "b")
    assert again.to_bytes() == splits.to_bytes()


def test_the_order_of_the_pictures_does_not_change_the_file(splits: Splits) -> None:
    assert decide(pictures(50)[::-1]).splits.to_bytes() == splits.to_bytes()


def test_no_name_of_a_file_or_a_group_is_in_it(splits: Splits) -> None:
    packed = np.load(io.BytesIO(splits.to_bytes()[51:]))
    everything = b"".join(packed[name].tobytes() for name in packed.files)
    assert b"secret" not in everything
    assert b"Ada" not in everything
    assert group_hash("Ada 1") in everything


def test_no_picture_is_a_file_too() -> None:
    empty = decide([]).splits
    assert len(Splits.from_bytes(empty.to_bytes())) == 0


@pytest.mark.parametrize("at", [25, 60, -1])
def test_a_damaged_file_is_refused(splits: Splits, at: int) -> None:
    data = bytearray(splits.to_bytes())
    data[at] ^= 1
    with pytest.raises(DataError, match="damaged"):
        Splits.from_bytes(bytes(data))
    with pytest.raises(DataError, match="damaged"):
        Splits.from_bytes(splits.to_bytes()[:-7])


@pytest.mark.parametrize(
    ("data", "sentence"),
    [
        (b"", "no file that cnn-image wrote"),
        (b"PK\3\4", "no file that cnn-image wrote"),
        (b"cnn-image splits 2\n" + bytes(40), "newer cnn-image; update"),
    ],
)
def test_another_file_is_refused(data: bytes, sentence: str) -> None:
    with pytest.raises(DataError, match=sentence):
        Splits.from_bytes(data)


def test_a_file_whose_sum_is_right_is_still_looked_at(splits: Splits) -> None:
    wrong = [
        replace(splits, bits=np.zeros_like(splits.bits)),
        replace(splits, labels=splits.labels + 1),
        replace(splits, thumbs=splits.thumbs[:, :16]),
        replace(splits, group_rows=splits.group_rows + 50),
        replace(splits, hashes=splits.hashes[1:]),
    ]
    for other in wrong:
        with pytest.raises(DataError, match="cannot be read"):
            Splits.from_bytes(other.to_bytes())
    data = splits.to_bytes()
    body = b"not a zip file"
    with pytest.raises(DataError, match="cannot be read"):
        Splits.from_bytes(data[:19] + hashlib.sha256(body).digest() + body)


def test_what_two_versions_know_is_joined() -> None:
    first, second = decide(pictures(50)[:30]).splits, decide(pictures(50)[20:]).splits
    other = replace(second, bits=np.full(len(second), 4, np.uint8))
    both = joined(first, other)
    assert len(both) == 50
    bits = {bytes(digest): int(bit) for digest, bit in zip(both.digests, both.bits, strict=True)}
    for splits in (first, other):
        for digest, bit in zip(splits.digests, splits.bits, strict=True):
            assert bits[bytes(digest)] & bit == bit
    assert joined(first, first).to_bytes() == first.to_bytes()
    assert joined(first, second).to_bytes() == joined(second, first).to_bytes()
