"""`python -m benchmarks.gate`: all of the gate's checks on versions whose true difference is known."""

import argparse
from dataclasses import replace
from pathlib import Path
from typing import Final

from benchmarks.gate.simulation import LARGE, OTHERS, Scene, first_passing, passing, scenes

RESULT: Final = Path(__file__).parents[1] / "results" / "gate.md"

_HEAD: Final = (
    "| test images | classes | groups | flips | margin, points | equally good | the same, no history "
    "| worse by the margin | 20 points lost on a class of 200 or more | a first version |\n"
    "|--:|--:|---|--:|--:|--:|--:|--:|--:|--:|"
)


def main() -> None:
    """Simulate and write the table."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--repeats", type=int, default=1_000)
    parser.add_argument("--result", type=Path, default=RESULT)
    arguments = parser.parse_args()
    rows = []
    for scene in (*scenes(), *OTHERS):
        rows.append(_row(scene, arguments.repeats))
        print(rows[-1], flush=True)
    lines = [
        "# The gate, simulated",
        "",
        f"The share of candidates that pass all checks together, of {arguments.repeats:,} each. Written by "
        "`python -m benchmarks.gate`.",
        "",
        _HEAD,
        *rows,
        "",
    ]
    arguments.result.write_text("\n".join(lines))


def _row(scene: Scene, repeats: int) -> str:
    equal, margin = passing(scene, repeats, "equal")
    assumed, assumed_margin = passing(replace(scene, history=False), repeats, "equal")
    worse, _ = passing(scene, repeats, "worse")
    large = scene if scene.images >= LARGE * scene.classes else replace(scene, large=LARGE)
    lost, _ = passing(large, repeats, "lost")
    groups = f"of {scene.group}{' on average' * scene.uneven}" if scene.group > 1 else "none"
    return (
        f"| {scene.images:,} | {scene.classes} | {groups} | {scene.flips:.1%} "
        f"| {100 * margin:.1f} | {equal:.3f} | {assumed:.3f} (margin {100 * assumed_margin:.1f}) "
        f"| {worse:.3f} | {lost:.3f} | {first_passing(scene, repeats):.3f} |"
    )


if __name__ == "__main__":
    main()
