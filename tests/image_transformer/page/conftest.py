"""A real Chromium on the page of real services, and what looks over its shoulder."""

import fcntl
import shutil
import subprocess
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from machine import missing, program
from playwright.sync_api import Browser, BrowserContext, Page, expect, sync_playwright
from serving import RunningTransformer, RunningTriton, SmallModel, transformers, tritons

from model.contract import FILTER_BANK, FILTERED_NAME, INPUT_NAME, OUTPUT_NAME, Contract, filters_model
from model.network.filters import KERNELS

TOOLS = Path(__file__).parents[3] / "var" / "tools"
AXE = "axe-core@4.14.1"
_PATIENCE = 60_000  # milliseconds, for a busy machine
_LATE = (503, 504)  # what it may be told of a busy Triton; the page asks again

THOUSAND = Contract(
    classes=("<b id=bold> & bad", *(f"class {number:03}" for number in range(999))),
    model="thousand",
    filters=(),
)
"""As many classes as there may be, one of them with a hostile name."""


@dataclass
class Site:
    """Two services on one Triton: five classes with their filters; a thousand without, and little room."""

    five: RunningTransformer
    thousand: RunningTransformer
    five_model: SmallModel
    thousand_model: SmallModel
    triton: RunningTriton


@pytest.fixture(scope="module")
def site(small_model: SmallModel, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Site]:
    repository = tmp_path_factory.mktemp("pages")
    thousand = SmallModel(7, THOUSAND)
    small_model.write(repository)
    thousand.write(repository)
    write_filters(repository, small_model)
    with (
        tritons(tmp_path_factory.mktemp("triton")) as start_triton,
        transformers(tmp_path_factory.mktemp("transformer")) as start,
    ):
        triton = start_triton(repository)
        others = start(triton.address, model_name=THOUSAND.model, max_held_bytes=3_000_000)
        yield Site(start(triton.address), others, small_model, thousand, triton)


def write_filters(repository: Path, beside: SmallModel) -> None:
    """Writes the filters model beside a small one: its kernels as one convolution a filter."""
    import onnx
    from onnx import TensorProto, helper, numpy_helper

    name, size = filters_model(beside.contract.model), beside.contract.size
    nodes = [
        helper.make_node("Cast", [INPUT_NAME], ["real"], to=TensorProto.FLOAT),
        helper.make_node("Mul", ["real", "scale"], ["scaled"]),
        helper.make_node("Transpose", ["scaled"], ["planes"], perm=[0, 3, 1, 2]),
        *(
            helper.make_node(
                "Conv", ["planes", f"{one}_kernel"], [f"{one}_planes"], group=3, pads=[1, 1, 1, 1]
            )
            for one in FILTER_BANK
        ),
        helper.make_node("Concat", [f"{one}_planes" for one in FILTER_BANK], ["all"], axis=1),
        helper.make_node("Transpose", ["all"], [FILTERED_NAME], perm=[0, 2, 3, 1]),
    ]
    weights = {one: np.tile(KERNELS[one], (3, 1, 1, 1)) for one in FILTER_BANK}
    graph = helper.make_graph(
        nodes,
        "filters",
        [helper.make_tensor_value_info(INPUT_NAME, TensorProto.UINT8, ["batch", size, size, 3])],
        [helper.make_tensor_value_info(FILTERED_NAME, TensorProto.FLOAT, ["batch", size, size, 12])],
        [
            numpy_helper.from_array(np.float32(1 / 255), "scale"),
            *(numpy_helper.from_array(kernel, f"{one}_kernel") for one, kernel in weights.items()),
        ],
    )
    made = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 18)], ir_version=10)
    folder = repository / name / str(beside.version)
    folder.mkdir(parents=True)
    onnx.save(made, folder / "model.onnx")
    config = beside.config(instances=1).replace(f'name: "{beside.contract.model}"', f'name: "{name}"')
    output = f'name: "{OUTPUT_NAME}" data_type: TYPE_FP32 dims: [{len(beside.contract.classes)}]'
    assert output in config
    config = config.replace(
        output, f'name: "{FILTERED_NAME}" data_type: TYPE_FP32 dims: [{size}, {size}, 12]'
    )
    (repository / name / "config.pbtxt").write_text(config.replace('label_filename: "labels.txt"', ""))


@pytest.fixture(scope="module")  # no wider: its event loop would be in the way of tests that are coroutines
def chromium() -> Iterator[Browser]:
    """The machine's own; Playwright's, which it would download, is not needed."""
    path = program("chromium", "apt-get install chromium")
    expect.set_options(timeout=_PATIENCE)
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=path, args=["--no-sandbox", "--no-proxy-server"])
        yield browser
        browser.close()


@dataclass
class Tab:
    """A page that is open, and what it did that it should not."""

    page: Page
    context: BrowserContext
    wrong: list[str] = field(default_factory=list)

    def drop(self, *paths: Path) -> None:
        """Drops files and folders as a file manager does."""
        box = self.page.locator("#zone").bounding_box()
        assert box
        devtools = self.context.new_cdp_session(self.page)
        data = {"items": [], "files": [str(path) for path in paths], "dragOperationsMask": 1}
        place = {"x": box["x"] + 20, "y": box["y"] + 20, "data": data}
        for kind in ("dragEnter", "dragOver", "drop"):
            devtools.send("Input.dispatchDragEvent", {"type": kind, **place})


@pytest.fixture
def open_page(chromium: Browser) -> Iterator[Any]:
    """Opens a service's page; in the end nothing was wrong, and nothing was asked for elsewhere.

    The browser's console notes each refusal of the service: `refusals` are the statuses that are due.
    """
    tabs: list[Tab] = []

    def open_page(service: RunningTransformer, refusals: tuple[int, ...] = (), **options: Any) -> Tab:
        context = chromium.new_context(**options)
        context.set_default_timeout(_PATIENCE)
        tab = Tab(context.new_page(), context)
        tabs.append(tab)
        tab.page.on("pageerror", lambda error: tab.wrong.append(f"{error}"))

        def said(message: Any) -> None:
            due = (f"the server responded with a status of {one} " for one in (*refusals, *_LATE))
            if not any(status in message.text for status in due):
                tab.wrong.append(message.text)

        tab.page.on("console", said)
        tab.page.on("dialog", lambda dialog: tab.wrong.append(dialog.message))

        def asked(request: Any) -> None:
            if not request.url.startswith((service.url, "blob:" + service.url)):
                tab.wrong.append(request.url)

        tab.page.on("request", asked)
        tab.page.goto(service.url)
        tab.page.locator("#formats:not(:empty)").wait_for()
        return tab

    yield open_page
    wrong = [what for tab in tabs for what in tab.wrong]
    for tab in tabs:
        tab.context.close()
    assert wrong == []


@pytest.fixture(scope="session")
def axe() -> str:
    """axe-core's script, by npm once into `var/tools`; never committed."""
    npm = program("npm", "apt-get install npm")
    place = TOOLS / AXE
    TOOLS.mkdir(parents=True, exist_ok=True)
    with (TOOLS / "axe.lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        if not (place / "complete").exists():
            shutil.rmtree(place, ignore_errors=True)
            place.mkdir()
            try:
                pack = [npm, "pack", "--silent", AXE]
                subprocess.run(pack, cwd=place, check=True, timeout=300, capture_output=True)
            except subprocess.CalledProcessError as error:
                missing(f"{AXE} is not there: {error.stderr.decode()[-300:]}")
            (archive,) = place.glob("*.tgz")
            shutil.unpack_archive(archive, place, filter="data")
            (place / "complete").touch()
    return (place / "package" / "axe.min.js").read_text()
