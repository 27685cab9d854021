"""The laptop's service with a real Triton: promotions without a failed request, and faults it gets over."""

import asyncio
import os
import signal
import subprocess
import sys
from collections import Counter
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import httpx
import numpy as np
import psutil
import pytest
from machine import free_port, wait_until
from serving import write_filters

from export.artifact import assemble
from export.graph.export import Graphs
from export.store.versions import Store, open_store
from jobs.errors import RefusedError, ReturnedError
from jobs.laptop.deployer import LaptopDeployer
from jobs.laptop.serving_folder import ServingFolder
from jobs.promotion.promote import promote, roll_back
from jobs.settings import Settings, load_settings
from model import contract
from model.data.sources import example_images
from model.images.decode import DECODER_VERSION, decode_image

pytestmark = pytest.mark.slow

ROOT = Path(__file__).parents[3]
IMAGES = [file.read_bytes() for file in example_images().values()]
PIXELS = np.stack([decode_image(data) for data in IMAGES])


@dataclass
class Site:
    """A folder as `cnn-image` works in it, with versions of small models, and the service of it."""

    home: Path
    settings: Settings
    store: Store
    models: dict[int, Any] = field(default_factory=dict)
    process: subprocess.Popen[bytes] | None = None

    @property
    def deployer(self) -> LaptopDeployer:
        return LaptopDeployer(self.settings, self.store)

    def promote(self, version: int) -> None:
        promote(
            self.store,
            self.deployer,
            version,
            judged_against=self.store.ledger.served(),
            decoder=DECODER_VERSION,  # as if it had been judged just now
            by="a test",
            reason="to see it served",
        )

    def start(self) -> None:
        with (self.home / "output.txt").open("ab") as output:
            self.process = subprocess.Popen(
                [sys.executable, "-m", "jobs.cli", "serve"],
                cwd=self.home,
                env={
                    **os.environ,
                    "CNN_IMAGE_STATE": str(self.settings.state),
                    "CNN_IMAGE_STORE": self.settings.store,
                    "PORT": str(self.settings.port),
                    "CNN_IMAGE_GRPC_PORT": str(self.settings.grpc_port),
                    "CNN_IMAGE_TRITON_VENV": str(ROOT / ".venv-triton"),
                    "PYTHONPATH": f"{ROOT}:{ROOT / 'kserve'}",
                },
                stdout=output,
                stderr=output,
            )

    def output(self) -> str:
        return (self.home / "output.txt").read_text()

    def ask(self, index: int = 0) -> httpx.Response:
        files = {"file": ("image.jpg", IMAGES[index])}
        return httpx.post(f"{self.settings.url}/predict", files=files, timeout=10)

    def is_up(self) -> bool:
        """Whether the service answers, from whatever version."""
        try:
            return self.ask().status_code == 200
        except httpx.TransportError:
            return False

    def answers(self, version: int) -> bool:
        """Whether the live service answers, from this version, as its model does."""
        try:
            response = self.ask()
        except httpx.TransportError:
            return False
        return response.status_code == 200 and self.right(response, 0) and served_by(response) == version

    def right(self, response: httpx.Response, index: int) -> bool:
        due = self.models[served_by(response)].probs(PIXELS[index : index + 1])[0]
        return bool(np.allclose(response.json()["probabilities"], due, atol=1e-5))


def served_by(response: httpx.Response) -> int:
    return int(response.headers["X-Model-Version"])


@pytest.fixture(scope="module")
def site(
    tmp_path_factory: pytest.TempPathFactory, small_model: Any, lineage: Callable[..., Any]
) -> Iterator[Site]:
    """Three versions, the first one promoted; the service is started by `running`."""
    home = tmp_path_factory.mktemp("site")
    port = free_port(2)
    settings = load_settings(state=home / "var", store=str(home / "store"), port=port, grpc_port=port + 1)
    site = Site(home, settings, open_store(settings.store_url))
    write_filters(home / "filters.onnx")
    for number in (1, 2, 3):
        model = type(small_model)(number)
        model.write(home / f"made-{number}")
        graph = home / f"made-{number}" / contract.MODEL_NAME / str(number) / "model.onnx"
        graphs = Graphs(graph, home / "filters.onnx")
        site.store.publish(lambda n, folder, graphs=graphs: assemble(graphs, lineage(), n, folder))
        site.models[number] = model
    site.store.ledger.record("promote", 1, by="a test", reason="first", after=0)
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("CNN_IMAGE_TRITON_VENV", str(ROOT / ".venv-triton"))
        yield site
    if site.process is not None and site.process.poll() is None:
        site.process.send_signal(signal.SIGINT)
        site.process.wait(60)


@pytest.fixture
def running(site: Site) -> Site:
    """The service, started if it does not run, with version 1 served."""
    if site.process is None or site.process.poll() is not None:
        site.start()
        wait_until(site.is_up, "the start of the service")
    if site.store.ledger.served() != 1:
        roll_back(site.store, site.deployer, 1, by="a test", reason="as it was")
    wait_until(lambda: site.answers(1), "the first answer")
    return site


@pytest.fixture
def broken(running: Site, lineage: Any) -> int:
    """A version whose classifier no Triton can load."""
    (running.home / "broken.onnx").write_bytes(b"\x08\x0acut short")
    graphs = Graphs(running.home / "broken.onnx", running.home / "filters.onnx")
    return running.store.publish(lambda n, folder: assemble(graphs, lineage(), n, folder)).version


class Load:
    """A steady load from several clients that leave the machine to what is tried under it.

    It remembers every answer that was not right.
    """

    def __init__(self, site: Site) -> None:
        self.site = site
        self.seen: Counter[int] = Counter()
        self.wrong: list[str] = []
        self._stop = asyncio.Event()

    async def client(self, number: int) -> None:
        async with httpx.AsyncClient(base_url=self.site.settings.url, timeout=10) as client:
            while not self._stop.is_set():
                await asyncio.sleep(0.01)
                index = (sum(self.seen.values()) + number) % len(IMAGES)
                try:
                    response = await client.post("/predict", files={"file": ("x.jpg", IMAGES[index])})
                except httpx.HTTPError as error:
                    self.wrong.append(repr(error))
                    continue
                if response.status_code != 200 or not self.site.right(response, index):
                    self.wrong.append(f"{response.status_code} {response.text[:200]}")
                else:
                    self.seen[served_by(response)] += 1

    async def until_seen(self, version: int, count: int = 50) -> None:
        async with asyncio.timeout(120):
            while self.seen[version] < count and not self.wrong:  # noqa: ASYNC110 - a plain counter
                await asyncio.sleep(0.05)

    async def __aenter__(self) -> "Load":
        self._clients = [asyncio.create_task(self.client(number)) for number in range(4)]
        return self

    async def __aexit__(self, *error: object) -> None:
        self._stop.set()
        await asyncio.gather(*self._clients)


async def test_no_request_fails_over_promotions_and_a_rollback(running: Site) -> None:
    async with Load(running) as load:
        await load.until_seen(1)
        await asyncio.to_thread(running.promote, 2)
        await load.until_seen(2)
        await asyncio.to_thread(running.promote, 3)
        await load.until_seen(3)
        entry = await asyncio.to_thread(
            roll_back, running.store, running.deployer, None, by="a test", reason="back"
        )
        assert entry.version == 2
        await load.until_seen(2, load.seen[2] + 50)
    assert load.wrong == []
    assert running.answers(2)


def test_the_pre_flight_loads_a_version_with_the_variant_that_will_serve_it(site: Site) -> None:
    settings = site.settings.model_copy(update={"variant": "cpu-4", "state": site.home / "preflight"})
    LaptopDeployer(settings, site.store).preflight(2)
    log = (settings.logs / "preflight.log").read_text()
    assert "cnn-image_0_3" in log  # four instances
    assert "cnn-image_0_4" not in log


def test_a_candidate_that_triton_cannot_load_changes_nothing(running: Site, broken: int) -> None:
    before = running.store.ledger.entries()
    with pytest.raises(RefusedError, match="Triton cannot load cnn-image"):
        running.promote(broken)
    assert running.store.ledger.entries() == before
    assert running.answers(1)


def test_a_version_that_the_service_cannot_load_is_taken_back(
    running: Site, broken: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    before = len(running.store.ledger.entries())
    with monkeypatch.context() as patch:
        patch.setattr(LaptopDeployer, "preflight", lambda self, version: None)
        with pytest.raises(ReturnedError, match="version 1 serves again"):
            running.promote(broken)
    entries = running.store.ledger.entries()[before:]
    assert [(entry.action, entry.version) for entry in entries] == [("promote", broken), ("return", 1)]
    assert "Triton cannot load cnn-image" in entries[1].reason
    assert running.answers(1)
    running.promote(2)  # and it goes on from there
    assert running.answers(2)


def test_a_service_that_answers_wrongly_is_taken_back(running: Site, monkeypatch: pytest.MonkeyPatch) -> None:
    verify = LaptopDeployer.verify

    def wrong_for_2(self: LaptopDeployer, version: int) -> None:
        verify(self, version)
        if version == 2:
            raise RefusedError("The service answers wrongly.")

    monkeypatch.setattr(LaptopDeployer, "verify", wrong_for_2)
    with pytest.raises(ReturnedError):
        running.promote(2)
    assert running.answers(1)


def children(site: Site) -> dict[str, psutil.Process]:
    assert site.process is not None
    found = psutil.Process(site.process.pid).children()
    return {"triton" if "tritonserver" in child.name() else "transformer": child for child in found}


@pytest.mark.parametrize("name", ["triton", "transformer"])
def test_a_process_that_is_killed_comes_back(running: Site, name: str) -> None:
    killed = children(running)[name]
    killed.kill()
    wait_until(lambda: not killed.is_running() or killed.status() == psutil.STATUS_ZOMBIE, "its end")
    wait_until(lambda: running.answers(1), "the next answer")
    assert name in running.output()


def test_nothing_outlives_a_supervisor_that_is_killed(running: Site) -> None:
    assert running.process is not None
    family = psutil.Process(running.process.pid).children(recursive=True)
    assert len(family) >= 2
    running.process.kill()
    running.process.wait()

    def gone() -> bool:
        return all(not child.is_running() or child.status() == psutil.STATUS_ZOMBIE for child in family)

    wait_until(gone, "the end of all children")
    assert ServingFolder(running.settings.serving).status() is None
    running.start()
    wait_until(lambda: running.answers(1), "an answer after a new start")


def test_ctrl_c_ends_everything_at_once(running: Site) -> None:
    assert running.process is not None
    family = psutil.Process(running.process.pid).children(recursive=True)
    running.process.send_signal(signal.SIGINT)
    assert running.process.wait(60) == 0
    _, alive = psutil.wait_procs(family, timeout=60)
    assert [child for child in alive if child.status() != psutil.STATUS_ZOMBIE] == []
    assert "Traceback" not in running.output()


def test_a_store_that_is_away_ends_no_service(running: Site) -> None:
    there, away = Path(running.store.url), running.home / "away"
    there.rename(away)
    there.write_text("not a folder")
    assert running.answers(1)
    there.unlink()
    away.rename(there)
    running.promote(2)
    assert running.answers(2)


def test_a_second_service_of_one_folder_is_refused(running: Site) -> None:
    port = free_port(2)
    done = subprocess.run(
        [sys.executable, "-m", "jobs.cli", "serve"],
        cwd=running.home,
        env={
            **os.environ,
            "CNN_IMAGE_STATE": str(running.settings.state),
            "CNN_IMAGE_STORE": running.settings.store,
            "PORT": str(port),
            "CNN_IMAGE_GRPC_PORT": str(port + 1),
            "PYTHONPATH": f"{ROOT}:{ROOT / 'kserve'}",
        },
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )
    assert done.returncode == 2
    assert running.settings.url in done.stderr
    assert "Traceback" not in done.stderr
