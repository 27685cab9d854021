"""`python -m benchmarks.training`: the race and the profile, into benchmarks/results/training.{json,md}.

The data is CIFAR10_DIR's, or what `make run` would take.
"""

import argparse
import json
import os
from dataclasses import asdict
from pathlib import Path

from benchmarks.serving import machine
from model.data import load_dataset

RESULTS = Path(__file__).parents[1] / "results"


def main() -> None:
    """Measure, print and write."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument(
        "--data", default=os.environ.get("CIFAR10_DIR"), help="folder, archive or s3:// address"
    )
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--profile-only", action="store_true")
    arguments = parser.parse_args()
    dataset = load_dataset(arguments.data, allow_sample=True)

    from benchmarks.training.contenders import line_up, race
    from benchmarks.training.steps import step_profile, waiting_share

    about = machine.describe() | {"data": f"{dataset.source}, {len(dataset.train):,} training images"}
    profile = step_profile(dataset)
    waiting = waiting_share(dataset)
    print("\n".join(f"{part:>24} {milliseconds:7.1f} ms" for part, milliseconds in profile.items()))
    print(f"{'waiting for data':>24} {waiting:7.1%} of an epoch")
    if arguments.profile_only:
        return
    results = race(dataset, line_up(dataset, arguments.seed), print)
    original = results[0]
    rows = [
        f"| {r.name} | {r.epochs} | {r.seconds:.0f} | {r.images_per_second:,.0f} "
        f"({r.images_per_second / original.images_per_second:.2f}×) | {r.validation[-1]:.3f} | {r.test:.3f} "
        f"({r.interval[0]:.3f}–{r.interval[1]:.3f}) |"
        for r in results
    ]
    lines = [
        "# Training, side by side",
        "",
        "Epochs in turn in one process, one run each. Seconds: building, compiling and training, without "
        "validation. The test split was looked at once, at the end.",
        "",
        "| recipe | epochs | seconds | images/s | validation | test (95 % interval) |",
        "|---|---|---|---|---|---|",
        *rows,
        "",
        "| a step of the quick recipe | ms |",
        "|---|---|",
        *(f"| {part} | {milliseconds:.1f} |" for part, milliseconds in profile.items()),
        "",
        f"The network waits for data {waiting:.1%} of an epoch.",
        "",
        *(f"- {name}: {text}" for name, text in about.items() if text),
    ]
    RESULTS.mkdir(exist_ok=True)
    (RESULTS / "training.md").write_text("\n".join(lines) + "\n")
    record = {
        "machine": about,
        "profile_ms": profile,
        "waiting": waiting,
        "race": [asdict(r) for r in results],
    }
    (RESULTS / "training.json").write_text(json.dumps(record, indent=1) + "\n")
    print("\n" + "\n".join(lines))


if __name__ == "__main__":
    main()
