"""`python -m benchmarks.dashboard`: the chart's dashboard as a picture, of a laptop's service under load.

`make run` serves in another terminal, with two versions in its store. A real Prometheus scrapes its
transformer and its Triton, clients ask it, a few of them for nonsense, halfway the other version is promoted,
and in the last third every fourth picture is noise. Then every panel of the dashboard is drawn by what
Prometheus answers to the panel's own queries.
"""

import argparse
import io
import itertools
import json
import math
import shutil
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

import httpx
import matplotlib as mpl
import numpy as np
import psutil  # type: ignore[import-untyped] # its stubs are a package of their own
import yaml
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import FuncFormatter, MultipleLocator
from PIL import Image

from benchmarks.serving.photographs import small_images
from benchmarks.serving.services import Service, ServiceError, free_ports
from jobs.laptop.serving_folder import ServingFolder, Status
from jobs.settings import Settings

ROOT: Final = Path(__file__).parents[1]
DASHBOARD: Final = ROOT / "charts" / "cnn-image" / "files" / "dashboard.json"
NAMESPACE: Final = "laptop"
SCRAPE_SECONDS: Final = 1
CONNECTIONS: Final = (2, 16, 4)
"""Of clients, a third of the time each."""
NONSENSE: Final = 40
"""Every so many requests one is no picture."""
PICTURES: Final = 300
NOISE: Final = 100
"""Pictures of noise beside them, in the last third."""
_UNITS: Final = {
    **{"s": (1e3, "ms"), "µs": (1e-3, "ms"), "reqps": (1, "a second"), "ops": (1, "a second")},
    "percentunit": (100, "%"),
}
_COLUMN_INCHES: Final = 0.5
_ROW_INCHES: Final = 0.32


class DashboardError(RuntimeError):
    """The picture cannot be made; the sentence says what to do."""


@dataclass(frozen=True)
class Line:
    """A series of a panel: its name, and its values at times in seconds from the first scrape."""

    name: str
    times: list[float]
    values: list[float]


def queries(panel: dict[str, Any]) -> Iterator[tuple[str, str]]:
    """A panel's queries as Grafana would send them, each with the pattern of its legend.

    Args:
        panel: Of a dashboard's JSON.
    """
    for target in panel.get("targets", []):
        query = target["expr"].replace("$namespace", NAMESPACE)
        yield query.replace("$__rate_interval", f"{10 * SCRAPE_SECONDS}s"), target["legendFormat"]


def named(legend: str, labels: dict[str, str]) -> str:
    """The name of a series, as Grafana makes it of `{{label}}`."""
    for label, value in labels.items():
        legend = legend.replace("{{" + label + "}}", value)
    return legend


def lines(url: str, panel: dict[str, Any], start: float, end: float) -> list[Line]:
    """What Prometheus answers to a panel's queries, a value a scrape."""
    found = []
    for query, legend in queries(panel):
        asked: dict[str, str | float] = {"query": query, "start": start, "end": end, "step": SCRAPE_SECONDS}
        answer = httpx.get(f"{url}/api/v1/query_range", params=asked, timeout=30).json()
        if answer["status"] != "success":
            raise DashboardError(f"Prometheus refuses {panel['title']!r}: {answer['error']}")
        for series in answer["data"]["result"]:
            values = [(when - start, float(value)) for when, value in series["values"]]
            kept = [(when, value) for when, value in values if not math.isnan(value)]
            name = named(legend, series["metric"])
            found.append(Line(name, [when for when, _ in kept], [value for _, value in kept]))
    return found


def draw(panels: list[tuple[dict[str, Any], list[Line]]], out: Path) -> None:
    """Draw panels where the dashboard has them.

    Args:
        panels: Each with what it shows.
        out: A picture's file; its suffix says which kind.
    """
    places = [panel["gridPos"] for panel, _ in panels]
    width = max(place["x"] + place["w"] for place in places)
    height = max(place["y"] + place["h"] for place in places)
    with mpl.rc_context({"font.size": 8, "axes.spines.top": False, "axes.spines.right": False}):
        figure = Figure((width * _COLUMN_INCHES, height * _ROW_INCHES))
        for (panel, shown), place in zip(panels, places, strict=True):
            left, bottom = place["x"] / width, 1 - (place["y"] + place["h"]) / height
            wide, high = place["w"] / width, place["h"] / height
            inner = (left + 0.1 * wide, bottom + 0.27 * high, 0.86 * wide, 0.6 * high)
            _panel(figure.add_axes(inner), panel, shown)
        figure.savefig(out, dpi=100, facecolor="white")


def _panel(axes: Axes, panel: dict[str, Any], shown: list[Line]) -> None:
    defaults = panel["fieldConfig"]["defaults"]
    scale, unit = _UNITS.get(defaults.get("unit"), (1, ""))
    for line in shown:
        axes.plot(line.times, [value * scale for value in line.values], label=line.name, linewidth=1.2)
    axes.set_title(panel["title"] + (f" ({unit})" if unit else ""), loc="left", fontweight="bold")
    axes.set_ylim(
        *(limit * scale if limit is not None else None for limit in map(defaults.get, ("min", "max")))
    )
    axes.yaxis.set_major_formatter(FuncFormatter(lambda value, _: f"{value:,.4g}"))
    axes.xaxis.set_major_locator(MultipleLocator(30))
    axes.xaxis.set_major_formatter(FuncFormatter(lambda at, _: f"{int(at) // 60}:{int(at) % 60:02}"))
    axes.grid(visible=True, color="#e5e5e5", linewidth=0.6)
    if shown:
        axes.legend(loc="upper left", bbox_to_anchor=(0, -0.1), ncols=3, frameon=False)
    else:
        axes.text(0.5, 0.5, "none", transform=axes.transAxes, ha="center", color="#777777")


def scraped(status: Status) -> dict[str, str]:
    """Where the metrics of a laptop's service are: `transformer` and `triton` → host and port.

    Raises:
        DashboardError: Its Triton is not found.
    """
    flag = "--metrics-port="
    for child in psutil.Process(status.pid).children(recursive=True):
        for argument in child.cmdline():
            if argument.startswith(flag):
                address = httpx.URL(status.url).netloc.decode()
                return {"transformer": address, "triton": f"127.0.0.1:{argument.removeprefix(flag)}"}
    raise DashboardError(
        "The service's Triton is not found among its processes: end `make run`, and start it again."
    )


@contextmanager
def prometheus(targets: dict[str, str], folder: Path) -> Iterator[str]:
    """A Prometheus that scrapes some addresses, as the address of its own.

    Args:
        targets: Name of a pod → host and port of its metrics.
        folder: For its files.

    Raises:
        DashboardError: The program is missing.
    """
    beside = Path.home() / ".cache" / "cnn-image" / "bin" / "prometheus"
    program = shutil.which("prometheus") or (str(beside) if beside.exists() else None)
    if program is None:
        raise DashboardError("Prometheus is missing: tests/cluster/build-prometheus builds it, with Go.")
    groups = [
        {"targets": [address], "labels": {"namespace": NAMESPACE, "pod": pod}}
        for pod, address in targets.items()
    ]
    every = f"{SCRAPE_SECONDS}s"
    scrapes = [
        {"job_name": "laptop", "scrape_interval": every, "scrape_timeout": every, "static_configs": groups}
    ]
    config = folder / "prometheus.yml"
    config.write_text(yaml.safe_dump({"scrape_configs": scrapes}))
    (port,) = free_ports(1)
    url = f"http://127.0.0.1:{port}"
    command = [program, f"--config.file={config}", f"--storage.tsdb.path={folder / 'tsdb'}"]
    with Service(
        "Prometheus", [*command, f"--web.listen-address=127.0.0.1:{port}"], f"{url}/-/ready", folder / "log"
    ):
        yield url


def noise(count: int) -> list[bytes]:
    """Pictures that are unlike anything learned: each pixel of any colour, as PNG."""
    random = np.random.default_rng(0)
    files = []
    for _ in range(count):
        file = io.BytesIO()
        Image.fromarray(random.integers(0, 256, (32, 32, 3), np.uint8)).save(file, "PNG")
        files.append(file.getvalue())
    return files


def ask(url: str, images: Sequence[bytes], connections: int, ends: threading.Event) -> None:
    """Send images, one after the other on each connection, until the event is set."""

    def client(first: int) -> None:
        with httpx.Client(timeout=30) as http:
            for count in itertools.count(first):
                if ends.is_set():
                    return
                body = images[count * 7 % len(images)] if count % NONSENSE else b"no image"
                http.post(
                    f"{url}/predict", content=body, headers={"Content-Type": "application/octet-stream"}
                )

    with ThreadPoolExecutor(connections) as pool:
        list(pool.map(client, range(1, connections + 1)))


def drive(status: Status, seconds: float, promoted: int) -> None:
    """Load the service for some time, and promote a version halfway."""
    promotion = threading.Timer(seconds / 2, promote, [promoted])
    promotion.start()
    images = small_images(PICTURES)
    mixed = [*images, *noise(NOISE)]
    for part, connections in enumerate(CONNECTIONS):
        print(f"{connections} connections for {seconds / len(CONNECTIONS):.0f} s", flush=True)
        ends = threading.Event()
        timer = threading.Timer(seconds / len(CONNECTIONS), ends.set)
        timer.start()
        ask(status.url, mixed if part == len(CONNECTIONS) - 1 else images, connections, ends)
    promotion.join()


def promote(version: int) -> None:
    """Promote a version as a user does, whatever the gate says of it."""
    program = Path(sys.executable).with_name("cnn-image")
    subprocess.run(
        [program, "promote", str(version), "--override-gate", "for a picture of the dashboard"], check=True
    )


def other_version(settings: Settings, status: Status) -> int:
    """The latest version that is not served now.

    Raises:
        DashboardError: There is none.
    """
    others = [version for version in settings.open_store().numbers() if version != status.version]
    if not others:
        raise DashboardError("The store has one version: `cnn-image retrain` publishes another.")
    return max(others)


def main() -> None:
    """Load, scrape, draw; a problem ends in one sentence."""
    flags = argparse.ArgumentParser(description=__doc__)
    flags.add_argument("--seconds", type=float, default=180)
    flags.add_argument("--out", type=Path, default=ROOT / "docs" / "pictures" / "dashboard.webp")
    arguments = flags.parse_args()
    settings = Settings()
    try:
        status = ServingFolder(settings.serving, settings.model).status()
        if status is None:
            raise DashboardError("No service runs here: start it with `make run` in another terminal.")
        promoted = other_version(settings, status)
        with tempfile.TemporaryDirectory() as folder, prometheus(scraped(status), Path(folder)) as url:
            start = time.time()
            drive(status, arguments.seconds, promoted)
            panels = json.loads(DASHBOARD.read_text())["panels"]
            end = time.time()
            draw([(panel, lines(url, panel, start, end)) for panel in panels], arguments.out)
    except (DashboardError, ServiceError) as error:
        sys.exit(str(error))
    print(f"wrote {arguments.out}")


if __name__ == "__main__":
    main()
