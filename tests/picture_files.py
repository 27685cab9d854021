"""Writes picture files by hand that Pillow does not write: bit fields, chunks, segments, enormous ones."""

import io
import random
import struct
import zlib
from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray
from PIL import Image

MASKS: dict[str, tuple[int, tuple[int, int, int, int]]] = {
    "4444": (16, (0xF00, 0xF0, 0xF, 0xF000)),
    "1555": (16, (0x7C00, 0x3E0, 0x1F, 0x8000)),
    "565": (16, (0xF800, 0x7E0, 0x1F, 0)),
    "8888": (32, (0xFF0000, 0xFF00, 0xFF, 0xFF000000)),
    "10-10-10-2": (32, (0x3FF, 0xFFC00, 0x3FF00000, 0xC0000000)),
    "888x": (32, (0xFF00, 0xFF, 0xFF000000, 0)),
}
"""Bits a pixel, and where red, green, blue and alpha lie."""


def quantized(samples: NDArray[np.uint8], masks: Sequence[int]) -> NDArray[np.uint8]:
    """Returns what a picture `[H, W, 4]` looks like at the depths of its masks; without one it is 255."""
    shown = np.full_like(samples, 255)
    for channel, mask in enumerate(masks):
        if mask:
            most = (1 << mask.bit_count()) - 1
            stored = (samples[..., channel].astype(int) * most + 127) // 255
            shown[..., channel] = np.rint(stored * 255 / most)
    return shown


def bmp(
    samples: NDArray[np.uint8],
    kind: str,
    *,
    header: int = 124,
    compression: int = 3,
    from_top: bool = False,
) -> bytes:
    """Writes RGBA `[H, W, 4]` as a BMP with bit fields.

    Args:
        samples: The picture.
        kind: One of `MASKS`.
        header: Length of the header; behind one of 40 bytes the masks follow.
        compression: 3, or 6 with a mask for alpha behind a header of 40 bytes.
        from_top: Whether the first row is the uppermost.
    """
    bits, masks = MASKS[kind]
    height, width, _ = samples.shape
    stored = np.zeros((height, width), np.uint64)
    for channel, mask in enumerate(masks):
        if mask:
            most = (1 << mask.bit_count()) - 1
            value = (samples[..., channel].astype(np.uint64) * most + 127) // 255
            stored |= value << np.uint64((mask & -mask).bit_length() - 1)
    rows = [row.tobytes() for row in stored.astype(f"<u{bits // 8}")]
    pixels = b"".join(row + bytes(-len(row) % 4) for row in (rows if from_top else reversed(rows)))
    fields = struct.pack("<4I", *masks)
    behind = fields[: 16 if compression == 6 else 12] if header == 40 else b""
    head = struct.pack(
        "<IiiHHIIiiII",
        header,
        width,
        -height if from_top else height,
        1,
        bits,
        compression,
        len(pixels),
        0,
        0,
        0,
        0,
    )
    head = (head + fields).ljust(header, b"\0")[:header] + behind
    return b"BM" + struct.pack("<IHHI", 14 + len(head) + len(pixels), 0, 0, 14 + len(head)) + head + pixels


def chunk(kind: bytes, content: bytes) -> bytes:
    """Writes a chunk of a PNG."""
    return struct.pack(">I", len(content)) + kind + content + struct.pack(">I", zlib.crc32(kind + content))


def with_chunks(png: bytes, *chunks: bytes) -> bytes:
    """Puts chunks behind a PNG's first one."""
    return png[:33] + b"".join(chunks) + png[33:]


def with_profile(jpeg: bytes, profile: bytes, pieces: int = 1, *, backwards: bool = False) -> bytes:
    """Puts a profile into a JPEG, in several segments as long ones are."""
    size = -(-len(profile) // pieces)
    segments = []
    for number in range(pieces):
        content = (
            b"ICC_PROFILE\0" + bytes((number + 1, pieces)) + profile[number * size : (number + 1) * size]
        )
        segments.append(b"\xff\xe2" + struct.pack(">H", len(content) + 2) + content)
    return jpeg[:2] + b"".join(reversed(segments) if backwards else segments) + jpeg[2:]


def motion_photograph(jpeg: bytes, size: int) -> bytes:
    """Puts behind a picture what a telephone's video looks like, with markers in it as it has them."""
    video = bytearray(b"\0\0\0\x18ftypmp42\0\0\0\0mp42isom" + random.Random(1).randbytes(size))
    for position in range(100, size - 100, 300):
        video[position : position + 2] = b"\xff\xda"
    return jpeg + bytes(video)


def part_of_a_screen(gif: bytes, screen: tuple[int, int], corner: tuple[int, int]) -> bytes:
    """Makes the screen of a GIF larger than its first frame, which begins at a corner of its own."""
    changed = bytearray(gif)
    changed[6:10] = struct.pack("<HH", *screen)
    start = 13 + (3 << ((gif[10] & 7) + 1) if gif[10] & 0x80 else 0)
    while changed[start] == 0x21:
        start += 2
        while changed[start]:
            start += 1 + changed[start]
        start += 1
    changed[start + 1 : start + 5] = struct.pack("<HH", *corner)
    return bytes(changed)


def enormous_jpeg(picture: Image.Image, times: int) -> bytes:
    """Writes a baseline JPEG that shows a picture of 8 or 16 rows over and over, one below the other.

    Each row of blocks begins anew at a restart marker, so its bytes are those of the first one.
    """
    buffer = io.BytesIO()
    picture.save(buffer, "JPEG", restart_marker_rows=1, quality=85)
    one = bytearray(buffer.getvalue())
    frame = one.index(b"\xff\xc0")
    one[frame + 5 : frame + 7] = struct.pack(">H", picture.height * times)
    start = one.index(b"\xff\xda")
    start += 2 + int.from_bytes(one[start + 2 : start + 4])
    row = bytes(one[start:-2])
    rows = b"".join(row + bytes((0xFF, 0xD0 + number % 8)) for number in range(times))
    return bytes(one[:start]) + rows[:-2] + b"\xff\xd9"
