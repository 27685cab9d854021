"""A store with a promoted version that takes no training, and scorings of it as a person starts them."""

import hashlib
import json
import os
import subprocess
import sys
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pyarrow.parquet as pq
from serving import SmallModel, write_filters

from export.artifact import assemble
from export.graph.export import Graphs
from export.store.lineage import Lineage
from export.store.manifest import Manifest
from export.store.versions import Store, open_store
from jobs.scoring.plan import Plan, Request, cut, write_list
from jobs.scoring.source.picture import Picture

ROOT = Path(__file__).parent.parent


@dataclass(frozen=True)
class Scorer:
    """A folder with a store whose version 7 is promoted."""

    home: Path

    @property
    def store(self) -> Store:
        return open_store(str(self.home / "var" / "store"))

    def start(self, *arguments: str) -> subprocess.Popen[str]:
        return subprocess.Popen(
            [sys.executable, "-m", "jobs.cli", "score", *arguments],
            cwd=self.home,
            env={**os.environ, "PYTHONPATH": f"{ROOT}:{ROOT / 'kserve'}"},
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
            start_new_session=True,
        )

    def run(self, *arguments: str, code: int = 0, stdin: str | None = None) -> str:
        """Run it to its end; gives stdout, or stderr where another exit code than 0 is due."""
        process = self.start(*arguments) if stdin is None else self._told(*arguments)
        answered, said = process.communicate(stdin, timeout=120)
        assert process.returncode == code, said
        assert "Traceback" not in said
        return answered if code == 0 else said

    def _told(self, *arguments: str) -> subprocess.Popen[str]:
        return subprocess.Popen(
            [sys.executable, "-m", "jobs.cli", "score", *arguments],
            cwd=self.home,
            env={**os.environ, "PYTHONPATH": f"{ROOT}:{ROOT / 'kserve'}"},
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )

    def summary(self, *arguments: str, stdin: str | None = None) -> dict[str, Any]:
        made: dict[str, Any] = json.loads(self.run(*arguments, "--json", stdin=stdin))
        return made


def rows_of(out: Path) -> list[dict[str, Any]]:
    """The table, by any reader that takes a folder."""
    rows: list[dict[str, Any]] = pq.read_table(out).to_pylist()
    return rows


def pictures_of(count: int, length: int = 900) -> list[Picture]:
    return [Picture(f"{number:06}.jpg", b"/p/%06d" % number, length, f"s{number}") for number in range(count)]


def make_plan(found: list[Picture], **changes: object) -> tuple[Plan, bytes]:
    """A plan of these pictures, and its list."""
    shards = cut(found)
    content = write_list(found, shards)
    digest = hashlib.sha256(content).hexdigest()
    facts = {
        "id": "1",
        "created": datetime(2026, 11, 3, tzinfo=UTC),
        "created_by": "me",
        "request": Request(source="/p"),
        "kind": "files",
        "container": "",
        "stamp": "",
        "list_key": f"_plan/{digest[:16]}.arrow",
        "list_sha256": digest,
        "shards": tuple(shards),
        "seen": len(found),
        "remote": False,
        "model": "cnn-image",
        "version": 7,
        "precision": "float32",
        "graph_sha256": "g" * 64,
        "decoder": "2",
        "classes": ("cat", "dog"),
        "data_digest": "d" * 64,
        "commit": "c0ffee",
    }
    return Plan(**(facts | changes)), content  # type: ignore[arg-type]


def publish_small(store: Store, model: SmallModel, lineage: Lineage, scratch: Path) -> int:
    """Publish the model under its number and promote it."""
    store.blobs.put_if_absent(f"claims/{model.version - 1:06}", b"{}")
    model.write(scratch)
    write_filters(scratch / "filters.onnx")
    classifier = scratch / model.contract.model / str(model.version) / "model.onnx"

    def build(version: int, folder: Path) -> Manifest:
        return assemble(Graphs(classifier, scratch / "filters.onnx"), lineage, version, folder)

    version = store.publish(build).version
    after = len(store.ledger.entries())
    store.ledger.record("promote", version, by="me", reason="to have one", after=after)
    return version
