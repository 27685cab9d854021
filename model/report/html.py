"""Pages that need nothing beside them: their style, their tables, their pictures."""

import base64
import html
from collections.abc import Iterable
from typing import Final, Literal

_STYLE: Final = """
body { font: 15px/1.5 system-ui, sans-serif; max-width: 62rem; margin: 2rem auto; padding: 0 1rem; color:
#1f2328 } h1 { font-size: 1.6rem } h2 { font-size: 1.15rem; margin-top: 2.2rem } table { border-collapse:
collapse } th, td { text-align: left; padding: .2rem .9rem .2rem 0; vertical-align: top } th { font-weight:
500; color: #59636e } td { font-variant-numeric: tabular-nums } td:first-child { color: #59636e } img {
max-width: 100% } .big { font-size: 2.2rem; font-weight: 600 } .note { color: #59636e } .side { display: flex;
flex-wrap: wrap; gap: 0 2rem } .side > div { flex: 1 1 24rem; min-width: 0 } .mistakes { display: grid;
grid-template-columns: repeat(auto-fill, 7.2rem); gap: .9rem } .mistakes img { width: 7rem; height: 7rem;
image-rendering: pixelated } figure { margin: 0 } figcaption { font-size: .8rem; line-height: 1.25 }
"""


def document(title: str, sections: Iterable[str], style: str = "") -> str:
    """A whole page.

    Args:
        title: As text.
        sections: What stands on it, as HTML.
        style: Further rules of CSS.
    """
    return (
        f'<!doctype html>\n<html lang="en"><meta charset="utf-8"><title>{html.escape(title)}</title>'
        f"<style>{_STYLE}{style}</style>\n" + "\n".join(sections) + "\n</html>\n"
    )


def inline(encoded: bytes, form: Literal["png", "webp"] = "png") -> str:
    """An encoded picture as an address that holds it."""
    return f"data:image/{form};base64,{base64.b64encode(encoded).decode()}"


def table(rows: Iterable[tuple[str, ...]], heads: tuple[str, ...] = ()) -> str:
    """A table of texts, which are escaped here."""
    lines = [("th", heads)] if heads else []
    lines += [("td", row) for row in rows]
    cells = ("".join(f"<{tag}>{html.escape(cell)}</{tag}>" for cell in row) for tag, row in lines)
    return f"<table>{''.join(f'<tr>{line}</tr>' for line in cells)}</table>"
