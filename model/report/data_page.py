"""What is in a data set, to be looked through before training: one HTML page that needs nothing beside it."""

import html
from collections.abc import Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Final

from model.data.check import SPLITS, ClassCount, DataCheck, Spread
from model.data.findings import Finding, counted
from model.data.pictures import LeftOut, Picture, Reason
from model.report import contact_sheet
from model.report.contact_sheet import ContactSheet, Thumbnail
from model.report.html import document, table

_MOST_OPEN: Final = 12
"""Classes whose pictures are shown without a click."""
_MOST_ROWS: Final = 200
_MOST_PAIRS: Final = 100

_STYLE: Final = """
.findings li { margin: .3rem 0 } summary { cursor: pointer; font-weight: 500; margin: .3rem 0 }
summary small { color: #59636e; font-weight: 400 } .counts td + td { text-align: right }
.counts td:first-child, .names td { overflow-wrap: anywhere }
.bar { display: flex; width: 14rem; height: .7rem; margin-top: .45rem }
.bar i { display: block; height: 100% }
.train { background: #6ea8d8 } .validation { background: #e0b354 } .test { background: #7dbb7d }
.key i { display: inline-block; width: .7rem; height: .7rem; margin: 0 .3rem 0 1rem }
"""


def write_data_page(
    path: Path,
    check: DataCheck,
    findings: Sequence[Finding],
    thumbnail: Thumbnail,
    *,
    digest: str | None = None,
    mistakes: Sequence[str] = (),
    notes: Sequence[str] = (),
) -> None:
    """Write the page.

    Args:
        path: Where to; its folder is made.
        check: What was found in the data.
        findings: What is wrong with it.
        thumbnail: The pixels of a picture, by its name.
        digest: Of all images and labels that are used; None where nothing can be learned from them.
        mistakes: Why not, a sentence each.
        notes: What else people should know, a sentence each.
    """
    sheet = ContactSheet(thumbnail, len(check.counts))
    by_class: dict[str, list[tuple[Picture, str]]] = {count.name: [] for count in check.counts}
    for picture, split in zip(check.pictures, check.splits, strict=True):
        by_class[picture.label].append((picture, split))
    sections = [
        f"<h1>{html.escape(check.source)}</h1>",
        f"<p><span class='big'>{len(check.pictures):,}</span> pictures of "
        f"{counted(sum(1 for count in check.counts if count.total), 'class', 'classes')}; "
        f"{counted(len(check.left_out), 'file')} left out.</p>",
        _sentences("To be mended before anything can be learned", mistakes),
        _findings(findings),
        _sentences("To be known", notes),
        "<h2>Classes</h2>" + _counts(check.counts),
        "<h2>Pictures</h2>" + table(_facts(check, digest)),
        *_pairs(check, sheet),
        *_left_out(check.reasons),
        "<h2>The classes in pictures</h2>",
        f'<p class="note">Up to {sheet.a_class} of each class, as the network sees them: {check.size} x '
        f"{check.size} pixels, {html.escape(check.fit)}. Point at one for its name.</p>",
        *_sheets(by_class, sheet),
    ]
    if sheet.missed:
        sections.append(f'<p class="note">No room was left for {sheet.missed:,} of them.</p>')
    path.parent.mkdir(parents=True, exist_ok=True)
    page = document(f"{check.source}: the data", sections, contact_sheet.STYLE + _STYLE)
    # A file's name may hold bytes that are no UTF-8; the page says so and is whole all the same.
    path.write_text(page, encoding="utf-8", errors="backslashreplace")


def _findings(findings: Sequence[Finding]) -> str:
    if not findings:
        return "<p>Nothing was found that speaks against learning from it.</p>"
    lines = (
        f"<li><b>{html.escape(finding.kind)}</b>: {html.escape(finding.sentence)}</li>"
        for finding in findings
    )
    return f'<h2>Found</h2><ul class="findings">{"".join(lines)}</ul>'


def _sentences(head: str, sentences: Sequence[str]) -> str:
    lines = "".join(f"<li>{html.escape(sentence)}</li>" for sentence in sentences)
    return f'<h2>{head}</h2><ul class="findings">{lines}</ul>' if lines else ""


def _counts(counts: Sequence[ClassCount]) -> str:
    most = max((count.total for count in counts), default=0) or 1
    rows = (
        f'<tr><td><a href="#class-{number}">{html.escape(count.name)}</a></td><td>{count.train:,}</td>'
        f"<td>{count.validation:,}</td><td>{count.test:,}</td><td>{count.left_out:,}</td>"
        f'<td><span class="bar">{_bar(count, most)}</span></td></tr>'
        for number, count in enumerate(counts)
    )
    heads = "".join(f"<th>{head}</th>" for head in ("", *SPLITS, "left out", ""))
    key = "".join(f'<i class="{split}"></i>{split}' for split in SPLITS)
    listed = f'<p class="key note">{key}</p><table class="counts"><tr>{heads}</tr>{"".join(rows)}</table>'
    return _folded(f"All {len(counts):,} classes", "", listed, is_open=len(counts) <= 4 * _MOST_OPEN)


def _bar(count: ClassCount, most: int) -> str:
    parts = zip(SPLITS, (count.train, count.validation, count.test), strict=True)
    return "".join(
        f'<i class="{split}" style="width: {100 * number / most:.2f}%"></i>'
        for split, number in parts
        if number
    )


def _facts(check: DataCheck, digest: str | None) -> Iterator[tuple[str, str]]:
    yield "width", _spread(check.widths)
    yield "height", _spread(check.heights)
    yield "formats", ", ".join(f"{name} {number:,}" for name, number in check.formats.items())
    yield "files", f"{sum(picture.length for picture in check.pictures) / 1e6:,.1f} MB"
    yield "largest to smallest class", f"{check.imbalance:.1f} to 1"
    if check.groups:
        yield "groups", ", ".join(f"{split} {number:,}" for split, number in check.groups.items())
        yield "groups in several splits", f"{len(check.torn_groups):,}"
    yield "digest", digest or "none"


def _spread(spread: Spread) -> str:
    return f"{spread.smallest:,} to {spread.largest:,} pixels, median {spread.median:,}"


def _pairs(check: DataCheck, sheet: ContactSheet) -> Iterator[str]:
    """The same picture in two files, side by side."""
    heads = {
        "conflicts": "One picture under two classes",
        "leaks": "One picture in two splits",
        "near-duplicates": "Nearly the same picture twice",
    }
    said = {left.name: f"{left.name} ({left.label or 'no class'}, left out)" for left in check.left_out}
    for picture, split in zip(check.pictures, check.splits, strict=True):
        said[picture.name] = f"{picture.name} ({picture.label}, {split})"
    for kind, head in heads.items():
        pairs = sorted((pair for pair in check.alike if pair.kind == kind), key=lambda pair: pair.exact)
        if pairs:
            exact = sum(pair.exact for pair in pairs)
            kinds = ((len(pairs) - exact, "alike in looks"), (exact, "of the same bytes"))
            says = ", ".join(f"{counted(number, 'pair')} {what}" for number, what in kinds if number)
            yield (
                f'<h2>{head}</h2><p class="note">{says}{_bounded(len(pairs), _MOST_PAIRS)}.</p>'
                '<div class="pairs">'
            )
            for pair in pairs[:_MOST_PAIRS]:
                yield sheet.pair((pair.name, pair.other), lambda name: said.get(name, name))
            yield "</div>"


def _left_out(reasons: Mapping[Reason, Sequence[LeftOut]]) -> Iterator[str]:
    if reasons:
        yield "<h2>Left out</h2>"
    for reason, lefts in reasons.items():
        rows = ((left.name, left.label or "", left.detail) for left in lefts[:_MOST_ROWS])
        yield _folded(
            reason,
            f"{counted(len(lefts), 'file')}{_bounded(len(lefts), _MOST_ROWS)}",
            f'<div class="names">{table(rows, ("file", "class", "why"))}</div>',
            is_open=len(lefts) <= _MOST_OPEN,
        )


def _sheets(by_class: Mapping[str, Sequence[tuple[Picture, str]]], sheet: ContactSheet) -> Iterable[str]:
    for number, (name, members) in enumerate(by_class.items()):
        where = {picture.name: split for picture, split in members}
        yield (
            f'<div id="class-{number}">'
            + _folded(
                name,
                counted(len(members), "picture"),
                sheet.sheet([picture for picture, _ in members], lambda p: f"{p.name} ({where[p.name]})"),  # noqa: B023
                is_open=len(by_class) <= _MOST_OPEN,
            )
            + "</div>"
        )


def _folded(head: str, note: str, content: str, *, is_open: bool) -> str:
    """Content that a click on its head shows or hides; head and note are text."""
    return (
        f"<details{' open' if is_open else ''}><summary>{html.escape(head)} "
        f"<small>{html.escape(note)}</small></summary>{content}</details>"
    )


def _bounded(number: int, most: int) -> str:
    return f"; the first {most:,} are shown" if number > most else ""
