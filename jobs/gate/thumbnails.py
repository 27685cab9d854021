"""The images whose answer flips between two versions, as one picture a person can look through."""

import io
from typing import Final

import numpy as np
from PIL import Image, ImageDraw

from jobs.gate.rules import Answers
from model.contract import CLASSES, IMAGE_SIZE
from model.data.dataset import Split

SHOWN: Final = 48
_COLUMNS: Final = 8
_SIDE: Final = 3 * IMAGE_SIZE
_CELL: Final = (_SIDE + 48, _SIDE + 44)


def flipped(test: Split, candidate: Answers, champion: Answers) -> bytes:
    """Draw the images that only one of two versions gets right, the surest mistakes first.

    Args:
        test: Images and right answers.
        candidate: Answers of the version that is judged.
        champion: Answers of the version that is served.

    Returns:
        A PNG: broken answers (red) before mended ones (green), at most `SHOWN` of each.
    """
    mine, theirs = candidate.right(test.labels), champion.right(test.labels)
    broken = _surest(np.flatnonzero(theirs & ~mine), candidate)
    mended = _surest(np.flatnonzero(mine & ~theirs), champion)
    cells = [*((row, "firebrick") for row in broken), *((row, "seagreen") for row in mended)]
    lines = max(1, -(-len(cells) // _COLUMNS))
    sheet = Image.new("RGB", (_COLUMNS * _CELL[0], lines * _CELL[1]), "white")
    draw = ImageDraw.Draw(sheet)
    for place, (row, colour) in enumerate(cells):
        left, top = place % _COLUMNS * _CELL[0] + 4, place // _COLUMNS * _CELL[1] + 4
        picture = Image.fromarray(test.images[row]).resize((_SIDE, _SIDE), Image.Resampling.NEAREST)
        sheet.paste(picture, (left, top))
        right, before, now = (
            CLASSES[index]
            for index in (test.labels[row], champion.probs[row].argmax(), candidate.probs[row].argmax())
        )
        draw.text((left, top + _SIDE + 2), f"{row}: {right}\n{before} > {now}", fill=colour)
    if not cells:
        draw.text((8, 8), "No answer flips.", fill="black")
    buffer = io.BytesIO()
    sheet.save(buffer, "PNG")
    return buffer.getvalue()


def _surest(rows: "np.ndarray[tuple[int], np.dtype[np.intp]]", wrong: Answers) -> list[int]:
    """The rows by falling confidence of the answers that are wrong on them."""
    order = np.argsort(-wrong.probs[rows].max(axis=1)) if len(rows) else rows
    return [int(row) for row in rows[order][:SHOWN]]
