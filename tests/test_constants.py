"""Every constant that was taken over from elsewhere, against its source: docs/constants.md is the table."""

import json
import os
import re
import shutil
import subprocess
import urllib.request
from collections.abc import Iterator
from dataclasses import dataclass
from functools import cache
from importlib.metadata import Distribution, distributions
from pathlib import Path

import pytest
from machine import wait_until
from serving import RunningTriton

from image_transformer.observe.metrics import Metrics

ROOT = Path(__file__).parents[1]
TABLE = ROOT / "docs" / "constants.md"
TRITON = ROOT / ".venv-triton" / "lib" / "python3.11" / "site-packages"
REQUIRED = os.environ.get("CNN_IMAGE_REQUIRE_ALL") == "1"

# What is looked for in our files, and where: kinds of names that belong to others.
KINDS = re.compile(
    r"(?<![\w./-])(?:"
    r"(?:[a-z]+[.-])*(?:kserve\.io|kubernetes\.io|prometheus\.io|helm\.sh|nvidia\.com|amazonaws\.com)/[A-Za-z][\w.-]+"
    r"|nv_[a-z_]+"
    r"|(?:AWS|MLFLOW|MINIO|KERAS|TF|OMP|CUDA|XLA|NVIDIA)_[A-Z0-9_]+"
    r")(?![\w/*])"
)
SEARCHED = ("charts/cnn-image", "jobs", "model", "export", "kserve", "docs/kubernetes.md")
# API groups with their versions: what the API server itself refuses, in tests/cluster.
VERSIONS = re.compile(r"/v\d")


@dataclass(frozen=True)
class Row:
    """Constants that share a source."""

    constants: tuple[str, ...]
    used: tuple[str, ...]
    source: str
    places: tuple[str, ...]
    looked_for: tuple[str, ...]
    wrong: str

    def __str__(self) -> str:
        return self.constants[0]


def _ticked(cell: str) -> tuple[str, ...]:
    return tuple(re.findall(r"`([^`]*)`", cell))


def _rows() -> Iterator[Row]:
    for line in TABLE.read_text().splitlines():
        cells = [cell.strip() for cell in line.strip("|").split(" | ")]
        if not line.startswith("| `"):
            continue
        if len(cells) == 4:  # not checked
            constants, used, looked_at, wrong = cells
            yield Row(_ticked(constants), _ticked(used), "", (), (), f"{looked_at}{wrong}")
            continue
        constants, used, source, place, wrong = cells
        path, _, literals = place.partition("(")
        yield Row(
            _ticked(constants),
            _ticked(used),
            source,
            _ticked(path),
            _ticked(literals) or _ticked(constants),
            wrong,
        )


ROWS = list(_rows())


def _pypi(source: str) -> Path:
    """The folder of an installed package, whose version must be the table's."""
    _, name, version = source.split()
    where: list[Distribution] = list(distributions()) + list(distributions(path=[str(TRITON)]))
    found = [one for one in where if re.sub("[-.]", "_", one.name).lower() == name]
    if not found:
        pytest.skip(f"{name} is not installed")
    assert version in {"*", found[0].version}, f"{name} is at {found[0].version} by now"
    return Path(str(found[0].locate_file("")))


@cache
def _go(module: str, version: str) -> Path:
    """The folder of a Go module; Go fetches it once a machine."""
    if not REQUIRED and shutil.which("go") is None:
        pytest.skip("Go, which fetches the sources, is not installed")
    done = subprocess.run(
        ["go", "mod", "download", "-json", f"{module}@{version}"],
        cwd="/",
        env=os.environ | {"GOFLAGS": "-mod=mod"},
        capture_output=True,
        text=True,
        check=False,
    )
    answer = json.loads(done.stdout)
    if "Error" in answer and not REQUIRED:
        pytest.skip(f"Go cannot fetch {module}: {answer['Error']}")
    assert "Error" not in answer, answer
    return Path(answer["Dir"])


@cache
def _triton_help() -> str:
    server = TRITON / "pytriton" / "tritonserver" / "bin" / "tritonserver"
    if not REQUIRED and not server.exists():
        pytest.skip("Triton is not installed")
    libraries = os.environ | {"LD_LIBRARY_PATH": str(TRITON / "nvidia_pytriton.libs")}
    done = subprocess.run([server, "--help"], env=libraries, capture_output=True, text=True, check=False)
    return done.stdout + done.stderr


def _source(row: Row) -> str:
    """The source's text, of all places in it."""
    if row.source == "Triton":
        return _triton_help()
    folder = _go(*row.source.split()[1:]) if row.source.startswith("Go ") else _pypi(row.source)
    files = [file for place in row.places for file in sorted(folder.glob(place))]
    assert len(files) >= len(row.places), f"{row.source} has not all of {row.places}"
    return "".join(file.read_bytes().decode("latin-1") for file in files)


@pytest.mark.parametrize("row", ROWS, ids=str)
def test_it_is_what_our_files_say(row: Row) -> None:
    texts = [(ROOT / path).read_text() for path in row.used]
    for constant in row.constants:
        assert any(constant in text for text in texts), f"{constant} is in none of {row.used}"
    for path, text in zip(row.used, texts, strict=True):
        assert any(constant in text for constant in row.constants), f"{path} has none of {row.constants}"
    assert row.wrong


@pytest.mark.slow
@pytest.mark.parametrize("row", [row for row in ROWS if row.source and row.places != ("/metrics",)], ids=str)
def test_it_is_what_its_source_says(row: Row) -> None:
    text = _source(row)
    assert [each for each in row.looked_for if not re.search(_whole(each), text)] == []


def _whole(literal: str) -> str:
    """A pattern that finds it where no longer name begins with it."""
    return re.escape(literal) + (r"(?![\w-])" if literal[-1].isalnum() else "")


@pytest.mark.slow
def test_triton_has_the_metrics_that_the_dashboard_asks_for(small_triton: RunningTriton) -> None:
    address = f"http://127.0.0.1:{small_triton.metrics_port}/metrics"

    def asked() -> str:  # Triton listens here a moment after its models are ready
        try:
            with urllib.request.urlopen(address, timeout=30) as answer:
                return str(answer.read().decode())
        except OSError:
            return ""

    wait_until(lambda: bool(asked()), "Triton's metrics")
    text = asked()
    (row,) = (row for row in ROWS if row.places == ("/metrics",))
    for metric in row.constants:
        assert re.search(rf'^{metric}{{.*model="cnn-image".*version="', text, re.MULTILINE), metric


def test_every_constant_of_these_kinds_is_in_the_table() -> None:
    known = {constant for row in ROWS for constant in row.constants}
    unknown: dict[str, str] = {}
    for place in SEARCHED:
        path = ROOT / place
        for file in [path] if path.is_file() else sorted(path.rglob("*")):
            if not file.is_file() or "__pycache__" in file.parts or file.suffix in {".zip", ".jpg"}:
                continue
            for found in KINDS.findall(file.read_text(errors="replace")):
                if found not in known and not VERSIONS.search(found):
                    unknown[found] = str(file.relative_to(ROOT))
    assert unknown == {}


def test_the_dashboard_and_the_alert_rules_ask_for_metrics_that_the_transformer_has() -> None:
    files = ROOT / "charts" / "cnn-image" / "files"
    asked = set(
        re.findall(
            r"\bcnn_image_\w+", (files / "rules.yaml").read_text() + (files / "dashboard.json").read_text()
        )
    )
    ends = {"counter": ["_total"], "gauge": [""], "histogram": ["_bucket", "_sum", "_count"]}
    made = {family.name + end for family in Metrics().collect() for end in ends[family.type]}
    assert asked - made == set()
