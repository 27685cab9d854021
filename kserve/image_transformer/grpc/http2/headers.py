"""Header blocks: unfolded by hpack, but for those that were met before (RFC 7541; RFC 9113, section 8)."""

import re
from collections.abc import Sequence
from typing import Any, Final

import hpack

from image_transformer.grpc.http2.frames import ErrorCode, Http2ConnectionError
from image_transformer.grpc.http2.limits import HEADER_LIST_BYTES, MOST_HEADER_LIST_BYTES

Fields = Sequence[tuple[bytes, bytes]]

_MET_BLOCKS: Final = 64
_MET_BYTES: Final = 65_536
_ENTRY_BYTES: Final = 32  # that section 6.5.2 adds for each field

_PSEUDO: Final = frozenset((b":method", b":scheme", b":authority", b":path"))
_OF_CONNECTIONS: Final = frozenset(
    (b"connection", b"keep-alive", b"proxy-connection", b"transfer-encoding", b"upgrade")
)
# Section 8.2.1: no capitals, no signs below `!`, none above `~`, and a colon at the beginning alone.
_NAME: Final = re.compile(rb":?[!-9;-@\[-~]+")
_VALUE: Final = re.compile(rb"(?:[^\0\r\n \t](?:[^\0\r\n]*[^\0\r\n \t])?)?")
_LENGTH: Final = re.compile(rb"[0-9]{1,18}")


class Block:
    """A header block's fields.

    Attributes:
        fields: Names and values in their order.
        too_long: Whether they are more than are taken.
        objection: Why they are no request, or None.
        length: Bytes of data that its content-length promises; None without one.
        head: What the layer above makes of them, for the next time that the same block comes.
    """

    __slots__ = ("fields", "head", "length", "objection", "too_long")

    def __init__(self, fields: Fields, size: int) -> None:
        self.fields = fields
        self.too_long = size > HEADER_LIST_BYTES
        self.objection = _objection(fields)
        self.length = _length(fields)
        self.head: Any = None


class HeaderBlocks:
    """Unfolds the blocks of one connection, in their order.

    Clients ask the same over and over, and then send the same bytes. These mean the same for as long as the
    table stays as it is, which every block that adds to it changes: so those that add nothing are kept, until
    one that does.
    """

    def __init__(self) -> None:
        self._decoder = hpack.Decoder(MOST_HEADER_LIST_BYTES)
        self._met: dict[bytes, Block] = {}
        self._met_bytes = 0

    def unfold(self, block: bytes) -> Block:
        """Returns a block's fields.

        Raises:
            Http2ConnectionError: it cannot be unfolded, or only to far too much; the table is of no more use.
        """
        met = self._met.get(block)
        if met is not None:
            return met
        table = self._decoder.header_table
        entries = table.dynamic_entries
        before = len(entries), entries[0] if entries else None, table.maxsize
        try:
            fields = tuple((name, value) for name, value in self._decoder.decode(block, raw=True))
        except hpack.OversizedHeaderListError:
            raise Http2ConnectionError(ErrorCode.ENHANCE_YOUR_CALM, "header list too long") from None
        except (hpack.HPACKError, IndexError, ValueError):
            raise Http2ConnectionError(
                ErrorCode.COMPRESSION_ERROR, "header block cannot be decoded"
            ) from None
        size = sum(len(name) + len(value) for name, value in fields) + _ENTRY_BYTES * len(fields)
        made = Block(fields, size)
        if (len(entries), table.maxsize) != (before[0], before[2]) or (
            entries and entries[0] is not before[1]
        ):
            self._forget()
        else:
            self._keep(block, made, size)
        return made

    def _keep(self, block: bytes, made: Block, size: int) -> None:
        if len(self._met) >= _MET_BLOCKS or self._met_bytes + len(block) + size > _MET_BYTES:
            self._forget()
        self._met[block] = made
        self._met_bytes += len(block) + size

    def _forget(self) -> None:
        self._met.clear()
        self._met_bytes = 0


def _objection(fields: Fields) -> str | None:
    """Says why fields are no request's (sections 8.2 and 8.3.1), or None where they are."""
    pseudo: dict[bytes, bytes] = {}
    regular = False
    length: bytes | None = None
    for name, value in fields:
        if not _NAME.fullmatch(name) or not _VALUE.fullmatch(value):
            return "a field has signs that may not stand there"
        if name.startswith(b":"):
            if regular or name not in _PSEUDO or name in pseudo:
                return "a pseudo-header field is unknown, late, or there twice"
            pseudo[name] = value
            continue
        regular = True
        if name in _OF_CONNECTIONS or (name == b"te" and value.lower() != b"trailers"):
            return "a field is about the connection"
        if name == b"content-length":
            length = length or value
            if not _LENGTH.fullmatch(value) or value != length:  # RFC 9110, section 8.6
                return "the content-length is no number, or there are two"
    if not pseudo.get(b":method") or b":scheme" not in pseudo or not pseudo.get(b":path"):
        return "a pseudo-header field is missing"
    return None


def _length(fields: Fields) -> int | None:
    values = [value for name, value in fields if name == b"content-length" and _LENGTH.fullmatch(value)]
    return int(values[0]) if values else None


def are_trailers(fields: Fields) -> bool:
    """Tells whether fields may stand behind a request's body, section 8.1."""
    return all(
        not name.startswith(b":")
        and _NAME.fullmatch(name)
        and _VALUE.fullmatch(value)
        and name not in _OF_CONNECTIONS
        for name, value in fields
    )


def literal(name: bytes, value: bytes) -> bytes:
    """Writes a field that no table keeps, in plain bytes (RFC 7541, section 6.2.2)."""
    return b"\0" + _string(name) + _string(value)


def _string(text: bytes) -> bytes:
    return _integer(len(text)) + text


def _integer(number: int) -> bytes:
    """Writes a length with a prefix of seven bits (RFC 7541, section 5.1)."""
    if number < 127:
        return bytes((number,))
    written = bytearray((127,))
    number -= 127
    while number > 127:
        written.append(number & 127 | 128)
        number >>= 7
    written.append(number)
    return bytes(written)
