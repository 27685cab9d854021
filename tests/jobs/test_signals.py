"""Ctrl-C and SIGTERM, where a library takes their exception for its own error, or drops it."""

import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from jobs.errors import Exit

PROGRAM = """
import os, signal, sys, threading
from jobs.cli import app, main
from jobs.errors import MistakeError
from jobs.signals import Told

def library():
    signal.raise_signal({number})

class Deleted:
    def __del__(self):
        library()

@app.command()
def work() -> None:
    {what}
    threading.Event().wait({waits})
    print("done")

sys.argv = ["cnn-image", "work"]
{before}
main()
"""
SENTENCES = {
    signal.SIGINT: (Exit.INTERRUPTED, "Stopped by Ctrl-C.\n"),
    signal.SIGTERM: (Exit.TERMINATED, "Stopped by SIGTERM; the same command goes on from what is done.\n"),
}


def ends(
    number: signal.Signals, what: str, waits: str = "20", before: str = ""
) -> subprocess.CompletedProcess[str]:
    program = PROGRAM.format(
        number=int(number), what=what.replace("\n", "\n    "), waits=waits, before=before
    )
    return subprocess.run(
        [sys.executable, "-c", program],
        env={**os.environ, "PYTHONPATH": str(Path(__file__).parents[2])},
        capture_output=True,
        text=True,
        timeout=50,
        check=False,
    )


TERM, INT = signal.SIGTERM, signal.SIGINT


@pytest.mark.parametrize(
    ("number", "what"),
    [
        (INT, "library()"),
        (TERM, "library()"),
        (TERM, "try: library()\nexcept: raise TypeError('no maximum')"),  # as TensorFlow's DType.max
        (INT, "try: library()\nexcept: raise MistakeError('another sentence')"),
        (TERM, "try: library()\nexcept: raise SystemExit(1)"),
        (INT, "try: library()\nexcept: pass"),
        (TERM, "Deleted()"),
    ],
)
def test_it_ends_with_its_code_and_one_sentence(number: signal.Signals, what: str) -> None:
    done = ends(number, what)
    assert (done.returncode, done.stderr) == SENTENCES[number]
    assert done.stdout == ""


def test_what_cleans_up_is_not_cut_short() -> None:
    done = ends(signal.SIGTERM, "try: library()\nfinally: threading.Event().wait(1.2); print('clean')")
    assert done.stdout == "clean\n"
    assert done.returncode == Exit.TERMINATED


def test_what_is_said_already_is_not_said_again() -> None:
    done = ends(signal.SIGINT, "try: library()\nexcept BaseException as why: raise Told(130) from why")
    assert (done.returncode, done.stderr) == (Exit.INTERRUPTED, "")


def test_ctrl_c_that_is_to_be_ignored_is() -> None:
    """As of a command that a script has put into the background."""
    ignore = "try: library()\nfinally: print('went on')"
    before = "signal.signal(signal.SIGINT, signal.SIG_IGN)"
    done = ends(signal.SIGINT, ignore, waits="0", before=before)
    assert (done.returncode, done.stdout) == (0, "went on\ndone\n")
