import io
from itertools import count

from rich.console import Console

from jobs.pipeline.decoding import decoding_shown


def test_a_log_gets_a_line_every_half_minute() -> None:
    log = io.StringIO()
    seconds = count(step=4)
    with decoding_shown(Console(file=log), lambda: next(seconds)) as tell:
        for done in range(1, 21):
            tell(done * 1000, 60_000)
    assert log.getvalue().splitlines() == [
        "8,000 of 60,000 files are decoded.",
        "16,000 of 60,000 files are decoded.",
    ]


def test_a_terminal_gets_a_bar_that_goes_away() -> None:
    screen = io.StringIO()
    with decoding_shown(Console(file=screen, force_terminal=True, width=100)) as tell:
        tell(16, 32)
        tell(32, 32)
    assert "32/32" in screen.getvalue()
    assert "files are decoded" not in screen.getvalue()
