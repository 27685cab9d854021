"""JPEG: a walk over its segments up to the first picture's end, and decoding at a fraction of its size."""

import io
import re
from typing import Final

import numpy as np
import simplejpeg
from numpy.typing import NDArray
from PIL import Image, JpegImagePlugin

from model.contract import IMAGE_SIZE
from model.images.errors import ImageError
from model.images.formats.exif import orientation
from model.images.formats.jpeg_heads import FRAME_BYTES, SCAN_BYTES, Heads
from model.images.header import Header
from model.images.limits import MAX_JPEG_COEFFICIENTS, most_parts, too_many_parts

SCALED_FROM: Final = 512
"""Pixels of the shorter side from which on a JPEG is decoded at 1/2, 1/4 or 1/8 of its size."""

_HUGE_FROM: Final = 25_000_000
_SMALLEST_SIDE: Final = SCALED_FROM // 2
# The scaled picture has at least so many pixels for one of the square, in each direction, to be averaged.
_FOR_A_PIXEL: Final = 3
_FOR_A_PIXEL_OF_HUGE: Final = 2
_SCANS: Final = 100
_PROFILE_BYTES: Final = 4_000_000

_RED: Final = ord("R")
_LOSSLESS: Final = 0xC3
_FRAMES: Final = frozenset((0xC0, 0xC1, 0xC2, _LOSSLESS, 0xC9, 0xCA))
_OTHER_FRAMES: Final = frozenset((0xC5, 0xC6, 0xC7, 0xC8, 0xCB, 0xCD, 0xCE, 0xCF))
_PROGRESSIVE: Final = frozenset((0xC2, 0xCA))
_ALONE: Final = frozenset((0x00, 0x01, *range(0xD0, 0xD9), 0xFF))
_NOTES: Final = frozenset((0xE1, 0xE2, 0xEE))
# Tables, comments and what programs note for themselves: nothing that matters before the decoder.
_SILENT: Final = frozenset((0xC4, 0xCC, *range(0xDB, 0xE1), *range(0xE3, 0xEE), *range(0xEF, 0xFF)))
_PLAIN_SAMPLING: Final = frozenset((0x11, 0x21, 0x22))
# A scan's data end at a marker: no stuffed byte, no restart, no fill byte.
_AFTER_DATA: Final = re.compile(rb"\xff[^\x00\x01\xd0-\xd7\xff]")
_heads: Final = Heads()


def read_header(data: bytes, size: int = IMAGE_SIZE) -> Header:
    """Walks over the segments in front of the first scan; a thumbnail in one of them is not looked at.

    Args:
        data: The file.
        size: Side of the square that it is decoded to, for the memory that this takes.

    Raises:
        ImageError: it is broken, of a kind that is not taken, has too many parts, or several scans that take
            too much memory.
    """
    if (known := _heads.find(data)) is not None:
        return known
    frame, scan, notes = _segments(data)
    if not frame or frame + FRAME_BYTES > len(data):
        raise _broken()
    kind, bits, components = data[frame + 1], data[frame + 4], data[frame + 9]
    if not components:
        raise _broken()
    if kind in _OTHER_FRAMES or bits != 8:
        name = "hierarchical" if kind in _OTHER_FRAMES else f"of {bits} bits a sample"
        raise ImageError(
            "unsupported_format", f"The JPEG is {name}; save it again as a usual one of 8 bits a sample."
        )
    height = data[frame + 5] << 8 | data[frame + 6]
    width = data[frame + 7] << 8 | data[frame + 8]
    header = Header("jpeg", width, height)
    if kind in _PROGRESSIVE or (0 < scan <= len(data) - SCAN_BYTES and data[scan + 4] < components):
        header.scans_from = scan
    header.memory = _memory(data, frame, header, size)
    transform = _read_notes(data, notes, header) if notes else 1
    header.plain = (
        components == 3
        and scan > 0
        and transform == 1
        and (width < SCALED_FROM or height < SCALED_FROM)
        and data[frame + 11] in _PLAIN_SAMPLING
        and data[frame + 14] == data[frame + 17] == 0x11
        and data[frame + 10] != _RED
        and kind != _LOSSLESS
        and width * height <= _HUGE_FROM
    )
    if header.plain and not notes:  # one that is not scaled, so that the square's size does not count
        _heads.keep(data, frame, scan, header)
    return header


def _segments(data: bytes) -> tuple[int, int, list[int]]:
    """Finds the frame's header, the first scan, and the segments that say something of colour or orientation.

    Every small JPEG of a busy service comes through here, so there are few steps a segment. Of a file that is
    cut short, what was found so far counts; what is not there is 0.
    """
    frame = 0
    notes: list[int] = []
    position = 2
    try:
        for _ in range(most_parts(data)):
            if data[position] != 0xFF:  # stray bytes, which every decoder passes over
                position = data.find(b"\xff", position)
                if position < 0:
                    return frame, 0, notes
            marker = data[position + 1]
            if marker not in _SILENT:
                if marker == 0xDA:
                    return frame, position, notes
                if marker in _ALONE:
                    position += 1 if marker == 0xFF else 2
                    continue
                if marker in _NOTES:
                    notes.append(position)
                elif marker in _FRAMES or marker in _OTHER_FRAMES:
                    frame = position
                else:
                    raise _broken()
            position += 2 + (data[position + 2] << 8 | data[position + 3])
    except IndexError:
        return frame, 0, notes
    raise too_many_parts("JPEG")


def _read_notes(data: bytes, notes: list[int], header: Header) -> int:
    """Reads EXIF, XMP and profile; returns Adobe's colour transform, where there is none 1 (to YCbCr)."""
    exif = xmp = None
    profile: list[bytes] = []
    transform = 1
    for position in notes:
        start, end = position + 4, position + 2 + (data[position + 2] << 8 | data[position + 3])
        if data.startswith(b"Exif\0\0", start):
            # A second one goes on where the first one ended.
            exif = data[start:end] if exif is None else exif + data[start + 6 : end]
        elif data.startswith(b"http://ns.adobe.com/xap/1.0/\0", start):
            xmp = data[start + 29 : end]
        elif data.startswith(b"ICC_PROFILE\0", start):
            profile.append(data[start + 12 : end])
        elif data.startswith(b"Adobe", start) and start + 11 < len(data):
            transform = data[start + 11]
    if exif is not None or xmp is not None:
        header.orientation = orientation(exif, xmp)
    if profile:
        header.profile = _joined(profile)
    return transform


def plain_pixels(data: bytes, header: Header) -> NDArray[np.uint8] | None:
    """Decodes the common kind of small JPEG four times as fast as Pillow does.

    Both run libjpeg-turbo's accurate DCT and smooth upsampling, so for these files the pixels are the same.

    Returns:
        RGB, `[height, width, 3]`; None where the decoder has a warning, which Pillow takes.
    """
    if header.scans_from:
        _check_scans(data, header)
    try:
        pixels: NDArray[np.uint8] = simplejpeg.decode_jpeg(data)
    except ValueError:
        return None
    return pixels


def open_image(data: bytes, header: Header, size: int = IMAGE_SIZE) -> Image.Image:
    """Opens it, to be decoded at 1/2, 1/4 or 1/8 where it is large: a fraction of the time and memory.

    What is decoded has pixels enough for a square of `size`.
    """
    _check_scans(data, header)
    image = JpegImagePlugin.JpegImageFile(io.BytesIO(data))
    side = smallest_side(header, size)
    image.draft("RGB", (side, side))
    return image


def _broken() -> ImageError:
    return ImageError("broken_image", "The JPEG image is broken or cut short; send the whole file.")


def smallest_side(header: Header, size: int) -> int:
    """Pixels that each side of the scaled picture has at least."""
    if header.width * header.height > _HUGE_FROM:
        return _FOR_A_PIXEL_OF_HUGE * size
    return max(_SMALLEST_SIDE, _FOR_A_PIXEL * size)


def _memory(data: bytes, frame: int, header: Header, size: int) -> int:
    """Bytes that decoding takes: the scaled picture, and of several scans all coefficients, 2 bytes each.

    Raises:
        ImageError: the coefficients take more than the bound.
    """
    width, height = header.width, header.height
    scale = 1
    if (width >= SCALED_FROM and height >= SCALED_FROM) or width * height > _HUGE_FROM:
        most = min(width, height) // smallest_side(header, size)
        scale = next((step for step in (8, 4, 2) if most >= step), 1)
    # Eight bytes a pixel: the decoder's picture, and the same again in the mode that is shrunk.
    memory = width * height * 8 // (scale * scale)
    if header.scans_from:
        factors = data[frame + 11 : frame + 10 + 3 * data[frame + 9] : 3]
        across, down = max(factor >> 4 for factor in factors), max(factor & 15 for factor in factors)
        if not across * down:
            raise _broken()
        blocks = sum(
            -(-width * (factor >> 4) // (8 * across)) * -(-height * (factor & 15) // (8 * down))
            for factor in factors
        )
        coefficients = blocks * 128
        if coefficients > MAX_JPEG_COEFFICIENTS:
            raise ImageError(
                "too_many_pixels",
                f"The JPEG of {width} x {height} pixels is stored in several scans (progressive), which "
                f"takes {coefficients // 1_000_000} MB of memory where {MAX_JPEG_COEFFICIENTS // 1_000_000} "
                "are allowed; send a baseline JPEG, or a smaller one.",
            )
        memory += coefficients
    return memory


def _joined(segments: list[bytes]) -> bytes | None:
    """Puts a profile's segments together: each begins with its number and how many there are."""
    segments.sort()
    if sum(map(len, segments)) > _PROFILE_BYTES or segments[0][1:2] != bytes((len(segments) & 255,)):
        return None
    return b"".join(segment[2:] for segment in segments)


def _check_scans(data: bytes, header: Header) -> None:
    """Refuses a file of so many scans that decoding it costs far more than its size says.

    Each is a pass over all pixels (first issue of
    https://libjpeg-turbo.org/pmwiki/uploads/About/TwoIssueswiththeJPEGStandard.pdf). Only those up to the
    first picture's end count: a video or a second picture may follow.
    """
    position, scans, left = header.scans_from, 0, most_parts(data)
    while 0 < position < len(data) - 3 and data[position + 1] != 0xD9:
        left -= 1
        scan = data[position + 1] == 0xDA
        scans += scan
        if scans > _SCANS or not left:
            raise too_many_parts("JPEG")
        length = data[position + 2] << 8 | data[position + 3]
        found = _AFTER_DATA.search(data, position + 2 + length)
        position = found.start() if found else 0
