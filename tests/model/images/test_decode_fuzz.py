"""Damaged images for a while: pixels or an ImageError, and nothing else."""

import time
from pathlib import Path

import pytest
from atheris_run import fuzz
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from model.images.decode import decode_image
from model.images.errors import ImageError
from model.images.limits import LIMITS, Limit

HERE = Path(__file__).parent
SEEDS = [
    path.read_bytes()
    for path in sorted((HERE / "golden").iterdir())
    if path.suffix not in {".py", ".npz", ""}
]
SMALL = dict.fromkeys(LIMITS, Limit(1_000_000, 1_000_000))
SEEDS = [seed for seed in SEEDS if len(seed) < 10_000]


def decoded_or_refused(data: bytes) -> None:
    started = time.process_time()
    try:
        pixels = decode_image(data, limits=SMALL)
    except ImageError:
        pass
    else:
        assert pixels.shape == (32, 32, 3)
    assert time.process_time() - started < 5, "a small file keeps a decoder busy for seconds"


@pytest.mark.parametrize("path", sorted((HERE / "corpus").glob("*.bin")), ids=lambda path: path.name)
def test_what_was_found_before(path: Path) -> None:
    decoded_or_refused(path.read_bytes())


def test_a_gif_whose_frame_outgrows_its_header_is_refused_before_it_is_filled() -> None:
    data = (HERE / "corpus" / "gif-frame-of-178-megapixels.bin").read_bytes()
    with pytest.raises(ImageError, match=r"The GIF image has .* pixels; send one of at most 25,000,000"):
        decode_image(data)


@pytest.mark.slow
@settings(max_examples=1000, deadline=None, suppress_health_check=list(HealthCheck))
@given(
    seed=st.sampled_from(SEEDS),
    changes=st.lists(st.tuples(st.integers(0, 2**31), st.binary(max_size=6), st.integers(0, 6)), max_size=6),
)
def test_damaged_images(seed: bytes, changes: list[tuple[int, bytes, int]]) -> None:
    data = bytearray(seed)
    for position, written, removed in changes:
        start = position % (len(data) + 1)
        data[start : start + removed] = written
    decoded_or_refused(bytes(data))


@pytest.mark.slow
def test_atheris(tmp_path: Path) -> None:
    fuzz("decode", SEEDS, tmp_path, most_bytes=10_000, corpus=HERE / "corpus")
