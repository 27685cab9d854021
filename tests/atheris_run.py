"""atheris on one target of fuzz_targets.py, in a process of its own, for a bounded time."""

import os
import subprocess
import sys
from collections.abc import Iterable
from pathlib import Path

FUZZ_SECONDS = int(os.environ.get("FUZZ_SECONDS", "10"))
TARGETS = Path(__file__).with_name("fuzz_targets.py")


def fuzz(target: str, seeds: Iterable[bytes], folder: Path, *, most_bytes: int, corpus: Path) -> None:
    """Mutate the seeds, and fail with what was found.

    Args:
        target: Its name in fuzz_targets.py.
        seeds: What to begin with.
        folder: An empty one, for seeds and finds.
        most_bytes: Length of an input.
        corpus: Where finds are to be kept, for the sentence.
    """
    begin = folder / "seeds"
    begin.mkdir()
    for number, seed in enumerate(seeds):
        (begin / str(number)).write_bytes(seed)
    # The targets look after their memory themselves.
    options = [f"-max_total_time={FUZZ_SECONDS}", f"-max_len={most_bytes}", "-timeout=10", "-rss_limit_mb=0"]
    command = [
        sys.executable,
        str(TARGETS),
        target,
        str(begin),
        *options,
        f"-artifact_prefix={folder}/found-",
    ]
    run = subprocess.run(command, capture_output=True, text=True, errors="replace", check=False)
    found = sorted(folder.glob("found-*"))
    assert not found, f"keep these bytes in {corpus}: {found[0].read_bytes()!r}\n{run.stderr[-3000:]}"
    assert run.returncode == 0, f"ended with {run.returncode}: {run.stderr[-3000:]}"
