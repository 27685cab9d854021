"""The largest images there may be, several at once: what the chart gives the transformer is enough."""

import io
import re
import socket
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import httpx
import numpy as np
import psutil
import pytest
from container_files import avif, grid
from picture_files import enormous_jpeg
from PIL import Image
from serving import RunningTransformer, RunningTriton, StartTransformer

from model.images.limits import LIMITS

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
    side = int(LIMITS["webp"].pixels ** 0.5)
    noise = np.random.default_rng(0).integers(0, 256, (50, 50, 3), np.uint8)
    buffer = io.BytesIO()
    Image.fromarray(noise).resize((side, side)).convert(mode).save(buffer, kind, **options)
    ask_four_times(start_transformer(small_triton.address, triton_seconds=60), buffer.getvalue())


def test_four_of_the_longest_at_once(
    start_transformer: StartTransformer, small_triton: RunningTriton
) -> None:
    """JPEGs of nearly as many pixels and bytes as there may be, in one scan; 381 MiB were measured."""
    noise = np.random.default_rng(0).integers(0, 256, (16, 20_000, 3), np.uint8)
    least = LIMITS["jpeg"].bytes * 9 // 10
    one = len(enormous_jpeg(Image.fromarray(noise), 1))
    longest = enormous_jpeg(Image.fromarray(noise), least // one)
    assert least * 9 // 10 < len(longest) < LIMITS["jpeg"].bytes
    ask_four_times(start_transformer(small_triton.address, triton_seconds=60), longest)


def test_four_of_a_telephones_largest_at_once(
    start_transformer: StartTransformer, small_triton: RunningTriton
) -> None:
    """AVIFs of 48 megapixels in tiles, which take more than HEICs: each has all the room to itself."""
    noise = Image.fromarray(np.random.default_rng(0).integers(0, 256, (50, 50, 3), np.uint8))
    image = grid(avif(noise.resize((512, 512))), 16, 12, 8064, 6048)
    ask_four_times(start_transformer(small_triton.address, triton_seconds=60), image)


def ask_four_times(transformer: RunningTransformer, image: bytes) -> None:
    def ask(_: int) -> int:
        files = {"file": ("large", image)}
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


@pytest.mark.parametrize("mistake", ["no image", "a broken image", "another type", "broken JSON", "hung up"])
def test_what_a_refused_request_held_is_free_at_once(
    start_transformer: StartTransformer, small_triton: RunningTriton, mistake: str
) -> None:
    """No cycle holds it until the garbage collector comes, which is seldom: see `memory.collect_rarely`."""
    transformer = start_transformer(small_triton.address, triton_seconds=60)
    noise = np.random.default_rng(0).integers(0, 256, (600, 600, 3), np.uint8)
    buffer = io.BytesIO()
    Image.fromarray(noise).save(buffer, "PNG", compress_level=0)
    whole = buffer.getvalue()
    body, content_type, status = {
        "no image": (bytes(1_000_000), "image/png", 400),
        "a broken image": (whole[: len(whole) * 9 // 10], "image/png", 400),
        "another type": (whole, "text/plain", 415),
        "broken JSON": (
            b'{"instances":[{"image":{"b64":"' + b"A" * 1_000_000 + b'"}}',
            "application/json",
            422,
        ),
        "hung up": (whole, "image/png", None),
    }[mistake]
    route = "/v1/models/cnn-image:predict" if mistake == "broken JSON" else "/predict"

    def ask() -> None:
        if status is None:
            with socket.create_connection(("127.0.0.1", transformer.http_port)) as connection:
                connection.sendall(b"POST %s HTTP/1.1\r\nContent-Type: image/png\r\n" % route.encode())
                connection.sendall(b"Content-Length: %d\r\n\r\n" % len(body) + body[:-1])
        else:
            answered = httpx.post(
                transformer.url + route, content=body, headers={"content-type": content_type}, timeout=60
            )
            assert answered.status_code == status, answered.text

    process = psutil.Process(transformer.process.pid)
    for _ in range(20):
        ask()
    before = process.memory_info().rss
    for _ in range(150):
        ask()
    assert (process.memory_info().rss - before) / 2**20 < 50
