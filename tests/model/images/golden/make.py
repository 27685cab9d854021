"""Makes the golden images, and pins their pixels: `python tests/model/images/golden/make.py`.

Images that are there stay as they are, since encoders change and files people have do not; what they
decode to is written anew: by default to pixels.npz, some of them in every size and fit to fits.npz. Do that
only together with a new DECODER_VERSION.
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
sys.path[:0] = [str(HERE.parents[3])]
sys.path.append(str(HERE.parents[2]))

from container_files import (  # noqa: E402 - after the path
    avif,
    cropped_file,
    deep_heic,
    fine,
    grid,
    heic,
    libtiff,
    tiffs,
    turned_file,
    with_exif,
)
from icc import cmyk_profile, from_srgb, grey_profile, rgb_profile  # noqa: E402
from picture_files import (  # noqa: E402
    MASKS,
    bmp,
    chunk,
    motion_photograph,
    part_of_a_screen,
    with_chunks,
    with_profile,
)

from model.contract import FITS, SIZES, Fit  # noqa: E402
from model.images.decode import decode_image  # noqa: E402

WIDTH, HEIGHT = 48, 36
FITTED = (
    *("rgb-1.jpeg", "rgb-6.jpeg", "rgba-1.png", "rgba-8.png", "palette-clear-7.png", "narrow.png"),
    *("scaled-8.jpg", "display-p3-scaled.jpg", "display-p3-clear.png", "16-bit-3.png", "tiff-5.tiff"),
    *("avif-6.avif", "part.gif"),
)
"""What is pinned in every fit, at 32 pixels and at another size each."""
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
    yield from profiled()
    yield from odd_files()
    yield from heics_and_avifs()
    yield from other_tiffs()


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


def saved(picture: Image.Image, form: str, **options: object) -> bytes:
    buffer = io.BytesIO()
    picture.save(buffer, form, **options)
    return buffer.getvalue()


def multiplied(inks: NDArray[np.float64]) -> NDArray[np.float64]:
    """How inks look on paper, `[N, 4]` to `[N, 3]`, more or less as a press prints them: cyan is not pure."""
    colours = np.array([[0.0, 0.62, 0.9], [0.9, 0.0, 0.5], [1.0, 0.94, 0.0], [0.1, 0.1, 0.1]])
    return np.prod(1 - inks[..., None] * (1 - colours), axis=-2)


def profiled() -> Iterator[tuple[str, bytes]]:
    """The picture as other spaces store it, each with its profile, and profiles that count for nothing."""
    p3 = Image.fromarray(from_srgb("display-p3", scene()))
    profile = rgb_profile("display-p3")
    plain = saved(p3, "jpeg", quality=95, subsampling=0)
    yield "display-p3.jpg", with_profile(plain, profile)
    yield "display-p3-in-pieces.jpg", with_profile(plain, profile, 3, backwards=True)
    yield "display-p3.png", saved(p3, "png", icc_profile=profile)
    yield "display-p3.webp", saved(p3, "webp", lossless=True, icc_profile=profile)
    yield "display-p3-palette.png", saved(p3.quantize(64), "png", icc_profile=profile)
    clear = p3.copy()
    clear.putalpha(Image.fromarray(alpha()))
    yield "display-p3-clear.png", saved(clear, "png", icc_profile=profile)
    deep = with_chunks(png(np.asarray(p3).astype(">u2") * 257, 16, 2), iccp(profile))
    yield "display-p3-16-bit.png", deep
    large = Image.fromarray(from_srgb("display-p3", scene(700, 520)))
    yield "display-p3-scaled.jpg", saved(large, "jpeg", quality=80, icc_profile=profile)
    for space in ("adobe-rgb", "prophoto"):
        stored = Image.fromarray(from_srgb(space, scene()))
        yield f"{space}.png", saved(stored, "png", icc_profile=rgb_profile(space))
    grey = Image.fromarray(scene()).convert("L")
    yield "grey-gamma.png", saved(grey, "png", icc_profile=grey_profile(1.8))
    yield "grey-gamma.jpg", saved(grey, "jpeg", quality=95, icc_profile=grey_profile(1.8))
    inks = Image.fromarray(scene()).convert("CMYK")
    yield "press.jpg", saved(inks, "jpeg", quality=95, icc_profile=cmyk_profile(multiplied))
    own = Image.fromarray(scene())
    yield "srgb.png", saved(own, "png", icc_profile=rgb_profile("srgb"))
    yield "broken-profile.png", saved(own, "png", icc_profile=profile[:150])
    yield "grey-profile-in-colour.png", saved(own, "png", icc_profile=grey_profile(1.8))
    yield "grey-profile-in-palette.png", saved(own.quantize(24), "png", icc_profile=grey_profile(1.8))


def iccp(profile: bytes) -> bytes:
    """Writes a PNG's chunk with a profile."""
    return chunk(b"iCCP", b"a profile\0\0" + zlib.compress(profile))


def odd_files() -> Iterator[tuple[str, bytes]]:
    """What telephones, cameras, clipboards and converters write, and Pillow alone does not read as it is."""
    image = Image.fromarray(scene())
    second = Image.fromarray(255 - scene())
    baseline = saved(image, "jpeg", quality=85)
    yield "motion.jpg", motion_photograph(baseline, 40_000)
    yield "motion-progressive.jpg", motion_photograph(saved(image, "jpeg", progressive=True), 40_000)
    yield "two-pictures.jpg", saved(image, "mpo", save_all=True, append_images=[second], quality=85)
    script = HERE / "scans.txt"
    script.write_text("0; 1; 2;\n")
    command = ["jpegtran", "-scans", str(script)]
    yield (
        "sequential-scans.jpg",
        subprocess.run(command, input=baseline, capture_output=True, check=True).stdout,
    )
    script.unlink()

    whole = saved(image, "png")
    text = b"a key\0\0" + zlib.compress(bytes(3_000_000), 9)
    yield "long-text.png", with_chunks(whole, chunk(b"zTXt", text), chunk(b"tEXt", b"no separator"))
    broken = chunk(b"iCCP", b"a profile\0\0" + b"no zlib")[:-4] + b"\0\0\0\0"
    yield "broken-chunks.png", with_chunks(whole, broken, chunk(b"gAMA", b""), chunk(b"abCd", b"unknown"))

    grey = scene()[..., 0]
    for depth, a_byte in ((2, 4), (4, 2)):
        stored = (grey >> (8 - depth)).astype(np.uint8)
        packed = sum(stored[:, at::a_byte] << (8 - depth * (at + 1)) for at in range(a_byte))
        file = png(packed[..., None], depth, 0, struct.pack(">H", int(stored[18, 20])), width=WIDTH)
        yield f"{depth}-bit-clear-grey.png", file
    fine = fine_samples()
    yield "16-bit-clear-rgb.png", png(fine, 16, 2, fine[2, 2].tobytes())

    rgba = np.concatenate([scene(), alpha()[..., None]], axis=-1)
    for kind in MASKS:
        yield f"bit-fields-{kind}.bmp", bmp(rgba, kind)
    yield "bit-fields-from-top.bmp", bmp(rgba, "4444", header=56, from_top=True)
    yield "bit-fields-behind.bmp", bmp(rgba, "8888", header=40, compression=6)
    unused = rgba.copy()
    unused[..., 3] = 0
    yield "bit-fields-no-alpha.bmp", bmp(unused, "8888")

    frame = image.resize((24, 18)).quantize(16)
    yield "part.gif", part_of_a_screen(saved(frame, "gif"), (WIDTH, HEIGHT), (12, 9))
    frame.info["transparency"] = frame.getpixel((12, 2))
    yield "part-clear.gif", part_of_a_screen(saved(frame, "gif"), (WIDTH, HEIGHT), (24, 18))


def heics_and_avifs() -> Iterator[tuple[str, bytes]]:
    """The picture in every orientation, in grey, of more bits, clear, of tiles, cropped, with a profile."""
    for orientation in range(1, 9):
        stored = Image.fromarray(turned(scene(), orientation))
        yield f"heic-{orientation}.heic", turned_file(heic(stored), orientation)
        yield f"avif-{orientation}.avif", turned_file(avif(stored), orientation)
    image = Image.fromarray(scene())
    clear = image.copy()
    clear.putalpha(Image.fromarray(alpha()))
    p3 = Image.fromarray(from_srgb("display-p3", scene()))
    profile = rgb_profile("display-p3")
    told = Image.Exif()
    told[0x0112] = 6
    around = np.pad(scene(), ((6, 22), (8, 8), (0, 0)))
    for form, encode in (("heic", heic), ("avif", avif)):
        yield f"grey.{form}", encode(image.convert("L"))
        yield f"clear.{form}", encode(clear)
        yield f"display-p3.{form}", encode(p3, icc_profile=profile)
        yield (
            f"sampling-420.{form}",
            encode(image, **({"chroma": 420} if form == "heic" else {"subsampling": "4:2:0"})),
        )
        yield f"cropped.{form}", cropped_file(encode(Image.fromarray(around)), WIDTH, HEIGHT, 0, -16)
        yield f"tiles.{form}", grid(encode(Image.fromarray(scene(64, 64))), 2, 2, 120, 100)
        # EXIF's orientation counts for nothing here: the container's own is what turns a picture.
        yield f"exif-says-turned.{form}", with_exif(encode(image), told.tobytes())
    yield "10-bit-rgb.heic", deep_heic(fine(scene()))
    yield "10-bit-grey.heic", deep_heic(fine(scene()[..., 0]))


def other_tiffs() -> Iterator[tuple[str, bytes]]:
    """The picture in every orientation and in every kind of TIFF, with a second page, with a profile."""
    for orientation in range(1, 9):
        stored = Image.fromarray(turned(scene(), orientation))
        yield f"tiff-{orientation}.tiff", libtiff(stored, compression="tiff_lzw", tiffinfo={274: orientation})
    kinds = tiffs(scene(), alpha())
    for name in (
        "rgb-8-little-classic-strips-deflate",
        "rgb-16-endian-big-tiles-deflate",
        "planes-16-little",
        "grey-16-endian",
        "white-is-zero-16-little",
        "clear-16",
        *(name for name in kinds if name.startswith("libtiff")),
    ):
        yield f"{name}.tif", kinds[name]
    image, second = Image.fromarray(scene()), Image.fromarray(255 - scene())
    yield "pages.tif", libtiff(image, save_all=True, append_images=[second])
    p3 = Image.fromarray(from_srgb("display-p3", scene()))
    yield "display-p3.tif", libtiff(p3, icc_profile=rgb_profile("display-p3"))


def png(
    samples: NDArray[np.generic],
    depth: int,
    colour: int,
    transparent: bytes | None = None,
    width: int | None = None,
) -> bytes:
    """Writes a PNG by hand; its width is told where a byte holds several samples."""
    rows = b"".join(b"\0" + row.tobytes() for row in samples)
    size = width or samples.shape[1], samples.shape[0]
    chunks = [(b"IHDR", struct.pack(">IIBBBBB", *size, depth, colour, 0, 0, 0))]
    if transparent is not None:
        chunks.append((b"tRNS", transparent))
    chunks += [(b"IDAT", zlib.compress(rows, 9)), (b"IEND", b"")]
    return b"\x89PNG\r\n\x1a\n" + b"".join(chunk(kind, data) for kind, data in chunks)


def fitted() -> Iterator[tuple[str, int, Fit]]:
    """Which image is pinned at which size and in which fit."""
    for number, name in enumerate(FITTED):
        for fit in FITS:
            yield name, SIZES[0], fit
            yield name, SIZES[1 + number % (len(SIZES) - 1)], fit


def main() -> None:
    for name, content in (*with_orientation(), *others()):
        if not (HERE / name).exists():
            (HERE / name).write_bytes(content)
    pin()


def pin() -> None:
    """Writes what the images that are there decode to."""
    images = sorted(path for path in HERE.iterdir() if path.suffix not in {".py", ".npz"} and path.is_file())
    np.savez_compressed(
        HERE / "pixels.npz", **{path.name: decode_image(path.read_bytes()) for path in images}
    )
    pinned = {
        f"{name} {size} {fit}": decode_image((HERE / name).read_bytes(), size=size, fit=fit)
        for name, size, fit in fitted()
    }
    np.savez_compressed(HERE / "fits.npz", **pinned)


if __name__ == "__main__":
    main()
