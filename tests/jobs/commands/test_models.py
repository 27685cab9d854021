"""`cnn-image models`: what is known of each model, and one that is broken spoils nothing of the others."""

import json
import os
import threading
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import pytest
from command_line import run
from machine import free_port

from export.store.blobs import FolderBlobs
from export.store.versions import Store
from jobs.gate.attached import attach_verdict
from jobs.laptop.serving_folder import Failed, ServingFolder, Status
from model.contract import DEFAULT_CONTRACT
from model.data.remote import s3_client

Make = Callable[..., Store]


class Healthy(BaseHTTPRequestHandler):
    """A service that answers /health."""

    def do_GET(self) -> None:
        self.send_response(200)
        self.end_headers()
        self.wfile.write(b"{}")

    def log_message(self, *arguments: object) -> None: ...


@pytest.fixture
def url() -> Iterator[str]:
    server = ThreadingHTTPServer(("127.0.0.1", 0), Healthy)
    threading.Thread(target=server.serve_forever, args=(0.02,), daemon=True).start()
    yield f"http://127.0.0.1:{server.server_port}"
    server.shutdown()
    server.server_close()


@pytest.fixture
def in_service() -> Iterator[Callable[..., None]]:
    """Lets a model have a service, as it says itself."""
    with ExitStack() as stack:

        def serve(home: Path, url: str, **status: Any) -> None:
            folder = ServingFolder(home / "serving")
            stack.enter_context(folder.claim())
            facts = {"state": "serving", "version": 1, "triton_url": "http://127.0.0.1:1", "variant": "cpu-2"}
            folder.write_status(Status(pid=os.getpid(), url=url, **(facts | status)))

        yield serve


@pytest.fixture
def make(home: Path, build: Any, verdict: Any) -> Make:
    """Makes a model with two versions, the first one promoted and judged."""

    def make(name: str = "", accuracy: float = 0.8) -> Store:
        store = Store(FolderBlobs(home / "var" / (f"models/{name}" if name else "") / "store"))
        for _ in range(2):
            store.publish(build)
        store.ledger.record("promote", 1, by="me", reason="why", after=0)
        attach_verdict(store, verdict(1, accuracy), {})
        return store

    return make


def listed() -> dict[str, dict[str, Any]]:
    result = run("models", "--json")
    assert result.exit_code == 0, result.output
    return {row["model"]: row for row in json.loads(result.stdout)}


def test_nothing_is_there_yet(home: Path) -> None:
    result = run("models")
    assert (result.exit_code, result.stdout) == (0, "")
    assert "There is no model in var yet; `cnn-image run` makes one." in result.stderr


def test_a_row_says_how_good_a_model_is_and_where_it_is_served(
    home: Path, make: Make, in_service: Callable[..., None], url: str
) -> None:
    make(accuracy=0.75)
    in_service(home / "var", url)
    assert listed() == {
        "cnn-image": {
            "model": "cnn-image",
            "store": str(home / "var/store"),
            "versions": 2,
            "promoted": 1,
            "precision": "float32",
            "classes": 5,
            "size": 32,
            "test_accuracy": 0.75,
            "data": "here",
            "url": url,
            "pid": os.getpid(),
            "served": 1,
            "problem": None,
        }
    }
    row = run("models").stdout.splitlines()[1]
    told = ["cnn-image", "2", "1", "float32", "5", "32", "0.750", url, "(version", "1,", "process"]
    assert row.split() == [*told, f"{os.getpid()})"]


def manifest(store: Store) -> Path:
    return Path(store.url, "versions/000001/manifest.json")


@pytest.mark.parametrize(
    ("harm", "told"),
    [
        (lambda store: manifest(store).write_text("{}"), "000001/manifest.json is not a manifest"),
        (
            lambda store: next(Path(store.url).rglob("1/model.onnx")).write_bytes(b"x"),
            "model.onnx is not what was published (digest)",
        ),
        (lambda store: Path(store.url, "ledger/000001.json").write_text("{}"), "is no ledger entry"),
        (lambda store: Path(store.url).rename(Path(store.url + "-away")), None),
    ],
    ids=["manifest", "graph", "ledger", "gone"],
)
def test_one_that_is_broken_says_why_and_the_others_are_untouched(
    harm: Callable[[Store], object], told: str | None, home: Path, make: Make, build: Any
) -> None:
    make()
    photos = Store(FolderBlobs(home / "var/models/photos/store"))
    contract = DEFAULT_CONTRACT.__class__(**vars(DEFAULT_CONTRACT) | {"model": "photos"})

    def as_photos(number: int, folder: Path) -> Any:
        made = build(number, folder)
        for name in ("cnn-image", "cnn-image-filters"):
            (folder / name).rename(folder / name.replace("cnn-image", "photos"))
        files = {path.replace("cnn-image", "photos"): digest for path, digest in made.files.items()}
        return type(made)(**dict(made) | {"contract": contract, "files": files})

    photos.publish(as_photos)
    photos.ledger.record("promote", 1, by="me", reason="why", after=0)
    before = listed()
    assert [row["problem"] for row in before.values()] == [None, None]
    assert before["photos"]["promoted"] == 1
    harm(photos)
    (home / "var/models/photos/runs").mkdir()
    after = listed()
    assert after["cnn-image"] == before["cnn-image"]
    if told is None:
        assert (after["photos"]["versions"], after["photos"]["promoted"]) == (0, None)
    else:
        assert told in after["photos"]["problem"]
        assert told in run("models").stdout


def test_one_whose_store_does_not_answer_says_so_and_the_others_are_shown(
    home: Path, make: Make, in_service: Callable[..., None], url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    make()
    before = listed()
    for name, value in {
        "AWS_ACCESS_KEY_ID": "somebody",
        "AWS_SECRET_ACCESS_KEY": "something",
        "AWS_ENDPOINT_URL": f"http://127.0.0.1:{free_port()}",
    }.items():
        monkeypatch.setenv(name, value)
    monkeypatch.setattr(s3_client, "_ATTEMPTS", 1)  # of botocore's, whose pauses take three seconds
    in_service(home / "var/models/remote", url, store="s3://models/remote")
    after = listed()
    assert after["cnn-image"] == before["cnn-image"]
    away = after["remote"]
    assert (away["store"], away["versions"], away["promoted"]) == ("s3://models/remote", None, None)
    assert (away["url"], away["served"]) == (url, 1)  # as before: a service needs no store to go on
    assert away["problem"] == (
        f"The S3 at {os.environ['AWS_ENDPOINT_URL']} does not answer (EndpointConnectionError); check "
        "AWS_ENDPOINT_URL and the network, then try again."
    )


def test_a_store_of_another_model_and_a_folder_that_is_none_are_told(home: Path, make: Make) -> None:
    make("photos")  # whose versions are the default's
    make("No name")
    rows = listed()
    assert rows["photos"]["problem"] == (
        f"{home}/var/models/photos/store holds versions of the model cnn-image, not of photos: go on with "
        "`--model cnn-image`, or name another store."
    )
    assert "No name" in rows["No name"]["problem"]


def test_a_service_that_is_in_trouble_is_told(
    home: Path, make: Make, in_service: Callable[..., None], url: str
) -> None:
    make()
    away = home / "var/models"
    for name, where, more in (
        ("starts", url, {"state": "starting", "version": None}),
        ("silent", "http://127.0.0.1:9", {}),
        ("stays", url, {"failed": Failed(entry=2, version=2, reason="Triton cannot load it.")}),
    ):
        in_service(away / name, where, **more)
    rows = listed()
    assert (rows["starts"]["served"], rows["starts"]["url"], rows["starts"]["problem"]) == (None, url, None)
    assert rows["silent"]["problem"].startswith("http://127.0.0.1:9/health does not answer")
    assert rows["stays"]["problem"] == "Version 2 cannot be served: Triton cannot load it."
    assert f"{url} (starting, process {os.getpid()})" in run("models").stdout


def test_a_store_elsewhere_is_known_by_the_service_that_runs_from_it(
    home: Path, make: Make, in_service: Callable[..., None], url: str
) -> None:
    store = make()
    elsewhere = home / "elsewhere"
    Path(store.url).rename(elsewhere)
    in_service(home / "var", url, store=str(elsewhere))
    assert (listed()["cnn-image"]["store"], listed()["cnn-image"]["versions"]) == (str(elsewhere), 2)
