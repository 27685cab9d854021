"""Do maps show what a class rests on? `python -m benchmarks.explain.faithful NAME GRAPH IMAGES …`

Deletion and insertion (Petsiuk et al. 2018): a picture's pixels are taken away in the map's order, highest
first, until only its mean colour is left, and put back in that order into the picture blurred; what counts is
the area under the class's probability: low for deletion, high for insertion. IMAGES is `sample` for the
repository's test images, or an array as a training run keeps it (`held-out.npy`). Writes `explain-maps.md`,
and a picture of some maps of the first version, beside the other results.
"""

import argparse
import io
import math
from collections.abc import Callable, Iterator, Sequence
from functools import partial
from pathlib import Path
from typing import Final

import numpy as np
import onnxruntime
from numpy.typing import NDArray
from PIL import Image, ImageFilter

from image_transformer.codecs.overlay import overlay
from image_transformer.explain.masks import Grids, Slopes, hidden
from model.contract import INPUT_NAME, OUTPUT_NAME
from model.data.sources import load_sample

Picture = NDArray[np.uint8]
Map = NDArray[np.float32]
Ask = Callable[[Picture], NDArray[np.float32]]
"""Pictures in, the explained class's probability of each out."""
Method = Callable[[Ask, Picture, np.random.Generator], Map]

_STEPS: Final = 32
_AT_ONCE: Final = 32
_RESULTS: Final = Path("benchmarks/results")
_SHOWN: Final = 8
_SIDE: Final = 112


def random_map(ask: Ask, picture: Picture, random: np.random.Generator) -> Map:
    """Pixels in any order."""
    return random.random(picture.shape[:2]).astype(np.float32)


def random_blobs(ask: Ask, picture: Picture, random: np.random.Generator) -> Map:
    """As smooth as a map of the service's, of answers that mean nothing."""
    size = len(picture)
    slopes = Slopes(size)
    slopes.add(Grids(size, 100).masks(0, 100), random.random(100).astype(np.float32))
    return slopes.map()[0]


def centre(ask: Ask, picture: Picture, random: np.random.Generator) -> Map:
    """The middle first: where photographers put what they photograph."""
    across = np.arange(len(picture)) - (len(picture) - 1) / 2
    values: Map = -np.hypot(across[:, None], across).astype(np.float32)
    return values


def served(count: int) -> Method:
    """As the service does it, with so many masks."""

    def method(ask: Ask, picture: Picture, random: np.random.Generator) -> Map:
        grids, slopes = Grids(len(picture), count), Slopes(len(picture))
        for start in range(0, count, _AT_ONCE):
            masks = grids.masks(start, min(start + _AT_ONCE, count))
            slopes.add(masks, ask(hidden(picture, masks)))
        return slopes.map()[0]

    return method


def as_in_the_paper(count: int) -> Method:
    """The same masks, weighed with the answers."""

    def method(ask: Ask, picture: Picture, random: np.random.Generator) -> Map:
        masks = Grids(len(picture), count).masks(0, count)
        return np.tensordot(ask(hidden(picture, masks)), masks, axes=1)

    return method


def occlusion(window: int, stride: int) -> Method:
    """A window that hides (Zeiler, Fergus 2014), in 32ths: how much less probable that makes the class."""

    def method(ask: Ask, picture: Picture, random: np.random.Generator) -> Map:
        size = len(picture)
        side, step = window * size // 32, stride * size // 32
        starts = range(step - side, size, step)
        masks = np.ones((len(starts) ** 2, size, size), np.float32)
        for number in range(len(masks)):
            top, left = starts[number // len(starts)], starts[number % len(starts)]
            masks[number, max(0, top) : top + side, max(0, left) : left + side] = 0
        answers = ask(hidden(picture, masks))
        drops = np.tensordot(ask(picture[None])[0] - answers, 1 - masks, axes=1)
        values: Map = (drops / (1 - masks).sum(axis=0)).astype(np.float32)
        return values

    return method


METHODS: Final[dict[str, Method]] = {
    "random pixels": random_map,
    "random blobs": random_blobs,
    "the centre first": centre,
    "occlusion, a window of 8/32, 361 places": occlusion(8, 2),
    "RISE as in the paper, 500 masks": as_in_the_paper(500),
    "the service's, 100 masks": served(100),
    "the service's, 250 masks": served(250),
    "the service's, 500 masks": served(500),
}


def area(ask: Ask, start: Picture, end: Picture, order: NDArray[np.int64]) -> float:
    """The area under the probability while pixels of one picture become those of another, 0 to 1."""
    pixels = order.size
    frames = np.repeat(start[None], _STEPS + 1, axis=0)
    flat, target = frames.reshape(_STEPS + 1, pixels, 3), end.reshape(pixels, 3)
    for step in range(_STEPS + 1):
        changed = order[: round(pixels * step / _STEPS)]
        flat[step, changed] = target[changed]
    return float(np.trapezoid(ask(frames), dx=1 / _STEPS))


def deletion_and_insertion(ask: Ask, picture: Picture, values: Map) -> tuple[float, float]:
    """The areas while a picture goes to its mean colour, and comes out of a blur, by a map's order."""
    order = np.argsort(-values, axis=None, kind="stable")
    mean = np.broadcast_to(picture.mean(axis=(0, 1)), picture.shape).astype(np.uint8)
    blurred = np.asarray(Image.fromarray(picture).filter(ImageFilter.GaussianBlur(len(picture) / 8)))
    return area(ask, picture, mean, order), area(ask, blurred, picture, order)


def cells(areas: Sequence[tuple[float, float]]) -> str:
    """Means of deletion, insertion and of their difference, the last with its 95 % interval."""
    deleted, inserted = np.array(areas).T
    both = inserted - deleted
    interval = 1.96 * both.std(ddof=1) / math.sqrt(len(both))
    return f"{deleted.mean():.3f} | {inserted.mean():.3f} | {both.mean():.3f} ± {interval:.3f}"


def graph(path: Path) -> Callable[[Picture], NDArray[np.float32]]:
    """A version's graph on one thread: pictures in, probabilities `[N, classes]` out."""
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = 1
    session = onnxruntime.InferenceSession(str(path), options, providers=["CPUExecutionProvider"])

    def ask(pictures: Picture) -> NDArray[np.float32]:
        parts = range(0, len(pictures), _AT_ONCE)
        return np.concatenate(
            [session.run([OUTPUT_NAME], {INPUT_NAME: pictures[at : at + _AT_ONCE]})[0] for at in parts]
        )

    return ask


def rows(name: str, path: Path, images: Picture) -> Iterator[str]:
    """Measures every method on one version; a row of the table each."""
    probabilities = graph(path)
    classes = probabilities(images).argmax(axis=1)
    for title, method in METHODS.items():
        random = np.random.default_rng(0)
        areas = []
        for picture, class_id in zip(images, classes, strict=True):
            ask = partial(_of_class, probabilities, class_id)
            areas.append(deletion_and_insertion(ask, picture, method(ask, picture, random)))
        yield f"| {name} | {title} | {cells(areas)} |"


def _of_class(probabilities: Ask, class_id: int, pictures: Picture) -> NDArray[np.float32]:
    return probabilities(pictures)[:, class_id]


def shown(path: Path, images: Picture) -> Picture:
    """Some pictures, and below each the same with the service's map."""
    probabilities = graph(path)
    tiles = []
    for picture in images:
        ask = partial(_of_class, probabilities, int(probabilities(picture[None]).argmax()))
        grids, slopes = Grids(len(picture), 500), Slopes(len(picture))
        masks = grids.masks(0, 500)
        slopes.add(masks, ask(hidden(picture, masks)))
        plain = Image.fromarray(picture).resize((_SIDE, _SIDE), Image.Resampling.NEAREST)
        under = plain.convert("RGBA")
        with Image.open(io.BytesIO(overlay(*slopes.map()))) as drawn:
            under.alpha_composite(drawn.resize((_SIDE, _SIDE), Image.Resampling.BILINEAR))
        tiles.append(np.concatenate([np.asarray(plain), np.asarray(under.convert("RGB"))]))
    return np.concatenate(tiles, axis=1)


def pictures(source: str, count: int) -> Picture:
    """So many test pictures, from the first to the last at even distances."""
    images = load_sample().test.images[:] if source == "sample" else np.load(source)
    return np.ascontiguousarray(images[:: max(1, len(images) // count)][:count])


def main() -> None:
    """Measures, prints and writes."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--pictures", type=int, default=40)
    parser.add_argument("versions", nargs="+", metavar="NAME GRAPH IMAGES")
    asked = parser.parse_args()
    lines = [
        "# Maps\n",
        f"Measured by `python -m benchmarks.explain.faithful`: {asked.pictures} test pictures a version, "
        "each for the class that it is given; means, of the last column with its 95 % interval.\n",
        "| version | map | deletion, low is good | insertion, high is good | insertion − deletion |",
        "|---|---|--:|--:|--:|",
    ]
    versions = list(zip(*[iter(asked.versions)] * 3, strict=True))
    for name, path, source in versions:
        for line in rows(name, Path(path), pictures(source, asked.pictures)):
            print(line, flush=True)
            lines.append(line)
    _, path, source = versions[0]
    Image.fromarray(shown(Path(path), pictures(source, _SHOWN))).save(
        _RESULTS / "explain-maps.webp", quality=85
    )
    (_RESULTS / "explain-maps.md").write_text("\n".join(lines) + "\n")


if __name__ == "__main__":
    main()
