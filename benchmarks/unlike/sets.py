"""Pictures that are unlike anything learned: those the score was chosen on, and those it is reported on.

Nobody may choose by what is reported, so the two share no picture and no way of making one. All are uint8
`[N, 32, 32, 3]`, the same in every call.
"""

import io
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Final

import numpy as np
from matplotlib import font_manager
from numpy.typing import NDArray
from PIL import Image, ImageDraw, ImageFilter, ImageFont
from sklearn.datasets import load_digits  # type: ignore[import-untyped] # it has no types

from model.contract import CIFAR10_LABELS
from model.data.own.wishes import Wishes
from model.data.sources import load_dataset
from model.images.decode import decode_squares, read_header

Pixels = NDArray[np.uint8]
COUNT: Final = 1000
SIZE: Final = 32
_SCREEN: Final = (400, 300)
_PATTERN_HEAD: Final = 24  # bytes of GIMP's pattern header, seven numbers of four from there on


def decoded(data: bytes) -> Pixels:
    """A picture as the service would see it, `[32, 32, 3]`."""
    return decode_squares(data, read_header(data, size=SIZE), [(SIZE, "stretch")])[0]


def cifar10(folder: Path, kind: str, *, served: bool) -> Pixels:
    """CIFAR-10's pictures of the served five classes, or of the other five.

    Args:
        folder: Of the official batches.
        kind: `data_batch_1` to `data_batch_5`, or `test_batch`.
        served: Which of the two.
    """
    content = np.load(folder / kind, allow_pickle=True, encoding="bytes")
    labels = np.asarray(content[b"labels"])
    wanted = np.isin(labels, list(CIFAR10_LABELS)) == served
    rows = np.asarray(content[b"data"])[wanted].reshape(-1, 3, SIZE, SIZE)
    return np.ascontiguousarray(rows.transpose(0, 2, 3, 1))


def chosen_on() -> dict[str, Pixels]:
    """What the score was chosen on, beside the mirrored task's own five classes."""
    rng = np.random.default_rng(1)
    return {
        "smooth noise": _stack(_smooth_noise(rng)),
        "salt and pepper": _stack(_salt_and_pepper(rng)),
        "printed digits": _stack(_printed_digits(rng)),
        "charts": _stack(_charts(rng)),
        "slow gradients": _stack(_gradients(rng)),
        "gratings": _stack(_gratings(rng)),
    }


def reported(signs: Path | None, textures: Path | None) -> dict[str, Pixels]:
    """What the score is reported on, beside the five classes that are not served.

    Args:
        signs: An archive or folder of photographs of hands that show digits.
        textures: A folder of GIMP's patterns, as Debian's package gimp-data has them.
    """
    rng = np.random.default_rng(2)
    sets = {
        "uniform noise": rng.integers(0, 256, (COUNT, SIZE, SIZE, 3)).astype(np.uint8),
        "Gaussian noise": _stack(_gaussian_noise(rng)),
        "handwritten digits": _stack(_handwritten()),
        "screens of text": _stack(_text(rng)),
        "one colour": _stack(_one_colour(rng)),
    }
    if signs is not None:
        photographs = load_dataset(str(signs), allow_sample=False, wishes=Wishes(size=SIZE))
        sets["hands showing digits"] = photographs.train.images[:COUNT]
    if textures is not None:
        sets["textures"] = _stack(_patterns(textures, rng))
    return sets


def _stack(pictures: Iterator[Pixels]) -> Pixels:
    return np.stack(list(pictures))


def _repeated(
    rng: np.random.Generator, make: Callable[[np.random.Generator], Image.Image]
) -> Iterator[Pixels]:
    """As many pictures, each through a PNG and the product's own decoder."""
    for _ in range(COUNT):
        file = io.BytesIO()
        make(rng).save(file, "png", compress_level=1)
        yield decoded(file.getvalue())


def _colour(rng: np.random.Generator) -> tuple[int, int, int]:
    red, green, blue = rng.integers(0, 256, 3).tolist()
    return red, green, blue


def _font(rng: np.random.Generator, size: int) -> ImageFont.FreeTypeFont:
    family = ["DejaVu Sans", "DejaVu Serif", "DejaVu Sans Mono"][int(rng.integers(3))]
    return ImageFont.truetype(font_manager.findfont(family), size)


def _smooth_noise(rng: np.random.Generator) -> Iterator[Pixels]:
    def make(rng: np.random.Generator) -> Image.Image:
        noise = Image.fromarray(rng.integers(0, 256, (SIZE, SIZE, 3)).astype(np.uint8))
        blurred = np.asarray(noise.filter(ImageFilter.GaussianBlur(rng.uniform(1, 3))), np.float64)
        blurred = (blurred - blurred.mean()) / blurred.std() * rng.uniform(20, 70) + rng.uniform(60, 190)
        return Image.fromarray(blurred.clip(0, 255).astype(np.uint8))

    return _repeated(rng, make)


def _salt_and_pepper(rng: np.random.Generator) -> Iterator[Pixels]:
    def make(rng: np.random.Generator) -> Image.Image:
        picture = np.full((SIZE, SIZE, 3), _colour(rng), np.uint8)
        thrown = rng.random((SIZE, SIZE))
        share = rng.uniform(0.05, 0.4)
        picture[thrown < share / 2] = 0
        picture[thrown > 1 - share / 2] = 255
        return Image.fromarray(picture)

    return _repeated(rng, make)


def _printed_digits(rng: np.random.Generator) -> Iterator[Pixels]:
    def make(rng: np.random.Generator) -> Image.Image:
        picture = Image.new("RGB", (96, 96), _colour(rng))
        place = (int(rng.integers(5, 40)), int(rng.integers(-5, 20)))
        digits = str(rng.integers(0, 100))
        ImageDraw.Draw(picture).text(place, digits, _colour(rng), _font(rng, int(rng.integers(40, 80))))
        return picture

    return _repeated(rng, make)


def _charts(rng: np.random.Generator) -> Iterator[Pixels]:
    def make(rng: np.random.Generator) -> Image.Image:
        picture = Image.new("RGB", _SCREEN, "white" if rng.random() < 0.7 else (30, 30, 35))
        drawing = ImageDraw.Draw(picture)
        columns = int(rng.integers(3, 12))
        for column in range(columns):
            left = 20 + column * 360 // columns
            box = (left, int(rng.integers(20, 260)), left + 240 // columns, 280)
            drawing.rectangle(box, _colour(rng))
        drawing.line((15, 10, 15, 285, 390, 285), (120, 120, 120), 3)
        return picture

    return _repeated(rng, make)


def _gradients(rng: np.random.Generator) -> Iterator[Pixels]:
    def make(rng: np.random.Generator) -> Image.Image:
        angle = rng.uniform(0, 2 * np.pi)
        y, x = np.mgrid[0:SIZE, 0:SIZE] / SIZE
        share = (np.cos(angle) * x + np.sin(angle) * y)[..., None]
        share = (share - share.min()) / np.ptp(share)
        mixed = share * np.asarray(_colour(rng)) + (1 - share) * np.asarray(_colour(rng))
        return Image.fromarray(mixed.astype(np.uint8))

    return _repeated(rng, make)


def _gratings(rng: np.random.Generator) -> Iterator[Pixels]:
    def make(rng: np.random.Generator) -> Image.Image:
        y, x = np.mgrid[0:SIZE, 0:SIZE]
        waves = np.zeros((SIZE, SIZE))
        for _ in range(int(rng.integers(1, 4))):
            angle, length = rng.uniform(0, np.pi), rng.uniform(3, 12)
            waves += np.sin(2 * np.pi * (np.cos(angle) * x + np.sin(angle) * y) / length + rng.uniform(0, 6))
        share = ((waves - waves.min()) / np.ptp(waves))[..., None]
        mixed = share * np.asarray(_colour(rng)) + (1 - share) * np.asarray(_colour(rng))
        return Image.fromarray((mixed + rng.normal(0, 6, mixed.shape)).clip(0, 255).astype(np.uint8))

    return _repeated(rng, make)


def _gaussian_noise(rng: np.random.Generator) -> Iterator[Pixels]:
    def make(rng: np.random.Generator) -> Image.Image:
        noise = rng.normal(np.asarray(_colour(rng)), rng.uniform(20, 80), (SIZE, SIZE, 3))
        return Image.fromarray(noise.clip(0, 255).astype(np.uint8))

    return _repeated(rng, make)


def _handwritten() -> Iterator[Pixels]:
    for digit in load_digits().images[:COUNT]:
        picture = Image.fromarray((digit * (255 / 16)).astype(np.uint8)).resize(
            (SIZE, SIZE), Image.Resampling.BICUBIC
        )
        yield np.asarray(picture.convert("RGB"))


def _text(rng: np.random.Generator) -> Iterator[Pixels]:
    letters = np.array(list("abcdefghijklmnopqrstuvwxyz      ,."))

    def make(rng: np.random.Generator) -> Image.Image:
        dark = rng.random() < 0.4
        picture = Image.new("RGB", _SCREEN, (25, 28, 34) if dark else (250, 250, 250))
        size = int(rng.integers(12, 30))
        font, drawing = _font(rng, size), ImageDraw.Draw(picture)
        for line in range(int(rng.integers(4, 280 // size))):
            words = "".join(rng.choice(letters, int(rng.integers(5, 60))))
            drawing.text((10, 8 + line * (size + 3)), words, (220, 220, 220) if dark else (20, 20, 20), font)
        return picture

    return _repeated(rng, make)


def _one_colour(rng: np.random.Generator) -> Iterator[Pixels]:
    return _repeated(rng, lambda rng: Image.new("RGB", (64, 64), _colour(rng)))


def _patterns(folder: Path, rng: np.random.Generator) -> Iterator[Pixels]:
    """Squares of 64 pixels out of each pattern, ten at most."""
    for path in sorted(folder.rglob("*.pat")):
        content = path.read_bytes()
        head, _, width, height, depth = np.frombuffer(content, ">u4", 5)
        picture = np.frombuffer(content, np.uint8, width * height * depth, head)
        whole = Image.fromarray(picture.reshape(height, width, depth).squeeze()).convert("RGB")
        for _ in range(10):
            side = min(64, int(width), int(height))
            left, top = int(rng.integers(width - side + 1)), int(rng.integers(height - side + 1))
            file = io.BytesIO()
            whole.crop((left, top, left + side, top + side)).save(file, "png")
            yield decoded(file.getvalue())
