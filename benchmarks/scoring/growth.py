"""How scoring grows: `python -m benchmarks.scoring.growth STORE SOURCE FOLDER LIMIT …`.

Scores the first LIMIT pictures of SOURCE, for each LIMIT, and the first 512, which tells what the start and
the listing take. A row each: pictures a second and processor time a picture, without those, and the most
anonymous memory (RssAnon, looked at ten times a second) of a worker and of the command itself. FOLDER takes
the tables.
"""

import os
import shutil
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Final

from benchmarks.scoring.watched import Measured, watched
from export.store.versions import open_store

_FEW: Final = 512


def main() -> None:
    if len(sys.argv) < 5:
        sys.exit(__doc__)
    store = open_store(str(Path(sys.argv[1]).absolute()))
    number = store.ledger.served()
    if number is None:
        sys.exit(f"{store.url} has no promoted version")
    model = store.manifest(number).contract.model
    command = (sys.executable, "-m", "jobs.cli", "--model", model, "score", "--store", store.url)
    source, folder = str(Path(sys.argv[2]).absolute()), Path(sys.argv[3]).absolute()
    folder.mkdir(parents=True, exist_ok=True)
    start = _scored([*command, source], folder, _FEW)
    print(f"start, {_FEW} pictures: {start.seconds:.0f} s, processor time {start.processor_seconds:.1f} s\n")
    print("| pictures | a second | µs a picture | a worker, MB | the command, MB | load average |")
    print("|--:|--:|--:|--:|--:|--:|")
    for limit in map(int, sys.argv[4:]):
        whole = _scored([*command, source], folder, limit)
        more = limit - _FEW
        print(
            f"| {limit:,} | {more / (whole.seconds - start.seconds):,.0f} | "
            f"{(whole.processor_seconds - start.processor_seconds) / more * 1e6:,.0f} | "
            f"{whole.memory / 1e6:,.0f} | {whole.own_memory / 1e6:,.0f} | {os.getloadavg()[0]:.1f} |",
            flush=True,
        )


def _scored(command: Sequence[str], folder: Path, limit: int) -> Measured:
    out = folder / f"first-{limit}"
    shutil.rmtree(out, ignore_errors=True)
    return watched([*command, "--out", str(out), "--limit", str(limit)], folder, most_seconds=1200)


if __name__ == "__main__":
    main()
