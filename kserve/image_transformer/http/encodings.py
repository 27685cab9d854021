"""Compressed bodies: gzip and deflate unfolded within a bound, answers folded (RFC 9110)."""

import asyncio
import zlib
from collections.abc import AsyncIterator
from typing import Final, Literal

from image_transformer.errors import ServiceError

Encoding = Literal["gzip", "deflate"]

_WINDOW: Final[dict[Encoding, int]] = {"gzip": 16 + zlib.MAX_WBITS, "deflate": zlib.MAX_WBITS}
_PIECE: Final = 1 << 20
_LONG: Final = 64 * 1024  # compressed; what is longer is unfolded beside the event loop
_MEMBERS: Final = 64  # a gzip file may be several, one after the other (RFC 1952); empty ones cost time alone

WORTH: Final = 16 * 1024
"""Bytes from which on an answer is compressed: about 190 images' probabilities of five classes in JSON."""

_QUICK: Final = 1  # zlib's level; numbers in JSON become no shorter to speak of with a higher one


def encoding_of(header: str) -> Encoding | None:
    """Returns how a request's body is compressed; None where it is not.

    Args:
        header: Its Content-Encoding; empty where there is none.

    Raises:
        ServiceError: in a way that is not taken, or twice.
    """
    name = header.strip().lower().removeprefix("x-")
    if name in {"", "identity"}:
        return None
    if name == "gzip":
        return "gzip"
    if name == "deflate":
        return "deflate"
    raise ServiceError(
        "unsupported_encoding", f"The Content-Encoding is {header[:40]!r}; send gzip, deflate, or none."
    )


async def unfolded(body: bytes, encoding: Encoding) -> AsyncIterator[bytes]:
    """Yields what a compressed body holds, a megabyte at most at a time.

    Who counts the pieces can stop long before a bomb has gone off.

    Raises:
        ServiceError: it is not compressed so, or cut short.
    """
    position, members, beside = 0, 0, len(body) > _LONG
    while position < len(body):
        members += 1
        if members > _MEMBERS:
            raise _broken(encoding)
        # Some clients send deflate without zlib's head, which the standard has.
        bare = encoding == "deflate" and not _is_zlib(body)
        unfold = zlib.decompressobj(-zlib.MAX_WBITS if bare else _WINDOW[encoding])
        pending = b""
        while not unfold.eof:
            ended = not pending and position == len(body)
            if not pending:
                pending = body[position : position + _PIECE]
                position += len(pending)
            try:
                if beside:
                    piece = await asyncio.to_thread(unfold.decompress, pending, _PIECE)
                else:
                    piece = unfold.decompress(pending, _PIECE)
            except zlib.error:
                raise _broken(encoding) from None
            if piece:
                beside = beside or len(piece) == _PIECE
                yield piece
            elif ended:
                raise _broken(encoding)
            pending = unfold.unconsumed_tail
        if encoding == "deflate":
            return
        position -= len(unfold.unused_data)


def _is_zlib(body: bytes) -> bool:
    return len(body) > 1 and body[0] & 15 == zlib.DEFLATED and int.from_bytes(body[:2], "big") % 31 == 0


def _broken(encoding: Encoding) -> ServiceError:
    return ServiceError(
        "invalid_request",
        f"The body is no {encoding}, as its Content-Encoding says, or cut short; send all of it.",
    )


def accepted(header: str) -> Encoding | None:
    """Returns in which way an answer may be compressed, gzip first.

    Args:
        header: The request's Accept-Encoding.
    """
    weights: dict[str, bool] = {}
    for item in header.lower().split(","):
        name, _, parameter = item.partition(";")
        weights[name.strip()] = parameter.replace(" ", "") not in {"q=0", "q=0.0", "q=0.00", "q=0.000"}
    if weights.get("gzip", weights.get("*", False)):
        return "gzip"
    return "deflate" if weights.get("deflate", False) else None


async def folded(body: bytes, encoding: Encoding) -> bytes:
    """Compresses an answer, beside the event loop."""

    def fold() -> bytes:
        compress = zlib.compressobj(_QUICK, zlib.DEFLATED, _WINDOW[encoding])
        return compress.compress(body) + compress.flush()

    return await asyncio.to_thread(fold)
