import json
from pathlib import Path

from PIL import Image

from benchmarks.dashboard import DASHBOARD, Line, draw, named, queries


def test_a_panels_queries_are_those_that_grafana_sends() -> None:
    panel = {
        "targets": [{"expr": 'rate(up{namespace="$namespace"}[$__rate_interval])', "legendFormat": "up"}]
    }
    assert list(queries(panel)) == [('rate(up{namespace="laptop"}[10s])', "up")]


def test_a_series_is_named_by_its_labels() -> None:
    assert named("{{pod}}, version {{version}}", {"pod": "a", "version": "7"}) == "a, version 7"


def test_every_panel_is_drawn_where_the_dashboard_has_it(tmp_path: Path) -> None:
    panels = json.loads(DASHBOARD.read_text())["panels"]
    width = max(panel["gridPos"]["x"] + panel["gridPos"]["w"] for panel in panels)
    rows = max(panel["gridPos"]["y"] + panel["gridPos"]["h"] for panel in panels)
    draw([(panel, [Line("one", [0, 60], [0.3, 0.9])]) for panel in panels], tmp_path / "all.png")
    drawn = Image.open(tmp_path / "all.png").convert("L")
    assert drawn.size == (width * 50, rows * 32)
    for panel in panels:
        place = panel["gridPos"]
        box = (
            place["x"] * 50,
            place["y"] * 32,
            (place["x"] + place["w"]) * 50,
            (place["y"] + place["h"]) * 32,
        )
        assert drawn.crop(box).getextrema()[0] < 100
