"""How the page is handed out: to whom, with which headers, and that all else goes on to kserve."""

import gzip
import re
import tomllib
from collections.abc import Callable
from pathlib import Path
from typing import Any

import orjson
import pytest

from image_transformer.observe.metrics import Metrics
from image_transformer.observe.requests import Observer
from image_transformer.page.served import Page, page_files, takes_html
from model.contract import CLASSES

BROWSER = "text/html,application/xhtml+xml,application/xml;q=0.9,image/avif,*/*;q=0.8"
ROOT = Path(__file__).parents[3]
STATIC = ROOT / "kserve" / "image_transformer" / "page" / "static"

Ask = Callable[..., Any]


@pytest.fixture
def metrics() -> Metrics:
    return Metrics()


@pytest.fixture
def ask(metrics: Metrics) -> Ask:
    async def behind(scope: Any, receive: Any, send: Any) -> None:
        await send({"type": "http.response.start", "status": 299, "headers": []})
        await send({"type": "http.response.body", "body": b"behind"})

    page = Page(Observer(metrics, log_all=False), behind)

    async def ask(path: str, method: str = "GET", **headers: str) -> tuple[int, dict[str, str], bytes]:
        sent: list[Any] = []

        async def send(message: Any) -> None:
            sent.append(message)

        named = [(name.replace("_", "-").encode(), text.encode()) for name, text in headers.items()]
        scope = {"type": "http", "method": method, "path": path, "query_string": b"", "headers": named}
        await page(scope, None, send)  # type: ignore[arg-type] # it reads no body
        told = {name.decode(): text.decode() for name, text in sent[0]["headers"]}
        return sent[0]["status"], told, sent[1]["body"]

    return ask


async def test_a_browser_gets_the_page_and_a_program_kserves_answer(ask: Ask, metrics: Metrics) -> None:
    status, headers, body = await ask("/", accept=BROWSER, x_request_id="mine")
    assert (status, headers["content-type"]) == (200, "text/html; charset=utf-8")
    assert body.startswith(b"<!doctype html>")
    assert (headers["vary"], headers["x-request-id"]) == ("accept, accept-encoding", "mine")
    assert metrics.answers["/", 200] == 1
    for accept in ("*/*", "application/json", "application/json, */*;q=0.5", ""):
        assert await ask("/", accept=accept) == (299, {}, b"behind")
    assert (await ask("/"))[0] == 299
    assert (await ask("/", "POST", accept=BROWSER))[0] == 299


@pytest.mark.parametrize(
    ("accept", "takes"),
    [
        ("text/html", True),
        ("TEXT/HTML; charset=utf-8", True),
        ("application/json, text/html;q=0.1", True),
        ("text/html;q=0", False),
        ("text/html; q=0.000, */*", False),
        ("text/*", False),
        ("text/htmlx", False),
    ],
)
def test_who_takes_html(accept: str, takes: bool) -> None:
    assert takes_html(accept) is takes


async def test_the_page_is_asked_for_again_and_its_files_never(ask: Ask) -> None:
    _, headers, body = await ask("/", accept=BROWSER)
    assert headers["cache-control"] == "no-cache"
    again = await ask("/", accept=BROWSER, if_none_match=headers["etag"])
    assert (again[0], again[2]) == (304, b"")
    assert "content-length" not in again[1]
    assert (await ask("/", accept=BROWSER, if_none_match='"other"'))[0] == 200

    links = re.findall(rb'(?:src|href)="([^"]+)"', body)
    assert len(links) == 5
    for link in links:
        status, headers, _ = await ask("/" + link.decode())
        assert (status, headers["cache-control"]) == (200, "public, max-age=31536000, immutable")
    # A page of another release has these files and not none, but nobody keeps them under its name.
    status, headers, _ = await ask("/page/0123456789abcdef/main.js")
    assert (status, headers["cache-control"]) == (200, "no-store")


async def test_files_come_as_they_are_and_compressed(ask: Ask, metrics: Metrics) -> None:
    types = {"js": "text/javascript; charset=utf-8", "css": "text/css; charset=utf-8", "svg": "image/svg+xml"}
    for file in STATIC.iterdir():
        if file.name == "index.html":
            continue
        status, headers, body = await ask(f"/page/x/{file.name}")
        assert (status, body) == (200, file.read_bytes())
        assert headers["content-type"] == types[file.suffix[1:]]
        assert (headers["x-content-type-options"], headers["content-length"]) == ("nosniff", str(len(body)))
    _, headers, body = await ask("/page/x/main.js", accept_encoding="gzip, br")
    assert headers["content-encoding"] == "gzip"
    assert gzip.decompress(body) == (STATIC / "main.js").read_bytes()
    _, headers, body = await ask("/page/x/examples/list.json", accept_encoding="gzip")
    assert "content-encoding" not in headers  # so short a list grows
    assert orjson.loads(body) == [f"{name}.jpg" for name in CLASSES]
    assert metrics.answers["/page", 200] == len(list(STATIC.iterdir())) + 1


@pytest.mark.parametrize(
    "path",
    [
        "/page",
        "/page/",
        "/page/x",
        "/page/x/",
        "/page/x/index.html",
        "/page/x/../served.py",
        "/page/x//main.js",
    ],
)
async def test_nothing_else_is_handed_out(path: str, ask: Ask) -> None:
    assert (await ask(path, accept=BROWSER))[0] == 299


async def test_nothing_from_elsewhere_and_no_script_in_the_page(ask: Ask) -> None:
    _, headers, body = await ask("/", accept=BROWSER)
    policy = dict(part.strip().split(" ", 1) for part in headers["content-security-policy"].split(";"))
    assert (policy["default-src"], policy["script-src"], policy["style-src"]) == (
        "'none'",
        "'self'",
        "'self'",
    )
    assert "unsafe" not in headers["content-security-policy"]
    assert not re.search(rb"<script(?![^>]* src=)|<style| style=| on\w+=", body)
    for name, text in page_files().items():
        if not name.endswith(".jpg"):
            assert not re.search(rb"https?://(?!www\.w3\.org/2000/svg)", text), name


def test_other_contents_have_other_addresses(monkeypatch: pytest.MonkeyPatch, metrics: Metrics) -> None:
    files = page_files()
    before = Page(Observer(metrics, log_all=False), None)._digest  # type: ignore[arg-type]
    changed = {**files, "main.js": files["main.js"] + b"\n"}
    monkeypatch.setattr("image_transformer.page.served.page_files", lambda: dict(changed))
    assert Page(Observer(metrics, log_all=False), None)._digest != before  # type: ignore[arg-type]


def test_the_wheel_has_the_page() -> None:
    """By the patterns that it is packed by."""
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())
    (pattern,) = project["tool"]["setuptools"]["package-data"]["image_transformer.page"]
    room = ROOT / "kserve" / "image_transformer" / "page"
    assert set(room.glob(pattern)) == {path for path in room.rglob("*") if path.parent == room / "static"}
