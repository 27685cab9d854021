"""All checks together, on versions whose true difference is known.

`python -m benchmarks.gate` does the same with more repeats; docs/gate.md has its table.
"""

from dataclasses import replace

import pytest

from benchmarks.gate.simulation import LARGE, SCENES, Scene, first_passing, passing, scenes

REPEATS = 100
"""Chance moves a share of 0.90 by 0.03 and one of 0.05 by 0.022, one standard deviation."""


def name(scene: Scene) -> str:
    return f"{scene.images}-of-{scene.classes}" + ("-in-groups" if scene.group > 1 else "")


@pytest.mark.parametrize("scene", list(scenes()), ids=name)
def test_an_equally_good_version_passes_and_one_worse_by_the_margin_does_not(scene: Scene) -> None:
    assert passing(scene, REPEATS, "equal")[0] >= 0.80
    assert passing(scene, REPEATS, "worse")[0] <= 0.06 + 0.05


@pytest.mark.parametrize("scene", list(scenes()), ids=name)
def test_a_version_that_loses_twenty_points_on_a_large_class_does_not_pass(scene: Scene) -> None:
    if scene.images < LARGE * scene.classes:
        scene = replace(scene, large=LARGE)
    assert passing(scene, REPEATS // 2, "lost")[0] <= 0.05 + 0.04


@pytest.mark.parametrize("scene", SCENES, ids=name)
def test_a_good_first_version_passes(scene: Scene) -> None:
    assert first_passing(scene, REPEATS // 2) >= 0.95
