"""The page as a person uses it, in a real Chromium in front of a real service."""

import base64
import csv
import signal
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import httpx
import numpy as np
import pytest
from container_files import heic, libtiff
from numpy.typing import NDArray
from PIL import Image
from playwright.sync_api import Locator, expect
from serving import SmallModel

from model.contract import CLASSES, FILTER_NAMES
from model.images.decode import decode_image
from model.network.filters import KERNELS

pytestmark = pytest.mark.slow

EXAMPLES = Path(__file__).parents[3] / "model" / "sample" / "examples"
DOG = EXAMPLES / "dog.jpg"

Open = Callable[..., Any]


def answer_of(model: SmallModel, picture: bytes) -> tuple[str, NDArray[np.float32]]:
    probs = model.probs(decode_image(picture)[None])[0]
    return model.contract.classes[int(probs.argmax())], probs


def written(share: float) -> str:
    if 0 < share < 0.001:
        return "< 0.1 %"
    return "> 99.9 %" if 0.999 < share < 1 else f"{100 * share:.1f} %"


def pixels(canvas: Locator) -> NDArray[np.uint8]:
    """What is drawn, uint8 `[S, S, 4]`."""
    size, drawn = canvas.evaluate(
        "one => [one.width, [...one.getContext('2d').getImageData(0, 0, one.width, one.height).data]]"
    )
    return np.array(drawn, np.uint8).reshape(size, size, 4)


def through(image: NDArray[np.uint8], kernel: NDArray[np.float32]) -> NDArray[np.float64]:
    """An image, uint8 `[S, S, 3]`, through a filter, drawn: 0 to 255."""
    padded = np.pad(image / 255.0, ((1, 1), (1, 1), (0, 0)))
    size = len(image)
    parts = [padded[y : y + size, x : x + size] * kernel[y, x] for y in range(3) for x in range(3)]
    return np.clip(np.sum(parts, axis=0), 0, 1) * 255


def test_an_example_is_answered_by_keyboard_alone(site: Any, open_page: Open) -> None:
    page = open_page(site.five).page
    expect(page).to_have_title("cnn-image")
    expect(page.locator("#serving")).to_have_text("version 7 · 5 classes · 32 × 32 pixels")
    expect(page.get_by_role("button").locator("img")).to_have_count(len(CLASSES))
    page.keyboard.press("Tab")
    expect(page.get_by_label("Choose pictures")).to_be_focused()
    for _ in CLASSES:  # the dog is the last of them
        page.keyboard.press("Tab")
    expect(page.get_by_role("button", name="dog")).to_be_focused()
    page.keyboard.press("Enter")

    name, probs = answer_of(site.five_model, DOG.read_bytes())
    expect(page.locator("#said")).to_have_text(f"{name} {written(probs.max())}")
    expect(page.get_by_role("status")).to_have_text(f"dog.jpg: {name}, {written(probs.max())}")
    order = np.argsort(-probs)
    expect(page.locator("#bars li")).to_have_text([f"{CLASSES[n]}{written(probs[n])}" for n in order])
    track, bar = page.locator("#bars .track").first, page.locator("#bars .track span").first
    widths = [one.evaluate("one => one.getBoundingClientRect().width") for one in (bar, track)]
    assert widths[0] / widths[1] == pytest.approx(probs.max(), abs=0.01)

    expect(page.locator("#seen figcaption")).to_have_text(
        ["the picture", *(name.replace("_", " ") for name in FILTER_NAMES)]
    )
    image = decode_image(DOG.read_bytes())
    for canvas, kernel in zip(page.locator("#seen canvas").all(), KERNELS.values(), strict=True):
        assert np.abs(pixels(canvas)[:, :, :3] - through(image, kernel)).max() <= 1

    expect(page.locator("#lineage")).to_be_hidden()
    page.locator("summary").first.press("Enter")
    expect(page.locator("#lineage")).to_contain_text("decoder version")


def test_what_an_answer_goes_by_is_laid_over_the_picture(site: Any, open_page: Open) -> None:
    page = open_page(site.five).page
    page.get_by_role("button", name="dog").click()
    button = page.get_by_role("button", name="What it goes by", pressed=False)
    button.focus()
    page.keyboard.press("Enter")
    shown = page.locator("#map")
    expect(shown).to_be_visible()
    said = {"Content-Type": "image/jpeg"}
    asked = f"{site.five.url}/predict?explain=true"
    explanation = httpx.post(asked, content=DOG.read_bytes(), headers=said, timeout=60).json()["explanation"]
    name, _ = answer_of(site.five_model, DOG.read_bytes())
    expect(page.locator("#reason")).to_contain_text(f"“{name}”")
    expect(page.locator("#reason")).to_contain_text("(500 tries; ±")
    expect(page.get_by_role("status")).to_have_text(page.locator("#reason").inner_text())
    assert shown.get_attribute("alt") == page.locator("#reason").inner_text()
    assert shown.evaluate("one => one.naturalWidth") == len(explanation["map"]) == 32
    boxes = [one.bounding_box() for one in (shown, page.locator("#preview img").first)]
    assert boxes[0] == pytest.approx(boxes[1], abs=1)

    page.get_by_role("button", name="What it goes by", pressed=True).press("Enter")
    expect(shown).to_be_hidden()
    expect(page.locator("#reason")).to_be_empty()
    page.get_by_role("button", name="cat").click()
    expect(page.get_by_role("status")).to_contain_text("cat.jpg")
    expect(page.get_by_role("button", name="What it goes by", pressed=False)).to_be_visible()


def test_a_reason_that_nobody_waits_for_is_asked_for_no_longer(
    site: Any, open_page: Open, tmp_path: Path
) -> None:
    """The service explains one picture at a time, and would go on for whoever still waits for it."""
    page = open_page(site.five, refusals=(400,)).page
    asked = "**/predict?explain=true"
    page.route(asked, lambda route: None)  # no answer, for as long as the page waits
    page.get_by_role("button", name="dog").click()
    why = page.get_by_role("button", name="What it goes by")
    (tmp_path / "broken.jpg").write_bytes(DOG.read_bytes()[:300])
    leaving: dict[str, Callable[[], None]] = {
        "pressed again": why.click,
        "another picture": page.get_by_role("button", name="cat").click,
        "one that is refused": lambda: page.get_by_label("Choose pictures").set_input_files(
            tmp_path / "broken.jpg"
        ),
    }
    for leave in leaving.values():
        with page.expect_request(asked):
            why.click()
        with page.expect_event("requestfailed", lambda request: "explain" in request.url):
            leave()
        expect(page.locator("#reason")).to_be_empty()
    expect(page.get_by_role("alert")).to_contain_text("broken.jpg")
    page.unroute(asked)
    page.get_by_role("button", name="dog").click()
    page.get_by_role("button", name="What it goes by", pressed=False).click()
    expect(page.locator("#map")).to_be_visible()


def test_the_calls_that_it_shows_are_answered_alike(site: Any, open_page: Open, tmp_path: Path) -> None:
    page = open_page(site.five).page
    page.get_by_role("button", name="cat").click()
    page.get_by_text("Ask it from a program").click()
    picture = (EXAMPLES / "cat.jpg").read_bytes()
    (tmp_path / "cat.jpg").write_bytes(picture)
    name, _ = answer_of(site.five_model, picture)
    programs = {"curl": ["bash", "-c"], "python": [sys.executable, "-c"]}
    for kind, command in programs.items():
        text = page.locator(f"#{kind}").inner_text()
        done = subprocess.run([*command, text], cwd=tmp_path, capture_output=True, text=True, check=True)
        assert name in done.stdout, kind
    assert "version 7" in done.stdout


def test_what_no_browser_shows_is_answered_and_seen(site: Any, open_page: Open, tmp_path: Path) -> None:
    page = open_page(site.five).page
    photograph = Image.open(DOG).resize((80, 60))
    files = {"photo.heic": heic(photograph), "scan.tiff": libtiff(photograph)}
    for file, content in files.items():
        (tmp_path / file).write_bytes(content)
        page.get_by_label("Choose pictures").set_input_files(tmp_path / file)
        name, probs = answer_of(site.five_model, content)
        expect(page.get_by_role("status")).to_have_text(f"{file}: {name}, {written(probs.max())}")
        expect(page.locator("#preview")).to_contain_text(f"{file} — this browser cannot show its format")
        expect(page.locator("#preview img").first).to_be_hidden()
        drawn = pixels(page.locator("#seen canvas").first)
        assert np.abs(drawn[:, :, :3].astype(int) - decode_image(content)).max() <= 1
    page.get_by_role("button", name="What it goes by").click()  # over what there is to be seen
    expect(page.locator("#seen #map")).to_be_visible()
    boxes = [page.locator(f"#seen {one}").first.bounding_box() for one in ("#map", "canvas")]
    assert boxes[0] == pytest.approx(boxes[1], abs=3)


def test_a_picture_is_pasted_and_one_that_is_none_is_refused(site: Any, open_page: Open) -> None:
    page = open_page(site.five, refusals=(400,)).page
    paste = """([name, text]) => {
        const data = new DataTransfer();
        data.items.add(new File([Uint8Array.from(atob(text), one => one.charCodeAt(0))], name));
        const event = {clipboardData: data, bubbles: true, cancelable: true};
        document.body.dispatchEvent(new ClipboardEvent("paste", event));
    }"""
    page.evaluate(paste, ["pasted.jpg", base64.b64encode(DOG.read_bytes()).decode()])
    name, _ = answer_of(site.five_model, DOG.read_bytes())
    expect(page.locator("#said")).to_contain_text(name)
    page.evaluate(paste, ["<img src=x onerror=alert(1)>.\u202egpj", base64.b64encode(b"no picture").decode()])
    said = page.get_by_role("alert")
    expect(said).to_contain_text("<img src=x onerror=alert(1)>.□gpj: ")
    expect(said).to_contain_text("image")
    expect(page.locator("#answer")).to_be_hidden()


def test_a_thousand_are_dropped_in_a_folder_sorted_and_saved(
    site: Any, open_page: Open, tmp_path: Path
) -> None:
    folder = tmp_path / "holiday"
    folder.mkdir()
    random = np.random.default_rng(3)
    hostile = ["=1+1.png", "'; touch hacked; '.png", 'a "quoted", name.png', "<b>bold<b>.png"]
    names = [*hostile, *(f"picture {number}.png" for number in range(994))]
    for name in names:
        Image.fromarray(random.integers(0, 256, (8, 8, 3), np.uint8)).save(folder / name)
    (folder / "broken.png").write_bytes((folder / names[-1]).read_bytes()[:40])
    (folder / "notes.txt").write_text("no picture")
    (folder / ".hidden").write_text("not even looked at")
    probs = site.five_model.probs(np.stack([decode_image((folder / name).read_bytes()) for name in names]))
    due = {f"holiday/{name}": (CLASSES[row.argmax()], row) for name, row in zip(names, probs, strict=True)}

    tab = open_page(site.five, refusals=(400,))
    page = tab.page
    tab.drop(folder)
    expect(page.locator("#progress")).to_have_text("998 of 1,000 answered, 2 refused", timeout=120_000)
    expect(page.get_by_role("status")).to_have_text("998 of 1,000 answered, 2 refused")
    rows = page.locator("tbody tr")
    expect(rows).to_have_count(100)
    expect(page.locator("#range")).to_have_text("1 to 100 of 1,000")

    page.get_by_role("button", name="Confidence").click()
    expect(page.locator("[aria-sort=descending]")).to_have_text("Confidence")
    best = sorted(due, key=lambda name: -due[name][1].max())
    first = rows.first.locator("th, td").all_inner_texts()
    assert first[1:] == [best[0], due[best[0]][0], written(due[best[0]][1].max()), "7"]
    page.get_by_role("button", name="Confidence").click()
    expect(rows.first.get_by_role("button")).to_have_text(best[-1])
    for _ in range(9):
        page.get_by_role("button", name="Next").click()
    expect(rows.last).to_contain_text("image")  # what was refused is last in every order
    expect(page.get_by_role("button", name="Next")).to_be_disabled()

    with page.expect_download() as download:
        page.get_by_role("button", name="Download as CSV").click()
    lines = list(csv.DictReader(download.value.path().read_text("utf-8-sig").splitlines()))
    assert len(lines) == 1000
    assert [line["file"] for line in lines[:998]] == best[::-1]  # as it was sorted
    for line in lines[:998]:
        name, probs = due[line["file"]]
        assert (line["class"], line["version"], line["error"]) == (name, "7", "")
        assert [float(line[name]) for name in CLASSES] == pytest.approx(probs.tolist(), abs=1e-5)
    assert {line["file"] for line in lines[998:]} == {"holiday/broken.png", "holiday/notes.txt"}
    assert all(line["error"] and not line["class"] for line in lines[998:])

    page.get_by_role("button", name="Picture", exact=True).click()
    page.get_by_role("button", name=hostile[3]).click()
    expect(page.locator("#preview figcaption")).to_have_text(f"holiday/{hostile[3]}")
    expect(page.locator("#said")).to_contain_text(due[f"holiday/{hostile[3]}"][0])
    assert "picture.png" in page.locator("#curl").text_content()


def test_a_cell_is_no_formula(site: Any, open_page: Open, tmp_path: Path) -> None:
    for name in ("=1+1.jpg", "-2.jpg"):
        (tmp_path / name).write_bytes(DOG.read_bytes())
    tab = open_page(site.five)
    tab.drop(tmp_path / "=1+1.jpg", tmp_path / "-2.jpg")
    expect(tab.page.locator("#progress")).to_have_text("2 of 2 answered")
    with tab.page.expect_download() as download:
        tab.page.get_by_role("button", name="Download as CSV").click()
    lines = list(csv.DictReader(download.value.path().read_text("utf-8-sig").splitlines()))
    assert [line["file"] for line in lines] == ["'=1+1.jpg", "'-2.jpg"]


def test_a_thousand_classes(site: Any, open_page: Open) -> None:
    page = open_page(site.thousand, refusals=(404,)).page
    classes = site.thousand_model.contract.classes
    expect(page.locator("#serving")).to_have_text("version 7 · 1,000 classes · 32 × 32 pixels")
    expect(page.locator("#examples")).to_be_hidden()  # they are of other classes
    page.get_by_label("Choose pictures").set_input_files(DOG)
    _, probs = answer_of(site.thousand_model, DOG.read_bytes())
    order = [classes[number] for number in np.argsort(-probs)]
    expect(page.locator("#bars .name")).to_have_text(order[:10])
    page.get_by_role("button", name="All 1,000 classes").click()
    expect(page.locator("#bars .name")).to_have_text(order)
    page.get_by_label("Only classes with").fill("BOLD")
    expect(page.locator("#bars .name")).to_have_text(["<b id=bold> & bad"])
    expect(page.locator("#unseen")).to_have_text(
        "The version that is served came without 'thousand-filters'; ask for 'thousand'."
    )


def test_who_is_told_to_come_back_does(site: Any, open_page: Open, tmp_path: Path) -> None:
    """There is room for one of these pictures, and while Triton stands still it is not answered."""
    tab = open_page(site.thousand, refusals=(429,))
    for number in range(4):
        Image.new("RGB", (800, 800), (number, 0, 0)).save(tmp_path / f"{number}.bmp")
    site.triton.process.send_signal(signal.SIGSTOP)
    try:
        with tab.page.expect_response(lambda answer: answer.status == 429):
            tab.drop(*tmp_path.iterdir())
        expect(tab.page.locator("#progress")).to_have_text("0 of 4 answered")
    finally:
        site.triton.process.send_signal(signal.SIGCONT)
    expect(tab.page.locator("#progress")).to_have_text("4 of 4 answered")
    names = [answer_of(site.thousand_model, file.read_bytes())[0] for file in sorted(tmp_path.iterdir())]
    tab.page.get_by_role("button", name="Picture", exact=True).click()
    expect(tab.page.locator("tbody td .name")).to_have_text(names)


def test_on_a_telephone(site: Any, open_page: Open) -> None:
    page = open_page(site.five, viewport={"width": 360, "height": 740}, is_mobile=True, has_touch=True).page
    expect(page.locator("#photograph")).to_be_visible()
    page.get_by_label("Take a photograph").set_input_files(DOG)
    expect(page.locator("#said")).not_to_be_empty()
    expect(page.locator("#seen canvas")).to_have_count(4)
    for summary in page.locator("summary").all():
        summary.tap()
    assert page.evaluate("document.documentElement.scrollWidth") == 360
    page.get_by_label("Choose pictures").set_input_files([DOG, EXAMPLES / "cat.jpg"])
    expect(page.locator("#progress")).to_have_text("2 of 2 answered")
    assert page.evaluate("document.documentElement.scrollWidth") == 360


@pytest.mark.parametrize("colours", ["light", "dark"])
def test_axe_finds_nothing(colours: str, site: Any, open_page: Open, axe: str, tmp_path: Path) -> None:
    tab = open_page(site.five, color_scheme=colours, refusals=(400,))
    page = tab.page
    (tmp_path / "broken.jpg").write_bytes(DOG.read_bytes()[:100])

    def found() -> list[str]:
        page.evaluate(axe)
        return [
            f"{one['id']}: {one['help']}: {[node['html'] for node in one['nodes']]}"
            for one in page.evaluate("axe.run()")["violations"]
        ]

    assert found() == []
    page.get_by_label("Choose pictures").set_input_files([DOG, tmp_path / "broken.jpg"])
    expect(page.locator("#progress")).to_have_text("1 of 2 answered, 1 refused")
    page.get_by_role("button", name="dog.jpg").click()
    expect(page.locator("#seen canvas")).to_have_count(4)
    for summary in page.locator("summary").all():
        summary.click()
    page.get_by_role("button", name="What it goes by").click()
    expect(page.locator("#map")).to_be_visible()
    assert found() == []
    page.get_by_role("button", name="broken.jpg").click()
    expect(page.get_by_role("alert")).to_contain_text("broken.jpg: ")
    assert found() == []


def test_the_page_is_switched_off(site: Any, start_transformer: Any) -> None:
    on, browser = site.five, {"accept": "text/html,*/*;q=0.8"}
    off = start_transformer(site.triton.address, page="false")
    assert httpx.get(on.url, headers=browser).text.startswith("<!doctype html>")
    assert httpx.head(on.url, headers=browser).headers["content-type"] == "text/html; charset=utf-8"
    assert httpx.get(on.url).json() == httpx.get(off.url, headers=browser).json() == {"status": "alive"}
    missing = httpx.get(f"{on.url}/page/x/nothing.js")
    assert (missing.status_code, missing.json()["code"]) == (404, "unknown_route")
