import base64
import io
import re
from html.parser import HTMLParser
from pathlib import Path

import numpy as np
import pytest
from checked import checked
from numpy.typing import NDArray
from PIL import Image

from model.data.check import Alike, DataCheck
from model.data.findings import find
from model.data.pictures import LeftOut
from model.report import contact_sheet
from model.report.data_page import write_data_page

NASTY = "<script>alert('x')</script>, \"q\" & ünï 数字"


class _Page(HTMLParser):
    """What a page holds; a tag that is not closed rightly fails."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.images: list[dict[str, str | None]] = []
        self.tags: list[str] = []
        self.ids: set[str] = set()
        self.links: list[str] = []
        self.text = ""
        self._open: list[str] = []
        self.feed(text)
        self.close()
        assert self._open == []

    def handle_starttag(self, tag: str, attributes: list[tuple[str, str | None]]) -> None:
        found = dict(attributes)
        self.tags.append(tag)
        self.ids |= {found["id"]} if found.get("id") else set()
        self.links += [found["href"] or ""] if "href" in found else []
        if tag == "img":
            self.images.append(found)
        elif tag != "meta":
            self._open.append(tag)

    def handle_endtag(self, tag: str) -> None:
        assert self._open.pop() == tag

    def handle_data(self, data: str) -> None:
        self.text += f"{data} "


def grey(name: str) -> NDArray[np.uint8] | None:
    return None if "gone" in name else np.full((64, 64, 3), len(name), np.uint8)


def write(folder: Path, check: DataCheck) -> tuple[Path, _Page]:
    path = folder / "new" / "data.html"
    write_data_page(path, check, find(check), grey, digest="d1" * 32)
    return path, _Page(path.read_text(encoding="utf-8"))


def test_it_shows_counts_findings_and_a_sheet_a_class(tmp_path: Path) -> None:
    left_out = (LeftOut("cat/cut.jpg", "cat", "broken", "It ends too early."),)
    _, page = write(tmp_path, checked({"cat": (40, 3, 2), "dog": (20, 5, 7)}, left_out=left_out))
    told = " ".join(page.text.split())
    assert "77 pictures of 2 classes; 1 file left out." in told
    assert "cat 40 3 2 1" in told
    assert "cat/cut.jpg cat It ends too early." in told
    assert "broken : 1 file is no picture that can be read: 'cat/cut.jpg'." in told
    assert "50 to 50 pixels, median 50" in told
    assert "JPEG 77" in told
    assert "d1" * 32 in told
    assert len(page.images) == 2 * contact_sheet.MOST_A_CLASS
    assert set(page.links) == {"#class-0", "#class-1"}
    assert page.ids >= {"class-0", "class-1"}


def test_its_pictures_are_inside_and_are_what_they_are_said_to_be(tmp_path: Path) -> None:
    path, page = write(tmp_path, checked({"cat": (2, 0, 0), "dog": (0, 0, 1)}))
    assert re.findall(r"https?://|url\(|<link|<script", path.read_text()) == []
    for image in page.images:
        kind, _, encoded = (image["src"] or "").partition(",")
        assert kind == "data:image/webp;base64"
        pixels = np.asarray(Image.open(io.BytesIO(base64.b64decode(encoded))))
        name = (image["title"] or "").split(" (")[0]
        assert pixels.shape == (64, 64, 3)
        assert abs(float(pixels.mean()) - len(name)) < 2
    assert {image["title"] for image in page.images} >= {"dog/test-0.jpg (test)"}


def test_names_are_text_wherever_they_stand(tmp_path: Path) -> None:
    left_out = (LeftOut(f"{NASTY}/gone.jpg", NASTY, "broken", f"{NASTY} is broken."),)
    alike = (Alike(f"{NASTY}/train-0.jpg", f"{NASTY}/gone.jpg", "conflicts", exact=False),)
    _, page = write(tmp_path, checked({NASTY: (3, 1, 1), "b": (3, 1, 1)}, left_out=left_out, alike=alike))
    assert "script" not in page.tags
    assert page.text.count(NASTY) > 5
    assert {image["alt"] for image in page.images} >= {f"{NASTY}/train-0.jpg (train)"}


def test_a_name_that_is_no_unicode_is_shown_all_the_same(tmp_path: Path) -> None:
    left_out = (LeftOut("cat/\udce9t\udce9.jpg", "cat", "broken", "cut short"),)
    _, page = write(tmp_path, checked({"cat": (3, 1, 1), "dog": (3, 1, 1)}, left_out=left_out))
    assert "cat/\\udce9t\\udce9.jpg" in page.text


@pytest.mark.parametrize(
    ("kind", "head"),
    [
        ("conflicts", "One picture under two classes"),
        ("leaks", "One picture in two splits"),
        ("near-duplicates", "Nearly the same picture twice"),
    ],
)
def test_the_same_picture_twice_is_shown_side_by_side(tmp_path: Path, kind: str, head: str) -> None:
    left_out = (LeftOut("b/gone.jpg", "b", "duplicate", "It is a/train-0.jpg."),)
    alike = (
        Alike("b/gone.jpg", "a/train-0.jpg", kind, exact=True),  # type: ignore[arg-type]
        Alike("a/train-1.jpg", "b/test-0.jpg", kind, exact=False),  # type: ignore[arg-type]
    )
    _, page = write(tmp_path, checked({"a": (2, 0, 0), "b": (0, 0, 1)}, left_out=left_out, alike=alike))
    told = page.text[page.text.index(head) :]
    assert "1 pair alike in looks, 1 pair of the same bytes." in told
    assert told.index("a/train-1.jpg (a, train)") < told.index("b/test-0.jpg (b, test)")
    assert told.index("b/gone.jpg (b, left out)") < told.index("a/train-0.jpg (a, train)")
    assert told.index("a/train-1.jpg") < told.index("b/gone.jpg")  # what only looks the same comes first
    assert {"a/train-0.jpg", "a/train-1.jpg", "b/test-0.jpg"} < {image["title"] for image in page.images}


def test_a_thousand_classes_are_folded_and_stay_below_20_mb(tmp_path: Path) -> None:
    noise = np.random.default_rng(0)
    check = checked({f"class {number}": (7, 1, 1) for number in range(1000)})
    path = tmp_path / "data.html"
    write_data_page(path, check, find(check), lambda _: noise.integers(0, 256, (96, 96, 3), dtype=np.uint8))
    page = _Page(path.read_text())
    assert 12e6 < path.stat().st_size < 20e6
    assert page.tags.count("details") == 1001
    assert "<details open>" not in path.read_text()
    assert f"No room was left for {6000 - len(page.images):,} of them." in page.text


def test_long_lists_are_cut_and_say_so(tmp_path: Path) -> None:
    left_out = [LeftOut(f"a/{number}.jpg", "a", "broken", "cut short") for number in range(5000)]
    alike = [Alike("a/train-0.jpg", "a/train-1.jpg", "near-duplicates", exact=False)] * 300
    path, page = write(tmp_path, checked({"a": (9, 0, 0), "b": (9, 0, 1)}, left_out=left_out, alike=alike))
    assert "5,000 files; the first 200 are shown" in page.text
    assert "300 pairs alike in looks; the first 100 are shown" in page.text
    assert path.stat().st_size < 1e6
