"""From an encoded image to the network's input; the one function that evaluation and serving share.

JPEG, PNG, WebP, GIF (its first frame) and BMP become 32x32 RGB: transparency over white, EXIF orientation
applied, the whole picture squeezed into the square with antialiasing. 16-bit samples keep their high byte;
colour profiles are left alone. Golden images pin what comes out: when one changes, so does `DECODER_VERSION`.
"""

import io
from collections.abc import Callable
from typing import Final

import numpy as np
import simplejpeg
from numpy.typing import NDArray
from PIL import BmpImagePlugin, GifImagePlugin, Image, JpegImagePlugin, PngImagePlugin, WebPImagePlugin

from model.contract import IMAGE_SIZE
from model.images.errors import ImageError
from model.images.header import Format, image_format, image_size, other_image_format, parts

DECODER_VERSION: Final = "1"
"""Rises whenever any image may decode to other pixels; stands in the manifest and in `/info`."""

MAX_PIXELS: Final = 25_000_000
MAX_BYTES: Final = 20_000_000
"""Limits for one encoded image, unless the caller sets others."""

_SCALED_FROM: Final = 512
_SCANS: Final = 100
_PARTS: Final = 1000
_BYTES_A_PART: Final = 512
_CHEAP_BYTES: Final = 16_384
_CHEAP_PIXELS: Final = 65_536

# Pillow refuses twice this. It asks only where the first frame of a GIF outgrows the size in its header, then
# fills a background of that size before anyone can ask how large the picture is.
Image.MAX_IMAGE_PIXELS = MAX_PIXELS // 2

# The alpha channel is multiplied in before pixels are averaged, or the colour of transparent ones would leak.
_PREMULTIPLIED: Final = "RGBa"
_ORIENTATION: Final = 0x0112
_TURNS: Final[dict[int, Callable[[NDArray[np.uint8]], NDArray[np.uint8]]]] = {
    2: lambda image: image[:, ::-1],
    3: lambda image: image[::-1, ::-1],
    4: lambda image: image[::-1],
    5: lambda image: image.transpose(1, 0, 2),
    6: lambda image: np.rot90(image, -1),
    7: lambda image: image[::-1, ::-1].transpose(1, 0, 2),
    8: np.rot90,
}

_PLUGINS: Final[dict[Format, Callable[[io.BytesIO], Image.Image]]] = {
    "jpeg": JpegImagePlugin.JpegImageFile,
    "png": PngImagePlugin.PngImageFile,
    "webp": WebPImagePlugin.WebPImageFile,
    "gif": GifImagePlugin.GifImageFile,
    "bmp": BmpImagePlugin.BmpImageFile,
}


def decode_image(
    data: bytes, *, max_pixels: int = MAX_PIXELS, max_bytes: int = MAX_BYTES
) -> NDArray[np.uint8]:
    """Decodes one image.

    Args:
        data: The encoded image.
        max_pixels: Width times height it may have; more is refused from the header, before any decoding.
        max_bytes: Length it may have.

    Returns:
        RGB pixels, `[32, 32, 3]`, contiguous.

    Raises:
        ImageError: it is no image, broken, of another format, or too large.
    """
    if len(data) > max_bytes:
        raise ImageError(
            "too_many_bytes", f"The image has {len(data):,} bytes; send one of at most {max_bytes:,}."
        )
    form = image_format(data)
    if form is None:
        raise _not_accepted(data)
    if form == "jpeg" and (pixels := _plain_jpeg(data, max_pixels)) is not None:
        return pixels
    _check_size(image_size(data), max_pixels)
    _check_parts(form, data)
    try:
        return _decode(_PLUGINS[form](io.BytesIO(data)), max_pixels)
    except ImageError:
        raise
    except Image.DecompressionBombError:
        raise ImageError(
            "too_many_pixels",
            f"A frame of the image is larger than {max_pixels:,} pixels; send a smaller one.",
        ) from None
    except MemoryError:
        raise ImageError(
            "too_many_pixels", "The image needs more memory than there is; send a smaller one."
        ) from None
    except (
        Exception
    ) as error:  # Pillow raises a dozen kinds for broken files, from SyntaxError to struct.error
        raise ImageError(
            "broken_image", f"The {form.upper()} image is broken or cut short; send the whole file."
        ) from error


def is_cheap(data: bytes) -> bool:
    """Tells whether decoding takes well under a millisecond, so that no thread is worth its change-over."""
    if len(data) > _CHEAP_BYTES:
        return False
    size = image_size(data)
    return size is None or size[0] * size[1] <= _CHEAP_PIXELS


def _not_accepted(data: bytes) -> ImageError:
    if not data:
        return ImageError("not_an_image", "The image is empty; send a JPEG, PNG, WebP, GIF or BMP file.")
    if other := other_image_format(data):
        return ImageError(
            "unsupported_format", f"{other} images are not accepted; send JPEG, PNG, WebP, GIF or BMP."
        )
    return ImageError("not_an_image", "This is not an image; send a JPEG, PNG, WebP, GIF or BMP file.")


def _check_size(size: tuple[int, int] | None, max_pixels: int) -> None:
    if size and size[0] * size[1] > max_pixels:
        raise ImageError(
            "too_many_pixels",
            f"The image has {size[0]} x {size[1]} pixels; send one of at most {max_pixels:,}.",
        )


def _check_parts(form: Format, data: bytes) -> None:
    """Refuses a file of so many parts that decoding it costs far more than its size says.

    These are tiny chunks or blocks, and scans of a progressive JPEG: each is a pass over all pixels (first
    issue of https://libjpeg-turbo.org/pmwiki/uploads/About/TwoIssueswiththeJPEGStandard.pdf).
    """
    limit = _PARTS + len(data) // _BYTES_A_PART
    if (form == "jpeg" and data.count(b"\xff\xda") > _SCANS) or any(
        number > limit for number, _ in enumerate(parts(data))
    ):
        raise ImageError(
            "unsupported_format", f"The {form.upper()} has too many parts; save it again with usual settings."
        )


def _plain_jpeg(data: bytes, max_pixels: int) -> NDArray[np.uint8] | None:
    """Decodes the common kind of small JPEG four times as fast as Pillow does, or leaves it to Pillow.

    Both run libjpeg-turbo's accurate DCT and smooth upsampling, so for these files the pixels are the same.
    Taken are whole, warning-free files without orientation, too small for Pillow to be asked to scale them.
    """
    try:
        height, width, colours, subsampling = simplejpeg.decode_jpeg_header(data)
        if (
            min(width, height) >= _SCALED_FROM
            or width * height > max_pixels
            or colours != "YCbCr"
            or subsampling not in {"444", "422", "420"}
            or b"Exif\0" in data
            or b"ns.adobe.com/xap" in data
            or data.count(b"\xff\xda") > _SCANS
        ):
            return None
        pixels: NDArray[np.uint8] = simplejpeg.decode_jpeg(data)
    except ValueError:
        return None
    if (height, width) == (IMAGE_SIZE, IMAGE_SIZE):
        return pixels
    return np.array(_shrink(Image.fromarray(pixels), "RGB"))


def _decode(image: Image.Image, max_pixels: int) -> NDArray[np.uint8]:
    _check_size(image.size, max_pixels)  # a GIF's frame may be larger than its header says
    # Only JPEG follows: it decodes to 1/2, 1/4 or 1/8 of the size for a fraction of time and memory.
    image.draft("RGB", (_SCALED_FROM // 2, _SCALED_FROM // 2))
    image.load()
    orientation = _orientation(image)
    if image.mode.startswith("I;16"):
        image = _from_16_bit(image)
    if image.mode in {"LA", "PA", "RGBA"} or "transparency" in image.info:
        squeezed = np.array(_shrink(image, _PREMULTIPLIED)).astype(np.int16)
        pixels = np.minimum(squeezed[..., :3] + 255 - squeezed[..., 3:], 255).astype(np.uint8)
    else:
        pixels = np.array(_shrink(image, "RGB"))
    return np.ascontiguousarray(_TURNS[orientation](pixels)) if orientation in _TURNS else pixels


def _orientation(image: Image.Image) -> int:
    try:
        return int(image.getexif().get(_ORIENTATION, 1))
    except Exception:  # a picture with broken metadata is still a picture; viewers show it upright
        return 1


def _from_16_bit(image: Image.Image) -> Image.Image:
    """Keeps the high byte of grey samples, as Pillow does for colour; what was transparent stays so."""
    samples = np.asarray(image)
    grey = Image.fromarray((samples >> 8).astype(np.uint8))
    clear = image.info.get("transparency")
    if clear is not None:
        grey = Image.merge("LA", (grey, Image.fromarray(np.where(samples == clear, 0, 255).astype(np.uint8))))
    return grey


def _shrink(image: Image.Image, mode: str) -> Image.Image:
    """Converts to a mode and squeezes to 32x32, as Pillow's `resize` with `reducing_gap=3` does.

    A large picture is converted and averaged in bands of rows, so that the decoder's own buffer stays the
    only large one.
    """
    width, height = image.size
    across, down = (max(1, int(side / IMAGE_SIZE / 3)) for side in image.size)
    if (across, down) == (1, 1):
        return _convert(image, mode).resize((IMAGE_SIZE, IMAGE_SIZE), Image.Resampling.BICUBIC)
    small = Image.new(mode, (-(-width // across), -(-height // down)))
    rows = down * max(1, 1_000_000 // (width * down))
    for top in range(0, height, rows):
        band = image.crop((0, top, width, min(top + rows, height)))
        small.paste(_convert(band, mode).reduce((across, down)), (0, top // down))
    return small.resize(
        (IMAGE_SIZE, IMAGE_SIZE), Image.Resampling.BICUBIC, box=(0, 0, width / across, height / down)
    )


def _convert(image: Image.Image, mode: str) -> Image.Image:
    if mode == _PREMULTIPLIED:
        image = image.convert("RGBA")
    return image.convert(mode)
