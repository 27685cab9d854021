"""The images whose answer flips between two versions, as one picture a person can look through."""

import io
from collections.abc import Sequence
from typing import Final

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageDraw

from jobs.gate.answers import Answers
from model.data.dataset import Split

SHOWN: Final = 48
_COLUMNS: Final = 8
_SIDE: Final = 96
"""Of an image in the picture, whatever it is by itself: so the picture is of one size for all."""
_CELL: Final = (_SIDE + 48, _SIDE + 44)
_WIDTH: Final = _CELL[0] - 8


def flipped(test: Split, candidate: Answers, champion: Answers) -> bytes:
    """Draw the images that only one of two versions gets right, the surest mistakes first.

    Args:
        test: Images and right answers; of classes that one of the two does not know none is drawn.
        candidate: Answers of the version that is judged.
        champion: Answers of the version that is served.

    Returns:
        A PNG: broken answers (red) before mended ones (green), at most `SHOWN` of each.
    """
    shared = candidate.knows(test.labels) & champion.knows(test.labels)
    mine, theirs = candidate.right(test.labels), champion.right(test.labels)
    broken = _surest(np.flatnonzero(theirs & ~mine & shared), candidate)
    mended = _surest(np.flatnonzero(mine & ~theirs & shared), champion)
    cells = [*((row, "firebrick") for row in broken), *((row, "seagreen") for row in mended)]
    lines = max(1, -(-len(cells) // _COLUMNS))
    sheet = Image.new("RGB", (_COLUMNS * _CELL[0], lines * _CELL[1]), "white")
    draw = ImageDraw.Draw(sheet)
    for place, (row, colour) in enumerate(cells):
        left, top = place % _COLUMNS * _CELL[0] + 4, place // _COLUMNS * _CELL[1] + 4
        sheet.paste(_small(test.images[row]), (left, top))
        right, before, now = (
            _name(test.classes, index)
            for index in (test.labels[row], champion.answered[row], candidate.answered[row])
        )
        told = [f"{row}: {right}"] if test.names is None else [_end(test.names[row], draw), right]
        half = (_WIDTH - draw.textlength(" > ")) / 2
        told.append(f"{_beginning(before, draw, half)} > {_beginning(now, draw, half)}")
        draw.text((left, top + _SIDE + 2), "\n".join(_beginning(line, draw) for line in told), fill=colour)
    if not cells:
        draw.text((8, 8), "No answer flips.", fill="black")
    buffer = io.BytesIO()
    sheet.save(buffer, "PNG")
    return buffer.getvalue()


def _small(pixels: NDArray[np.uint8]) -> Image.Image:
    """An image at the size it is drawn in; whole multiples keep their pixels."""
    whole = _SIDE % len(pixels) == 0
    how = Image.Resampling.NEAREST if whole else Image.Resampling.LANCZOS
    return Image.fromarray(pixels).resize((_SIDE, _SIDE), how)


def _name(classes: Sequence[str], number: int) -> str:
    """A class's name; an answer may be of a class that the test split does not have, or none at all."""
    return classes[number] if 0 <= number < len(classes) else "?"


def _beginning(text: str, draw: ImageDraw.ImageDraw, width: float = _WIDTH) -> str:
    """So much of a text as is not wider than a cell, or another width in pixels."""
    cut = text
    while cut and draw.textlength(cut if cut == text else f"{cut}…") > width:
        cut = cut[:-1]
    return cut if cut == text else f"{cut}…"


def _end(name: str, draw: ImageDraw.ImageDraw) -> str:
    """So much of a file's name as fits in a cell, from its end, which tells more; on one line."""
    printed = "".join(sign if sign.isprintable() else "?" for sign in name)
    return _beginning(printed[::-1], draw)[::-1]


def _surest(rows: NDArray[np.intp], wrong: Answers) -> list[int]:
    """The rows by falling confidence of the answers that are wrong on them."""
    order = np.argsort(-wrong.confidence[rows]) if len(rows) else rows
    return [int(row) for row in rows[order][:SHOWN]]
