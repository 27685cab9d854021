"""The largest images there may be, several at once: what the chart gives the transformer is enough."""

import io
import re
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import httpx
import numpy as np
import pytest
from PIL import Image
from serving import RunningTriton, StartTransformer

from model.decode import MAX_PIXELS

pytestmark = pytest.mark.slow

# Of the 1 GiB in the chart; 673 was measured with four lossless WebP with transparency of 25 megapixels.
MEGABYTES = 800
PEAK = re.compile(r"VmHWM:\s+(\d+) kB")


@pytest.mark.parametrize(
    ("kind", "mode", "options"),
    [
        ("WEBP", "RGBA", {"lossless": True, "method": 0, "quality": 0}),
        ("PNG", "RGB", {"compress_level": 1}),
        ("JPEG", "RGB", {"progressive": True}),
    ],
)
def test_four_of_the_largest_at_once(
    start_transformer: StartTransformer, small_triton: RunningTriton, kind: str, mode: str, options: Any
) -> None:
    side = int(MAX_PIXELS**0.5)
    noise = np.random.default_rng(0).integers(0, 256, (50, 50, 3), np.uint8)
    buffer = io.BytesIO()
    Image.fromarray(noise).resize((side, side)).convert(mode).save(buffer, kind, **options)
    transformer = start_transformer(small_triton.address, triton_seconds=60)

    def ask(_: int) -> int:
        files = {"file": ("large", buffer.getvalue())}
        return httpx.post(transformer.url + "/predict", files=files, timeout=300).status_code

    with ThreadPoolExecutor(4) as threads:
        statuses = set(threads.map(ask, range(4)))
    assert 200 in statuses
    assert statuses <= {200, 429}, "429: together they are more bytes than may be held"
    peak = PEAK.search(Path(f"/proc/{transformer.process.pid}/status").read_text())
    assert peak is not None
    assert int(peak[1]) // 1024 < MEGABYTES


def test_json_that_is_much_larger_when_read(
    start_transformer: StartTransformer, small_triton: RunningTriton
) -> None:
    """As many at once as may be held: 371 MiB were measured, and 2,294 without limits on its parts."""
    transformer = start_transformer(small_triton.address)
    body = b'{"inputs":[' + b"1.5," * 990_000 + b"1]}"

    def ask(_: int) -> int:
        headers = {"content-type": "application/json"}
        url = transformer.url + "/v2/models/cnn-image/infer"
        return httpx.post(url, content=body, headers=headers, timeout=300).status_code

    with ThreadPoolExecutor(15) as threads:
        assert set(threads.map(ask, range(30))) <= {422, 429}
    peak = PEAK.search(Path(f"/proc/{transformer.process.pid}/status").read_text())
    assert peak is not None
    assert int(peak[1]) // 1024 < 600
