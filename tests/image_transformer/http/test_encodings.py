import gzip
import zlib
from collections.abc import Callable
from typing import Any

import pytest

from image_transformer.http.encodings import Encoding, accepted, encoding_of, folded, unfolded

TEXT = b"a picture, and another one; " * 200_000


def bare(data: bytes) -> bytes:
    compress = zlib.compressobj(wbits=-zlib.MAX_WBITS)
    return compress.compress(data) + compress.flush()


async def all_of(body: bytes, encoding: Encoding) -> bytes:
    pieces = [piece async for piece in unfolded(body, encoding)]
    assert max(map(len, pieces), default=0) <= 1 << 20
    return b"".join(pieces)


@pytest.mark.parametrize(
    "data", [b"", b"x", TEXT, bytes(range(256)) * 9_000], ids=["none", "one", "text", "all"]
)
@pytest.mark.parametrize(
    ("fold", "encoding"),
    [
        (gzip.compress, "gzip"),
        (lambda data: gzip.compress(data[:7]) + gzip.compress(data[7:]), "gzip"),
        (lambda data: gzip.compress(data, 0), "gzip"),
        (zlib.compress, "deflate"),
        (bare, "deflate"),
    ],
)
async def test_what_was_folded(fold: Callable[[bytes], bytes], encoding: Encoding, data: bytes) -> None:
    assert await all_of(fold(data), encoding) == data


@pytest.mark.parametrize(
    ("body", "encoding"),
    [
        (b"hello", "gzip"),
        (b"hello", "deflate"),
        (gzip.compress(TEXT)[:-1], "gzip"),
        (gzip.compress(TEXT)[:-9], "gzip"),
        (gzip.compress(TEXT) + b"more", "gzip"),
        (zlib.compress(TEXT)[:-5], "deflate"),
        (zlib.compress(TEXT), "gzip"),
        (gzip.compress(b"") * 65, "gzip"),
    ],
)
async def test_what_is_broken(body: bytes, encoding: Encoding, failure: Callable[[str], Any]) -> None:
    with failure("invalid_request"):
        await all_of(body, encoding)


async def test_a_bomb_goes_off_piece_by_piece() -> None:
    """Who reads the first piece has no more of it in memory."""
    bomb = unfolded(gzip.compress(bytes(200_000_000), 1), "gzip")
    assert len(await anext(bomb)) == 1 << 20
    await bomb.aclose()  # type: ignore[attr-defined]


@pytest.mark.parametrize(
    ("header", "encoding"),
    [("", None), ("identity", None), ("gzip", "gzip"), ("X-GZIP", "gzip"), (" Deflate ", "deflate")],
)
def test_how_a_body_is_compressed(header: str, encoding: Encoding | None) -> None:
    assert encoding_of(header) == encoding


@pytest.mark.parametrize("header", ["br", "zstd", "gzip, gzip", "gzip,deflate", "*"])
def test_other_encodings(header: str, failure: Callable[[str], Any]) -> None:
    with failure("unsupported_encoding"):
        encoding_of(header)


@pytest.mark.parametrize(
    ("header", "encoding"),
    [
        ("", None),
        ("br", None),
        ("identity", None),
        ("gzip", "gzip"),
        ("deflate, gzip;q=1.0, *;q=0.5", "gzip"),
        ("deflate", "deflate"),
        ("*", "gzip"),
        ("gzip;q=0, deflate", "deflate"),
        ("gzip; q=0.000", None),
        ("*;q=0", None),
        ("GZIP", "gzip"),
    ],
)
def test_what_a_client_takes(header: str, encoding: Encoding | None) -> None:
    assert accepted(header) == encoding


@pytest.mark.parametrize(("encoding", "unfold"), [("gzip", gzip.decompress), ("deflate", zlib.decompress)])
async def test_an_answer(encoding: Encoding, unfold: Callable[[bytes], bytes]) -> None:
    assert unfold(await folded(TEXT, encoding)) == TEXT
