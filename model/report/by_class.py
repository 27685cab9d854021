"""The classes of a report in tables: how well each is recognised, and which are taken for which."""

import html
from collections.abc import Sequence
from typing import Final

import numpy as np

from model.report.evaluate import Evaluation, wilson_interval
from model.report.html import table
from model.report.pictures import MOST_NAMED, drawn_name, seen_classes

_OPEN: Final = 30
_PAIRS: Final = 30
_LISTED: Final = 20


def class_table(evaluation: Evaluation, *, worst_first: bool) -> str:
    """Of each class that has images: recall, its interval, precision; with the worst first, how many images.

    Beyond the first thirty rows the table is folded.
    """
    counts = evaluation.confusion
    of_class, said = counts.sum(axis=1), counts.sum(axis=0)
    labels = np.flatnonzero(of_class)
    if worst_first:
        recall = counts[labels, labels] / of_class[labels]
        labels = labels[np.lexsort((-of_class[labels], recall))]
    rows = []
    for label in labels.tolist():
        right = int(counts[label, label])
        low, high = wilson_interval(right, int(of_class[label]))
        precision = f"{right / said[label]:.1%}" if said[label] else "never said"
        images = (f"{of_class[label]:,}",) if worst_first else ()
        name = _name(evaluation.classes, label)
        rows.append((name, f"{right / of_class[label]:.1%}", f"{low:.1%} to {high:.1%}", precision, *images))
    heads = ("", "recall", "95 % interval", "precision", *(("images",) if worst_first else ()))
    shown = table(rows[:_OPEN], heads)
    if len(rows) > _OPEN:
        shown += (
            f"<details><summary>The other {len(rows) - _OPEN:,} classes</summary>"
            f"{table(rows[_OPEN:], heads)}</details>"
        )
    return shown


def confused_pairs(evaluation: Evaluation) -> str:
    """The pairs of classes that are taken for one another most often, where the matrix cannot be read.

    Empty where the matrix has names, or nothing was confused.
    """
    if len(seen_classes(evaluation)) <= MOST_NAMED:
        return ""
    wrong = evaluation.confusion.copy()
    of_class = wrong.sum(axis=1)
    np.fill_diagonal(wrong, 0)
    rows = []
    for place in np.argsort(-wrong, axis=None, kind="stable")[:_PAIRS]:
        right, said = np.unravel_index(place, wrong.shape)
        if count := int(wrong[right, said]):
            names = evaluation.classes[right], evaluation.classes[said]
            rows.append((*names, f"{count:,}", f"{count / of_class[right]:.1%}"))
    if not rows:
        return ""
    heads = ("right class", "taken for", "images", "of the class")
    return f"<h2>Most confused</h2>{table(rows, heads)}"


def without_figures(evaluation: Evaluation, unlearned: Sequence[int]) -> str:
    """A note of the classes that no figure stands for; empty where there are none."""
    absent = [
        label
        for label, name in enumerate(evaluation.classes)
        if name not in evaluation.per_class and label not in unlearned
    ]
    notes = (("Without a test image", absent), ("Known by name alone, not learned", unlearned))
    return "".join(
        f'<p class="note">{text}: {_listed([evaluation.classes[label] for label in labels])}.</p>'
        for text, labels in notes
        if labels
    )


def _name(classes: Sequence[str], label: int) -> str:
    """A class's name, with the number that pictures have in its place where they cannot draw it."""
    number = f"#{label}"
    return f"{classes[label]} ({number})" if drawn_name(classes, label) == number else classes[label]


def _listed(names: Sequence[str]) -> str:
    more = f" and {len(names) - _LISTED:,} more" if len(names) > _LISTED else ""
    return html.escape(", ".join(names[:_LISTED]) + more)
