"""Small pictures on a page, never more than it can carry."""

import html
import io
from collections.abc import Callable, Sequence
from typing import Final

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from model.data.pictures import Picture
from model.report.html import inline

MOST_A_CLASS: Final = 24
_MOST_IN_ALL: Final = 6000
_MOST_BYTES: Final = 14_000_000
"""Of all pictures on a page, as base64; so it stays below 20 MB."""
_SIDE: Final = 96

STYLE: Final = """
.sheet { display: grid; grid-template-columns: repeat(auto-fill, minmax(4.6rem, 1fr)); gap: .4rem;
margin: .5rem 0 1.2rem }
.sheet img { width: 100%; aspect-ratio: 1; object-fit: contain; background: #f6f8fa }
.pair img, .pair i { display: block; width: 5rem; height: 5rem; object-fit: contain; background: #f6f8fa }
.pairs { display: grid; grid-template-columns: repeat(auto-fill, minmax(20rem, 1fr)); gap: .9rem }
.pair { display: flex; gap: .6rem; padding: .6rem; border: 1px solid #d0d7de; border-radius: 6px }
.pair figure { flex: 1; min-width: 0 }
.pair figcaption { overflow-wrap: anywhere }
"""

Thumbnail = Callable[[str], NDArray[np.uint8] | None]
"""The pixels of a file by its name, uint8 `[H, W, 3]` or grey `[H, W]`; None where there are none to show."""


class ContactSheet:
    """Draws the pictures of one page, until the page is full.

    Args:
        thumbnail: Where pixels come from.
        classes: How many classes there are; the more, the fewer pictures of each.

    Attributes:
        a_class: How many pictures of a class are shown.
        missed: How many pictures there was no room for.
    """

    def __init__(self, thumbnail: Thumbnail, classes: int) -> None:
        self._thumbnail = thumbnail
        self._left = _MOST_BYTES
        self.missed = 0
        self.a_class = max(3, min(MOST_A_CLASS, _MOST_IN_ALL // max(1, classes)))

    def sheet(self, pictures: Sequence[Picture], says: Callable[[Picture], str]) -> str:
        """Some pictures of a class side by side: by their digests, so always the same and of every kind.

        Args:
            pictures: All of the class.
            says: What stands beside a picture that is pointed at, as text.
        """
        shown = sorted(pictures, key=lambda picture: picture.digest)[: self.a_class]
        images = (self._image(picture.name, says(picture)) for picture in shown)
        return f'<div class="sheet">{"".join(images)}</div>'

    def pair(self, names: tuple[str, str], says: Callable[[str], str]) -> str:
        """Two pictures side by side, each with what is said of it below."""
        figures = (
            f"<figure>{self._image(name, name) or '<i></i>'}"
            f"<figcaption>{html.escape(says(name))}</figcaption></figure>"
            for name in names
        )
        return f'<div class="pair">{"".join(figures)}</div>'

    def _image(self, name: str, says: str) -> str:
        """One picture; empty where there is none, or no room is left."""
        if self._left <= 0:
            self.missed += 1
            return ""
        pixels = self._thumbnail(name)
        if pixels is None:
            return ""
        address = inline(_encoded(pixels), "webp")
        self._left -= len(address)
        text = html.escape(says)
        return f'<img src="{address}" alt="{text}" title="{text}" loading="lazy" decoding="async">'


def _encoded(pixels: NDArray[np.uint8]) -> bytes:
    image = Image.fromarray(pixels)
    if max(image.size) > _SIDE:
        image.thumbnail((_SIDE, _SIDE), Image.Resampling.BOX)
    buffer = io.BytesIO()
    image.convert("RGB").save(buffer, "WEBP", quality=80, method=2)
    return buffer.getvalue()
