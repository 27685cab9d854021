import uuid
from collections.abc import Callable
from typing import Any

import numpy as np
import orjson
import pytest
from hypothesis import given
from hypothesis import strategies as st
from urllib3.filepost import encode_multipart_formdata

from image_transformer.codecs.predict import prediction, uploaded
from image_transformer.codecs.tensors import Probabilities, Written
from model.contract import Contract

KIND = "multipart/form-data; boundary=frontier"


def form(*parts: tuple[str, bytes]) -> bytes:
    made = b"".join(
        b'--frontier\r\nContent-Disposition: form-data; name="%s"; filename="a.jpg"\r\n'
        b"Content-Type: image/jpeg\r\n\r\n%s\r\n" % (name.encode(), content)
        for name, content in parts
    )
    return made + b"--frontier--\r\n"


def test_one_file_is_one_answer() -> None:
    assert uploaded(KIND, form(("file", b"image")), 8) == ([b"image"], False)


def test_several_files_keep_their_order() -> None:
    body = form(("file", b"one"), ("comment", b"hello"), ("file", b"two"))
    assert uploaded(KIND, body, 8) == ([b"one", b"two"], True)


@pytest.mark.parametrize("content", [b"", b"\r\n", b"-frontier", b"\r\n--frontie", b"a\r\n\r\nb", b"\0\xff"])
def test_contents_come_through_byte_for_byte(content: bytes) -> None:
    assert uploaded(KIND, form(("file", content)), 8)[0] == [content]


def test_a_flood_of_parts_is_not_taken_apart(failure: Callable[[str], Any]) -> None:
    with failure("too_many_images"):
        uploaded(KIND, b"--frontier" + b"\r\n--frontier" * 1_000_000 + b"--", 8)


@pytest.mark.parametrize(
    "disposition",
    [
        b'Content-Disposition: form-data; name="file"',
        b"content-disposition:form-data;name=file",
        b'Content-Disposition: form-data; filename="x.jpg"; name="file"',
        b'Content-Type: image/jpeg\r\nContent-Disposition: form-data; name="file"; filename="a b.jpg"',
        b"Content-Disposition: form-data; name=\"file\"; filename*=UTF-8''%e2%82%ac.jpg",
        b'Content-Disposition: form-data;\r\n name="file"; filename="folded"',
        b'Content-Disposition: form-data; name="file"; filename="q\\"uote.jpg"',
    ],
)
def test_every_way_to_name_the_field(disposition: bytes) -> None:
    body = b"--frontier\r\n" + disposition + b"\r\n\r\nimage\r\n--frontier--\r\n"
    assert uploaded(KIND, body, 8)[0] == [b"image"]


def test_preamble_epilogue_and_padding_are_allowed() -> None:
    part = b'Content-Disposition: form-data; name="file"\r\n\r\nimage'
    body = b"preamble\r\n--frontier \t\r\n" + part + b"\r\n--frontier--epilogue"
    assert uploaded(KIND, body, 8)[0] == [b"image"]


@pytest.mark.parametrize("kind", ["image/jpeg", "image/png", "IMAGE/WEBP; q=1", "application/octet-stream"])
def test_an_image_as_it_is(kind: str) -> None:
    assert uploaded(kind, b"image", 8) == ([b"image"], False)


@pytest.mark.parametrize("kind", ["", "application/json", "text/plain", "application/x-www-form-urlencoded"])
def test_other_content_types_are_refused(kind: str, failure: Callable[[str], Any]) -> None:
    with failure("unsupported_media_type"):
        uploaded(kind, b"image", 8)


@pytest.mark.parametrize(
    ("kind", "body"),
    [
        pytest.param("multipart/form-data", form(("file", b"x")), id="no boundary"),
        pytest.param("multipart/form-data; boundary=", form(("file", b"x")), id="empty boundary"),
        pytest.param(f"multipart/form-data; boundary={'x' * 71}", b"", id="boundary too long"),
        pytest.param("multipart/form-data; boundary=other", form(("file", b"x")), id="another boundary"),
        pytest.param(KIND, form(("image", b"x")), id="another field"),
        pytest.param(KIND, b"--frontier--\r\n", id="no field"),
        pytest.param(KIND, b"", id="empty"),
        pytest.param(KIND, form(("file", b"x"))[:-4], id="no closing boundary"),
        pytest.param(KIND, form(("file", b"x"))[:30], id="cut short in the headers"),
        pytest.param(KIND, b"--frontier\r\nno headers\r\n--frontier--", id="no headers"),
        pytest.param(KIND, b"--frontiers\r\n\r\nx\r\n--frontier--", id="boundary goes on"),
    ],
)
def test_broken_forms(kind: str, body: bytes, failure: Callable[[str], Any]) -> None:
    with failure("invalid_request"):
        uploaded(kind, body, 8)


def test_too_many_files(failure: Callable[[str], Any]) -> None:
    with failure("too_many_images"):
        uploaded(KIND, form(*[("file", b"x")] * 9), 8)


@given(
    st.lists(st.binary(max_size=200), min_size=1, max_size=5),
    st.sampled_from(
        ["a.jpg", "a b.jpg", 'quo"te.jpg', "back\\slash.jpg", "größe.jpg", "日本.jpg", "x\r\ny.jpg"]
    ),
)
def test_what_a_library_writes_is_read_back(contents: list[bytes], name: str) -> None:
    fields = [("file", (name, content)) for content in contents]
    body, kind = encode_multipart_formdata(fields, boundary=uuid.uuid4().hex)
    assert uploaded(kind, body, 8) == (contents, len(contents) > 1)


ROWS = np.array([[0.1, 0.2, 0.4, 0.1, 0.2], [0.6, 0.1, 0.1, 0.1, 0.1]], np.float32)


def test_the_original_services_body_key_for_key() -> None:
    content = orjson.loads(prediction(Probabilities(ROWS[:1], "7"), many=False))
    assert list(content) == ["class_id", "class_name", "confidence", "probabilities", "filters_applied"]
    assert content["class_id"] == 2
    assert content["class_name"] == "bird"
    assert np.float32(content["confidence"]) == ROWS[0, 2]
    assert np.array_equal(np.float32(content["probabilities"]), ROWS[0])
    assert content["filters_applied"] == ["smoothing", "edge_detection", "sharpness"]


def test_many_answers_are_a_list_in_order() -> None:
    content = orjson.loads(prediction(Probabilities(ROWS, "7"), many=True))
    assert [body["class_name"] for body in content] == ["bird", "airplane"]


@given(
    st.lists(
        st.lists(st.floats(0, 1, width=32) | st.just(np.nan), min_size=2, max_size=2), min_size=1, max_size=9
    ),
    st.sampled_from([("cat", "dog"), ('with "quotes", commas],[', "名前")]),
)
def test_written_for_a_call_at_once_a_body_is_what_it_is_alone(
    rows: list[list[float]], classes: tuple[str, ...]
) -> None:
    probs, contract = np.array(rows, np.float32), Contract(classes=classes)
    written = Written(probs, contract)
    for number in range(len(rows)):
        alone = Probabilities(probs[number : number + 1], "7", contract)
        shared = Probabilities(probs, "7", contract, written=written).part(number, number + 1)
        assert shared.written is written
        assert prediction(shared, many=False) == prediction(alone, many=False)
        assert prediction(shared, many=True) == prediction(alone, many=True)
