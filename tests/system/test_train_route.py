"""POST /train on the laptop: trains for real, and what it made is served without a failed request."""

import time
from collections import Counter
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from threading import Event
from typing import Any

import httpx
import pytest

from export.store.versions import open_store
from model.data.sources import example_images

pytestmark = pytest.mark.slow

TOKEN = {"authorization": "Bearer secret"}
SECONDS = 600


@pytest.fixture
def site(served: Any, start_run: Callable[..., Any]) -> Any:
    """The session's version, served again elsewhere with training switched on."""
    run = start_run(copy_of=served, CNN_IMAGE_TRAIN_API="true", CNN_IMAGE_TRAIN_TOKEN="secret")
    run.wait_serving()
    return run


@contextmanager
def steady_load(url: str) -> Iterator[Counter[tuple[int, str]]]:
    """Two clients that ask all the time, but leave the machine to the training; counts (status, version)."""
    (image, *_) = [path.read_bytes() for path in example_images().values()]
    seen: Counter[tuple[int, str]] = Counter()
    ended = Event()

    def ask() -> None:
        with httpx.Client(base_url=url, timeout=30) as client:
            while not ended.wait(0.02):
                answer = client.post("/predict", files={"file": ("a.jpg", image)})
                seen[answer.status_code, answer.headers.get("X-Model-Version", "")] += 1

    with ThreadPoolExecutor(2) as threads:
        clients = [threads.submit(ask) for _ in range(2)]
        try:
            yield seen
        finally:
            ended.set()
    for client in clients:
        client.result()


def test_a_training_by_http_is_served_without_a_failed_request(site: Any) -> None:
    before = site.version
    with httpx.Client(base_url=site.url, timeout=60) as client, steady_load(site.url) as seen:
        assert client.post("/train", json={"epochs": 2}).status_code == 401
        started = client.post("/train", json={"epochs": 2}, headers={**TOKEN, "prefer": "respond-async"})
        assert started.status_code == 202, started.text
        where = started.headers["location"]
        second = client.post("/train", json={"epochs": 2}, headers=TOKEN)
        assert (second.status_code, second.json()["code"]) == (409, "training_under_way")

        said = set()
        deadline = time.monotonic() + SECONDS
        while (outcome := client.get(where, headers=TOKEN).json())["status"] == "running":
            said.add(outcome["detail"])
            assert time.monotonic() < deadline, said
            time.sleep(0.2)
        assert outcome["status"] == "success", outcome
        assert any("epoch 1/2" in line for line in said), said
        made = int(outcome["model_path"].rpartition("/")[2])
        while not seen[200, str(made)]:
            assert time.monotonic() < deadline, seen
            time.sleep(0.02)

    store = open_store(str(site.home / "var" / "store"))
    assert outcome.keys() == {"status", "metrics", "model_path"}
    assert outcome["metrics"].keys() == {"accuracy", "val_accuracy", "loss", "val_loss"}
    assert made > int(before)
    assert outcome["metrics"] == store.manifest(made).metrics
    assert outcome["model_path"].endswith(f"versions/{made:06}")
    assert store.ledger.served() == made
    assert {status for status, _ in seen} == {200}, seen
    assert {version for _, version in seen} == {before, str(made)}
