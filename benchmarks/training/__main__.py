"""`python -m benchmarks.training`: the race and the profile, into benchmarks/results/training.{json,md,svg}.

The data is CIFAR10_DIR's, or what `make run` would take.
"""

import argparse
import json
import os
from pathlib import Path
from typing import Final

from benchmarks.serving import machine
from model.data.sources import load_dataset

RESULTS: Final = Path(__file__).parents[1] / "results"


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

    from benchmarks.training import report
    from benchmarks.training.contenders import line_up, race
    from benchmarks.training.steps import step_profile, waiting_share
    from model.training.device import prepare_device

    about = machine.describe()
    about.pop("load generators")  # none takes part here
    device = prepare_device()
    profile, waiting = step_profile(dataset, device), waiting_share(dataset, device)
    print(report.steps(profile, waiting))
    if arguments.profile_only:
        return
    about |= {"data": f"{dataset.source}, {len(dataset.train):,} training images", "device": device.name}
    results = race(dataset, line_up(dataset, arguments.seed, device), print)
    page = report.page(results, profile, waiting, about)
    RESULTS.mkdir(exist_ok=True)
    (RESULTS / "training.md").write_text(page)
    (RESULTS / "training.json").write_text(
        json.dumps(report.record(results, profile, waiting, about), indent=1) + "\n"
    )
    report.plot(results, RESULTS / "training.svg")
    print("\n" + page)


if __name__ == "__main__":
    main()
