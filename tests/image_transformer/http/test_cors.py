"""Pages of other origins: what they may ask from a browser, and that nothing changes where none may."""

import base64
import dataclasses
import html
import json
import re
from pathlib import Path
from typing import Any

import pytest
from browser import opened, page
from serving import RunningTriton, SmallModel, StartTransformer
from wire import Server

from image_transformer.http.cors import Cors
from image_transformer.observe.requests import Observer
from image_transformer.settings import Settings
from model.contract import CLASSES
from model.images.decode import decode_image

SHOP = "https://shop.example"


@pytest.fixture
def open_to(service: Any) -> Any:
    def make(*origins: str) -> Any:
        observer = Observer(service.metrics, log_all=False)
        return dataclasses.replace(service, routes=Cors(origins, observer, service.routes))

    return make


async def test_a_page_of_an_allowed_origin_may_ask_and_read(open_to: Any, jpegs: list[bytes]) -> None:
    service = open_to("https://other.example", SHOP)
    asked = {"origin": SHOP, "access-control-request-method": "POST"}
    asked["access-control-request-headers"] = "content-type,x-request-id"
    preflight = await service.call("OPTIONS", "/predict", **asked)
    assert (preflight.status, preflight.body) == (204, b"")
    assert preflight.headers["access-control-allow-origin"] == SHOP
    assert preflight.headers["access-control-allow-methods"] == "GET, HEAD, POST"
    assert preflight.headers["access-control-allow-headers"] == "content-type,x-request-id"
    assert preflight.headers["vary"] == "origin"
    assert service.metrics.answers["preflight", 204] == 1

    answer = await service.call("POST", "/predict", jpegs[0], origin=SHOP, **{"content-type": "image/jpeg"})
    assert (answer.status, answer.json()["class_name"] in CLASSES) == (200, True)
    assert answer.headers["access-control-allow-origin"] == SHOP
    exposed = answer.headers["access-control-expose-headers"].split(", ")
    assert {"X-Model-Version", "X-Request-ID", "Inference-Header-Content-Length"} < set(exposed)
    # An error is read as well, and so is what kserve's application answers.
    refused = await service.call("POST", "/predict", b"no", origin=SHOP, **{"content-type": "image/jpeg"})
    assert (refused.status, refused.headers["access-control-allow-origin"]) == (400, SHOP)
    behind = await service.call("GET", "/metrics", origin=SHOP)
    assert (behind.status, behind.headers["access-control-allow-origin"]) == (299, SHOP)


async def test_a_page_of_another_origin_reads_nothing(open_to: Any, jpegs: list[bytes]) -> None:
    service = open_to(SHOP)
    for origin in ("https://shop.example.evil.example", "http://shop.example", "null", SHOP + ":8443"):
        told = await service.call(
            "OPTIONS", "/predict", origin=origin, **{"access-control-request-method": "POST"}
        )
        assert (told.status, told.json()["code"]) == (403, "origin_not_allowed")
        assert "access-control-allow-origin" not in told.headers
        answer = await service.call("GET", "/info", origin=origin)
        assert (answer.status, answer.headers["vary"]) == (200, "origin")
        assert not [name for name in answer.headers if name.startswith("access-control")]
    assert service.metrics.errors["origin_not_allowed"] == 4


async def test_every_origin_may(open_to: Any) -> None:
    answer = await open_to("*").call("GET", "/info", origin="null")
    assert answer.headers["access-control-allow-origin"] == "*"
    assert "vary" not in answer.headers


async def test_off_by_default(service: Any) -> None:
    assert service.settings.cors_origins is None
    told = await service.call("OPTIONS", "/predict", origin=SHOP, **{"access-control-request-method": "POST"})
    assert (told.status, told.headers["allow"]) == (405, "POST")
    assert not [name for name in told.headers if name.startswith("access-control")]


@pytest.mark.parametrize("whole", [True, False], ids=["whole", "head first"])
async def test_a_page_hears_that_it_is_turned_away(whole: bool, service: Any) -> None:
    server = Server(service.routes)
    server._class.cors = Cors([SHOP], Observer(service.metrics, log_all=False), service.routes)
    server.saturated = True
    protocol, wire = server.connect()
    head = f"POST /predict HTTP/1.1\r\nHost: a\r\nOrigin: {SHOP}\r\nContent-Length: 4\r\n\r\n".encode()
    for part in [head + b"body"] if whole else [head, b"body"]:
        protocol.data_received(part)
    answer = b"".join(wire.writes)
    assert answer.startswith(b"HTTP/1.1 429 ")
    assert f"\r\naccess-control-allow-origin: {SHOP}\r\n".encode() in answer
    assert b"\r\nvary: origin\r\n" in answer


@pytest.mark.parametrize(
    "text", ["shop.example", "https://shop.example/", "https://a.example,", "null", "**"]
)
def test_what_is_no_origin_is_refused(text: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("sys.argv", ["image_transformer"])
    monkeypatch.setenv("CNN_IMAGE_CORS_ORIGINS", text)
    with pytest.raises(ValueError, match="is no origin; write scheme, host and port alone"):
        Settings()


def test_origins_are_listed_with_commas(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("sys.argv", ["image_transformer"])
    monkeypatch.setenv("CNN_IMAGE_CORS_ORIGINS", "https://Shop.example, http://localhost:3000")
    assert Settings().cors_origins == ("https://shop.example", "http://localhost:3000")


SCRIPT = """<p id=said></p><script>
const picture = Uint8Array.from(atob("%(picture)s"), letter => letter.charCodeAt(0));
async function ask(address) {
  try {
    const answer = await fetch(address + "/predict",
      {method: "POST", headers: {"Content-Type": "image/jpeg", "X-Request-ID": "page-1"}, body: picture});
    const exposed = ["x-model-version", "x-request-id"].map(name => answer.headers.get(name));
    return [answer.status, (await answer.json()).class_name, ...exposed];
  } catch (error) { return [error.name]; }
}
Promise.all(%(addresses)s.map(ask)).then(
  all => document.getElementById("said").textContent = JSON.stringify(all));
</script>"""


@pytest.mark.slow
def test_a_browsers_page_asks(
    small_triton: RunningTriton,
    small_model: SmallModel,
    start_transformer: StartTransformer,
    jpegs: list[bytes],
    tmp_path: Path,
) -> None:
    """One service lets the page's origin ask, one lets another, and one none."""
    written = [""]
    with page(lambda: written[0]) as origin:
        settings: list[dict[str, str]] = [{"cors_origins": origin}, {"cors_origins": SHOP}, {}]
        services = [start_transformer(small_triton.address, **chosen) for chosen in settings]
        picture = base64.b64encode(jpegs[0]).decode()
        written[0] = SCRIPT % {
            "picture": picture,
            "addresses": json.dumps([service.url for service in services]),
        }
        found = re.search(r'<p id="said">(.*?)</p>', opened(origin, tmp_path))
    assert found
    expected = CLASSES[int(small_model.probs(decode_image(jpegs[0])[None]).argmax())]
    assert json.loads(html.unescape(found[1])) == [
        [200, expected, "7", "page-1"],
        ["TypeError"],
        ["TypeError"],
    ]
