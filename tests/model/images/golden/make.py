"""Makes the golden images, and pins their pixels: `python tests/model/images/golden/make.py`.

Images that are there stay as they are, since encoders change and files people have do not; what they
decode to is written anew to pixels.npz. Do that only together with a new DECODER_VERSION.
"""

import io
import struct
import subprocess
import sys
import zlib
from collections.abc import Iterator
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from PIL import Image

HERE = Path(__file__).parent
sys.path.insert(0, str(HERE.parents[2]))

from model.images.decode import decode_image  # noqa: E402 - after the path

WIDTH, HEIGHT = 48, 36
MODES = ("grey", "grey-alpha", "palette", "palette-clear", "rgba", "cmyk", "16-bit", "1-bit", "rgb", "webp")


def scene(width: int = WIDTH, height: int = HEIGHT) -> NDArray[np.uint8]:
    """A picture that looks different from every side: ramps, a bright corner, a dark bar."""
    y, x = np.mgrid[0:height, 0:width] / np.array([height, width]).reshape(2, 1, 1)
    picture = np.stack([x * 255, y * 255, (1 - x) * (1 - y) * 255], axis=-1)
    picture[: height // 4, : width // 4] = (255, 255, 0)
    picture[height // 2 : height // 2 + 3, width // 3 :] = (20, 0, 60)
    return picture.clip(0, 255).astype(np.uint8)


def alpha(width: int = WIDTH, height: int = HEIGHT) -> NDArray[np.uint8]:
    """Opaque on the left, clear in the lower right."""
    y, x = np.mgrid[0:height, 0:width]
    return (255 - np.clip((x / width + y / height - 0.9) * 255, 0, 255)).astype(np.uint8)


def turned(picture: NDArray[np.uint8], orientation: int) -> NDArray[np.uint8]:
    """Stores a picture so that a viewer that follows the EXIF orientation shows it upright again."""
    transpose = Image.Transpose
    inverse = {
        2: transpose.FLIP_LEFT_RIGHT,
        3: transpose.ROTATE_180,
        4: transpose.FLIP_TOP_BOTTOM,
        5: transpose.TRANSPOSE,
        6: transpose.ROTATE_90,
        7: transpose.TRANSVERSE,
        8: transpose.ROTATE_270,
    }
    image = Image.fromarray(picture)
    return np.asarray(image.transpose(inverse[orientation]) if orientation in inverse else image)


def in_mode(mode: str, rgb: NDArray[np.uint8], clear: NDArray[np.uint8]) -> tuple[Image.Image, str]:
    """Returns the picture in a mode, and the format that holds it."""
    image = Image.fromarray(rgb)
    grey = image.convert("L")
    match mode:
        case "grey":
            return grey, "jpeg"
        case "grey-alpha":
            return Image.merge("LA", (grey, Image.fromarray(clear))), "png"
        case "palette":
            return image.quantize(24, dither=Image.Dither.NONE), "png"
        case "palette-clear":
            made = image.quantize(24, dither=Image.Dither.NONE)
            made.info["transparency"] = bytes([0, 128, *[255] * 22])
            return made, "png"
        case "rgba":
            image.putalpha(Image.fromarray(clear))
            return image, "png"
        case "cmyk":
            return image.convert("CMYK"), "jpeg"
        case "16-bit":
            return Image.fromarray(np.asarray(grey).astype(np.uint16) * 257), "png"
        case "1-bit":
            return grey.convert("1", dither=Image.Dither.NONE), "png"
        case "webp":
            image.putalpha(Image.fromarray(clear))
            return image, "webp"
    return image, "jpeg"


def with_orientation() -> Iterator[tuple[str, bytes]]:
    """Every mode in every orientation."""
    for mode in MODES:
        for orientation in range(1, 9):
            image, form = in_mode(mode, turned(scene(), orientation), turned(alpha(), orientation))
            exif = Image.Exif()
            exif[0x0112] = orientation
            buffer = io.BytesIO()
            options = {"lossless": True} if form == "webp" else {"quality": 95} if form == "jpeg" else {}
            if mode == "palette-clear":
                options["transparency"] = image.info["transparency"]
            image.save(buffer, form, exif=exif, **options)
            yield f"{mode}-{orientation}.{form}", buffer.getvalue()


def others() -> Iterator[tuple[str, bytes]]:
    """What has no orientation, or is stored in a way of its own."""
    image = Image.fromarray(scene())
    clear = image.copy()
    clear.putalpha(Image.fromarray(alpha()))
    second = Image.fromarray(255 - scene())

    def saved(picture: Image.Image, form: str, **options: object) -> bytes:
        buffer = io.BytesIO()
        picture.save(buffer, form, **options)
        return buffer.getvalue()

    yield "frames.gif", saved(image, "gif", save_all=True, append_images=[second], duration=100)
    yield "clear.gif", saved(clear, "gif")
    yield "interlaced.gif", saved(image.quantize(16), "gif", interlace=1)
    yield "frames.webp", saved(image, "webp", save_all=True, append_images=[second], lossless=True)
    yield "lossy.webp", saved(image, "webp", quality=80)
    yield "24-bit.bmp", saved(image, "bmp")
    yield "32-bit.bmp", saved(clear, "bmp")
    yield "palette.bmp", saved(image.quantize(16), "bmp")
    yield "1-bit.bmp", saved(image.convert("1", dither=Image.Dither.NONE), "bmp")
    yield "square.png", saved(image.resize((32, 32)), "png")
    yield "square.jpg", saved(image.resize((32, 32)), "jpeg", quality=90)
    yield "one-pixel.png", saved(image.crop((0, 0, 1, 1)), "png")
    yield "narrow.png", saved(Image.fromarray(scene(3, 500)), "png")
    for name, sampling in (("444", 0), ("422", 1), ("420", 2)):
        yield f"sampling-{name}.jpg", saved(image, "jpeg", quality=85, subsampling=sampling)
    yield "progressive.jpg", saved(image, "jpeg", quality=85, progressive=True)
    plain = saved(image, "jpeg", quality=85)
    for name, option in (("arithmetic", "-arithmetic"), ("restarts", "-restart")):
        arguments = [option, "1"] if option == "-restart" else [option]
        yield (
            f"{name}.jpg",
            subprocess.run(["jpegtran", *arguments], input=plain, capture_output=True, check=True).stdout,
        )
    # Large enough to be decoded at 1/2 and at 1/8 of the size, and to be converted in bands.
    yield "scaled-2.jpg", saved(Image.fromarray(scene(700, 520)), "jpeg", quality=60)
    yield "scaled-8.jpg", saved(Image.fromarray(scene(2400, 2100)), "jpeg", quality=30)
    yield (
        "large-clear.png",
        saved(
            Image.merge(
                "LA", (Image.fromarray(scene(2000, 1100)[..., 0]), Image.fromarray(alpha(2000, 1100)))
            ),
            "png",
            optimize=True,
        ),
    )
    yield from photographs()
    yield from deep_pngs()


def photographs() -> Iterator[tuple[str, bytes]]:
    """Twelve megapixels, as a telephone makes them: the JPEG lies on its side."""
    lying = Image.Exif()
    lying[0x0112] = 6
    upright = scene(4000, 3000)
    for form, picture, options in (
        ("jpg", Image.fromarray(turned(upright, 6)), {"quality": 10, "progressive": True, "exif": lying}),
        ("webp", Image.fromarray(upright), {"quality": 10}),
        ("png", Image.fromarray(upright), {"optimize": True}),
    ):
        buffer = io.BytesIO()
        picture.save(buffer, {"jpg": "jpeg"}.get(form, form), **options)
        yield f"12-megapixels.{form}", buffer.getvalue()


def fine_samples() -> NDArray[np.generic]:
    """The picture in 16 bits whose low bytes are not the high ones: they run the other way."""
    high = scene().astype(">u2")
    return (high << 8 | 255 - high).astype(">u2")


def deep_pngs() -> Iterator[tuple[str, bytes]]:
    """PNGs of 16 bits a sample and of a transparent colour, which Pillow does not write."""
    rgb, clear = scene().astype(">u2") * 257, alpha()[..., None].astype(">u2") * 257
    grey = rgb[..., :1]
    yield "16-bit-rgb.png", png(rgb, 16, 2)
    yield "16-bit-rgba.png", png(np.concatenate([rgb, clear], axis=-1), 16, 6)
    yield "16-bit-grey-alpha.png", png(np.concatenate([grey, clear], axis=-1), 16, 4)
    yield "16-bit-clear-grey.png", png(grey, 16, 0, grey[18, 2].tobytes())
    fine = fine_samples()
    yield "16-bit-fine-grey.png", png(fine[..., :1], 16, 0)
    yield "16-bit-fine-rgb.png", png(fine, 16, 2)
    yield (
        "8-bit-clear-grey.png",
        png(grey.astype(np.uint8), 8, 0, struct.pack(">H", int(grey[18, 2, 0] & 255))),
    )
    yield "8-bit-clear-rgb.png", png(scene(), 8, 2, struct.pack(">3H", 255, 255, 0))


def png(samples: NDArray[np.generic], depth: int, colour: int, transparent: bytes | None = None) -> bytes:
    """Writes a PNG by hand."""
    rows = b"".join(b"\0" + row.tobytes() for row in samples)
    chunks = [(b"IHDR", struct.pack(">IIBBBBB", samples.shape[1], samples.shape[0], depth, colour, 0, 0, 0))]
    if transparent is not None:
        chunks.append((b"tRNS", transparent))
    chunks += [(b"IDAT", zlib.compress(rows, 9)), (b"IEND", b"")]
    return b"\x89PNG\r\n\x1a\n" + b"".join(
        struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))
        for kind, data in chunks
    )


def main() -> None:
    for name, content in (*with_orientation(), *others()):
        if not (HERE / name).exists():
            (HERE / name).write_bytes(content)
    images = sorted(path for path in HERE.iterdir() if path.suffix not in {".py", ".npz"} and path.is_file())
    np.savez_compressed(
        HERE / "pixels.npz", **{path.name: decode_image(path.read_bytes()) for path in images}
    )


if __name__ == "__main__":
    main()
