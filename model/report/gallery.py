"""Images of a split side by side, each with what is said of it."""

import html
import io
from collections.abc import Iterable
from typing import Final

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from model.report.html import inline

_LOSSLESS_UP_TO: Final = 64

STYLE: Final = """
.mistakes img.large { image-rendering: auto; object-fit: contain } .mistakes small { display: block; color:
#59636e; overflow-wrap: anywhere } .mistakes figcaption { overflow-wrap: anywhere } details { margin: .6rem 0
} summary { cursor: pointer; color: #59636e }
"""


def gallery(shown: Iterable[tuple[NDArray[np.uint8], str, str, str | None]]) -> str:
    """Lay images out.

    Args:
        shown: Of each: uint8 `[S, S, 3]`, what stands for it where it cannot be seen, what is said of it, and
            what the user calls it. Texts, which are escaped here.
    """
    figures = []
    for image, instead, says, name in shown:
        kind = ' class="large"' if len(image) > _LOSSLESS_UP_TO else ""
        called = f"<small>{html.escape(name)}</small>" if name is not None else ""
        figures.append(
            f'<figure><img{kind} src="{_address(image)}" alt="{html.escape(instead)}"><figcaption>'
            f"{html.escape(says)}{called}</figcaption></figure>"
        )
    return f'<div class="mistakes">{"".join(figures)}</div>'


def _address(image: NDArray[np.uint8]) -> str:
    """The image at its true size; what is large would make a page of many megabytes without loss."""
    buffer = io.BytesIO()
    if len(image) <= _LOSSLESS_UP_TO:
        Image.fromarray(image).save(buffer, "PNG")
        return inline(buffer.getvalue())
    Image.fromarray(image).save(buffer, "WEBP", quality=90)
    return inline(buffer.getvalue(), "webp")
