"""docs/serving.md against the settings and metrics themselves."""

import re
from pathlib import Path

from image_transformer.observe.metrics import Metrics
from image_transformer.settings import Settings

TEXT = (Path(__file__).parents[2] / "docs" / "serving.md").read_text()
INTERNAL = {"predictor_protocol", "fast_routes"}
"""What KServe passes and nobody sets, and what tests compare with."""


def test_every_setting_is_there_with_its_default() -> None:
    for name, field in Settings.model_fields.items():
        if name in INTERNAL:
            continue
        row = next(line for line in TEXT.splitlines() if f"`CNN_IMAGE_{name.upper()}`" in line)
        default = field.get_default()
        shown = ",".join(default) if isinstance(default, tuple) else str(default)
        shown = shown.lower() if isinstance(default, bool) else shown
        assert name == "train_token" or default is None or f"| `{shown}` |" in row, row


def test_every_metric_is_there() -> None:
    made = {one.name + ("_total" if one.type == "counter" else "") for one in Metrics().collect()}
    assert made == set(re.findall(r"(?m)^\| `(cnn_image_\w+)` \|", TEXT))
