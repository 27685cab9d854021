"""From an encoded image to the network's input; the one function that evaluation and serving share.

Every accepted format becomes a square of RGB, by default 32x32: transparency over white, EXIF orientation
applied, the picture fitted to the square (`model.images.fit`) with antialiasing. 16-bit samples keep their
high byte.
Golden images pin what comes out: when one changes, so does `DECODER_VERSION`.
"""

from collections.abc import Callable, Mapping, Sequence
from typing import Final, NamedTuple

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from model.contract import IMAGE_SIZE, Fit
from model.images import colour
from model.images.errors import ImageError
from model.images.fit import PREMULTIPLIED, border, frame, shrink, turn
from model.images.formats import bmp, gif, heif, jpeg, png, tiff, webp
from model.images.header import NAMES, Format, Header, image_format, other_image_format
from model.images.limits import LIMITS, Limit

DECODER_VERSION: Final = "2"
"""Rises whenever any image may decode to other pixels; stands in the manifest and in `/info`."""

# What a picture's colours are in, where they are neither RGB nor a palette's.
_MODES: Final = {"1": "L", "L": "L", "LA": "L", "CMYK": "CMYK"}

_CHEAP_BYTES: Final = 16_384
_CHEAP_PIXELS: Final = 65_536
# A pixel that is made takes as long as two that are decoded; those of the default square are left out.
_MADE: Final = 2
_DEFAULT_PIXELS: Final = IMAGE_SIZE * IMAGE_SIZE
_NEVER_CHEAP: Final[frozenset[Format]] = frozenset({"heic", "avif"})

# Pillow's own guard, behind ours, which has seen every size before Pillow is asked: it refuses twice this.
Image.MAX_IMAGE_PIXELS = max(limit.pixels for form, limit in LIMITS.items() if form != "jpeg")


class _Reader(NamedTuple):
    """How one format is read.

    Attributes:
        header: Walks over the file once. Raises ImageError where it is broken or of a kind that is not taken;
            says the size even where the rest is cut off, for it is compared with the limit.
        open: Makes the picture, in a mode of Pillow's: L, LA, P, PA, RGB, RGBA, CMYK, 1 or I;16.
    """

    header: Callable[[bytes], Header]
    open: Callable[[bytes, Header], Image.Image]


_READERS: Final[Mapping[Format, _Reader]] = {
    "jpeg": _Reader(jpeg.read_header, jpeg.open_image),
    "png": _Reader(png.read_header, png.open_image),
    "webp": _Reader(webp.read_header, webp.open_image),
    "gif": _Reader(gif.read_header, gif.open_image),
    "bmp": _Reader(bmp.read_header, bmp.open_image),
    "tiff": _Reader(tiff.read_header, tiff.open_image),
    "heic": _Reader(heif.read_header, heif.open_heic),
    "avif": _Reader(heif.read_header, heif.open_avif),
}


def read_header(data: bytes, limits: Mapping[Format, Limit] = LIMITS, size: int = IMAGE_SIZE) -> Header:
    """Finds out what an encoded image is, before any decoding.

    Args:
        data: The encoded image.
        limits: How large it may be, by its format; a format that is not in it is switched off.
        size: Side of the square that it is decoded to: for a smaller one a JPEG is decoded in fewer pixels,
            which the header's `decoding_bytes` counts.

    Raises:
        ImageError: it is no image, broken, of a format that is not taken, or too large.
    """
    form = image_format(data)
    if form is None:
        raise _not_accepted(data, limits)
    limit = limits.get(form)
    if limit is None:
        raise ImageError("unsupported_format", f"{NAMES[form]} is switched off here; send {_listed(limits)}.")
    if len(data) > limit.bytes:
        raise ImageError(
            "too_many_bytes",
            f"The {NAMES[form]} image has {len(data):,} bytes; send one of at most {limit.bytes:,}.",
        )
    try:
        header = jpeg.read_header(data, size) if form == "jpeg" else _READERS[form].header(data)
    except ImageError:
        raise
    except Exception as error:  # metadata are as hostile as pixels are
        raise _broken(form) from error
    if header.width * header.height > limit.pixels:
        raise ImageError(
            "too_many_pixels",
            f"The {NAMES[form]} image has {header.width} x {header.height} pixels; "
            f"send one of at most {limit.pixels:,}.",
        )
    return header


def decode_image(
    data: bytes,
    header: Header | None = None,
    *,
    limits: Mapping[Format, Limit] = LIMITS,
    size: int = IMAGE_SIZE,
    fit: Fit = "stretch",
) -> NDArray[np.uint8]:
    """Decodes one image.

    Args:
        data: The encoded image.
        header: What `read_header` has found out about it, where that was asked before.
        limits: How large it may be, by its format.
        size: Side of the square, one of `model.contract.SIZES`.
        fit: How the picture becomes a square; see `model.images.fit.frame`.

    Returns:
        RGB pixels, `[size, size, 3]`, contiguous.

    Raises:
        ImageError: it is no image, broken, of a format that is not taken, or too large.
    """
    if header is None:
        header = read_header(data, limits, size)
    return decode_squares(data, header, [(size, fit)])[0]


def decode_squares(
    data: bytes, header: Header, squares: Sequence[tuple[int, Fit]]
) -> list[NDArray[np.uint8]]:
    """Decodes one image to several squares, each as `decode_image` makes it, in one go where that can be.

    Args:
        data: The encoded image.
        header: What `read_header` has found out about it.
        squares: Size and fit of each.

    Returns:
        RGB pixels of each, `[size, size, 3]`, contiguous.

    Raises:
        ImageError: it is broken or cut short, or there is too little memory for it.
    """
    try:
        return _decode(data, header, squares)
    except ImageError:
        raise
    except MemoryError:
        raise ImageError(
            "too_many_pixels", "The image needs more memory than there is; send a smaller one."
        ) from None
    except (
        Exception
    ) as error:  # Pillow raises a dozen kinds for broken files, from SyntaxError to struct.error
        raise _broken(header.format) from error


def is_cheap(data: bytes, header: Header, size: int = IMAGE_SIZE) -> bool:
    """Tells whether decoding takes well under a millisecond, so that no thread is worth its change-over."""
    return (
        len(data) <= _CHEAP_BYTES
        and header.width * header.height + _MADE * (size * size - _DEFAULT_PIXELS) <= _CHEAP_PIXELS
        and header.format not in _NEVER_CHEAP
        and (header.profile is None or colour.is_known(header.profile))
    )


def _broken(form: Format) -> ImageError:
    return ImageError("broken_image", f"The {NAMES[form]} image is broken or cut short; send the whole file.")


def _listed(limits: Mapping[Format, Limit]) -> str:
    names = [name for form, name in NAMES.items() if form in limits]
    return " or ".join(filter(None, (", ".join(names[:-1]), names[-1])))


def _not_accepted(data: bytes, limits: Mapping[Format, Limit]) -> ImageError:
    if not data:
        return ImageError("not_an_image", f"The image is empty; send a {_listed(limits)} file.")
    if other := other_image_format(data):
        return ImageError("unsupported_format", f"{other} images are not accepted; send {_listed(limits)}.")
    return ImageError("not_an_image", f"This is not an image; send a {_listed(limits)} file.")


def _decode(data: bytes, header: Header, squares: Sequence[tuple[int, Fit]]) -> list[NDArray[np.uint8]]:
    plain = jpeg.plain_pixels(data, header) if header.plain else None
    image, scale, found = None, -1, []
    for size, fit in squares:
        if plain is not None:
            if plain.shape[:2] == (size, size):
                found.append(turn(plain, header.orientation))
                continue
            wanted = 0
        else:
            # A large JPEG is decoded at a fraction of its size, which is another one for a larger square.
            wanted = jpeg.smallest_side(header, size) if header.format == "jpeg" else 0
        if image is None or scale != wanted:
            scale = wanted
            image = _opened(data, header, size) if plain is None else Image.fromarray(plain)
        found.append(_square(image, header, size, fit))
    return found


def _opened(data: bytes, header: Header, size: int) -> Image.Image:
    reader = _READERS[header.format]
    image = jpeg.open_image(data, header, size) if header.format == "jpeg" else reader.open(data, header)
    image.load()
    return _from_16_bit(image) if image.mode.startswith("I;16") else image


def _square(image: Image.Image, header: Header, size: int, fit: Fit) -> NDArray[np.uint8]:
    """The square of a picture that is decoded and not yet turned, which stays as it is."""
    clear = image.mode in {"LA", "PA", "RGBA"} or "transparency" in image.info
    # Colours are averaged as they are stored, and brought to sRGB when there are few left of them.
    mode = _MODES.get(image.mode, "RGB")
    correct = colour.to_srgb(header.profile, mode) if header.profile is not None else None
    within = frame(*image.size, size, fit, header.orientation)
    if clear:
        pixels = _over_white(shrink(image, PREMULTIPLIED, within), mode, correct)
    elif correct is None:
        pixels = np.array(shrink(image, "RGB", within))
    else:
        pixels = np.array(correct(shrink(image, mode, within)))
    return turn(border(pixels, within, size), header.orientation)


def _over_white(image: Image.Image, mode: str, correct: colour.ToSrgb | None) -> NDArray[np.uint8]:
    """Lays a small picture with premultiplied alpha over white."""
    if correct is not None:
        plain = image.convert("RGBA")
        alpha = plain.getchannel("A")
        # Grey has the same three channels.
        coloured = correct(plain.getchannel("R") if mode == "L" else plain.convert("RGB"))
        coloured.putalpha(alpha)
        image = coloured.convert(PREMULTIPLIED)
    squeezed = np.array(image).astype(np.int16)
    pixels: NDArray[np.uint8] = np.minimum(squeezed[..., :3] + 255 - squeezed[..., 3:], 255).astype(np.uint8)
    return pixels


def _from_16_bit(image: Image.Image) -> Image.Image:
    """Keeps the high byte of grey samples, as Pillow does for colour; what was transparent stays so."""
    samples = np.asarray(image)
    grey = Image.fromarray((samples >> 8).astype(np.uint8))
    clear = image.info.get("transparency")
    if clear is not None:
        grey = Image.merge("LA", (grey, Image.fromarray(np.where(samples == clear, 0, 255).astype(np.uint8))))
    return grey
