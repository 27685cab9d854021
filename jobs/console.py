"""What the command line prints: results on stdout, everything about the work on stderr."""

import os
import re
import sys
from collections.abc import Iterable, Mapping, Sequence

from rich.console import Console
from rich.table import Table

from model.contract import MODEL_NAME

# No signs of markup and no emoji's names: a class, a file or a reason may be called `[b]` or `:cat:`.
out = Console(soft_wrap=True, highlight=False, markup=False, emoji=False)
err = Console(stderr=True, soft_wrap=True, highlight=False, markup=False, emoji=False)
_UNSEEN = re.compile("[\x00-\x1f\x7f-\x9f\u2028-\u202e\u2066-\u2069\ud800-\udfff]")
"""What a terminal obeys in place of showing it, or cannot be written: control characters, line ends, marks
that turn the direction of writing, and bytes of a file's name that are no UTF-8."""
_WIDE = 1000
"""Characters: more than a row takes."""


def say(sentence: str) -> None:
    """Tell the person who waits what happens; never part of a result.

    A command in the sentence gets the `--model` that this one is about, so that it can be copied.
    """
    err.print(about(os.environ.get("CNN_IMAGE_MODEL") or MODEL_NAME, sentence))


def about(model: str, sentence: str) -> str:
    """The sentence with `--model` in each command that it names, where the model is not the default."""
    if model == MODEL_NAME:
        return sentence
    return re.sub(r"`cnn-image (?!--model )", f"`cnn-image --model {model} ", sentence)


def answer(text: str) -> None:
    """Print a result exactly as it is."""
    sys.stdout.write(text + "\n")
    sys.stdout.flush()


def shown(name: str) -> str:
    """The name of a file or a class on one line, with escapes for what a terminal does not show."""
    return _UNSEEN.sub(lambda found: ascii(found.group())[1:-1], name)


def table(
    columns: Sequence[str],
    rows: Iterable[Sequence[str]],
    title: str | None = None,
    *,
    console: Console = out,
) -> None:
    """Print a table, each cell as `shown`; as a result unless another console is given.

    A log gets each row on one line.
    """
    grid = Table(*columns, title=title, title_justify="left", box=None, pad_edge=False)
    for row in rows:
        grid.add_row(*map(shown, row))
    if not console.is_terminal:
        console.width = _WIDE  # not `print`'s own: that one is cut to the width that COLUMNS or rich assumes
    console.print(grid)


def listing(pairs: Mapping[str, object]) -> None:
    """Print a result as name and value, one pair a line."""
    width = max((len(name) for name in pairs), default=0)
    for name, value in pairs.items():
        answer(f"{name:<{width}}  {value}")
