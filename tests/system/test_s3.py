"""The laptop on a real S3: it serves the version promoted there, and goes on while the S3 is away."""

import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

import httpx
import pytest
from machine import wait_until
from minio_server import StartMinio

from export.store.versions import open_store
from model.data.sources import example_images

pytestmark = pytest.mark.slow


def ask(url: str) -> httpx.Response:
    image = next(iter(example_images().values())).read_bytes()
    return httpx.post(f"{url}/predict", files={"file": ("a.jpg", image)}, timeout=30)


def test_serving_from_s3(
    served: Any, start_run: Callable[..., Any], start_minio: StartMinio, monkeypatch: pytest.MonkeyPatch
) -> None:
    minio = start_minio()
    for name in [name for name in os.environ if name.startswith("AWS_")]:
        monkeypatch.delenv(name)
    for name, value in minio.environment().items():
        monkeypatch.setenv(name, value)
    store = open_store(f"s3://{minio.make_bucket()}/some/prefix")
    folder: Path = served.home / "var" / "store"
    for path in sorted(
        path for part in ("versions", "ledger", "attachments") for path in (folder / part).rglob("*.*")
    ):
        store.blobs.put_if_absent(path.relative_to(folder).as_posix(), path.read_bytes())
    store.verify(int(served.version))

    run = start_run(CNN_IMAGE_STORE=store.url)
    run.wait_serving()
    answer = ask(run.url)
    assert (answer.status_code, answer.headers["X-Model-Version"]) == (200, served.version)
    assert answer.json() == ask(served.url).json()

    minio.stop()
    wait_until(lambda: "is served on" in run.output.split("Ctrl-C")[1], "its note that the S3 is away")
    assert ask(run.url).json() == answer.json()
    minio.start()
    assert run.interrupt() in {0, 130}
