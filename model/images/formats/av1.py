"""How large the frames of an AV1 bitstream may be, by its sequence headers (specification, 5.3 and 5.5)."""

from collections.abc import Callable
from typing import Final

_SEQUENCE_HEADER: Final = 1
_LONGEST_HEADER: Final = 512


def largest_frame(bitstream: bytes, count: Callable[[], None]) -> tuple[int, int]:
    """Tells the largest width and height that any of its sequence headers allows; zeros where it has none.

    Args:
        bitstream: Open bitstream units, one after the other.
        count: Called for each.

    Raises:
        ValueError: it is cut short.
    """
    width = height = position = 0
    while position < len(bitstream):
        count()
        head = bitstream[position]
        position += 2 if head & 4 else 1
        size = len(bitstream) - position
        if head & 2:
            size, position = _leb128(bitstream, position)
        if position + size > len(bitstream):
            raise ValueError("a unit is longer than the bitstream")
        if head >> 3 & 15 == _SEQUENCE_HEADER:
            across, down = _frame_size(bitstream[position : position + min(size, _LONGEST_HEADER)])
            width, height = max(width, across), max(height, down)
        position += size
    return width, height


def _leb128(data: bytes, position: int) -> tuple[int, int]:
    value = 0
    for shift in range(0, 56, 7):
        if position >= len(data):
            break
        value |= (data[position] & 127) << shift
        position += 1
        if data[position - 1] < 128:
            return value, position
    raise ValueError("a number without an end")


class _Bits:
    def __init__(self, data: bytes) -> None:
        self._value, self._left = int.from_bytes(data), len(data) * 8

    def __call__(self, count: int) -> int:
        self._left -= count
        if self._left < 0:
            raise ValueError("a header is cut short")
        return self._value >> self._left & (1 << count) - 1

    def skip_exp_golomb(self) -> None:
        zeros = 0
        while not self(1):
            zeros += 1
        self(zeros)


def _frame_size(header: bytes) -> tuple[int, int]:
    bits = _Bits(header)
    bits(4)  # profile and still picture
    if bits(1):  # the reduced header of a still picture
        bits(5)
    else:
        _skip_operating_points(bits)
    across, down = bits(4) + 1, bits(4) + 1
    return bits(across) + 1, bits(down) + 1


def _skip_operating_points(bits: _Bits) -> None:
    delay_bits = None
    if bits(1):  # timing
        bits(64)
        if bits(1):
            bits.skip_exp_golomb()
        if bits(1):  # decoder model
            delay_bits = bits(5) + 1
            bits(42)
    display_delay = bits(1)
    for _ in range(bits(5) + 1):
        bits(12)
        if bits(5) > 7:
            bits(1)
        if delay_bits is not None and bits(1):
            bits(2 * delay_bits + 1)
        if display_delay and bits(1):
            bits(4)
