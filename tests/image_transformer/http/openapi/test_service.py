"""The document against the real service: requests made up by schemathesis, and the page in a real browser."""

import base64
import re
from pathlib import Path
from typing import Any

import httpx
import pytest
import schemathesis
from browser import opened
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from schemathesis import GenerationMode
from serving import RunningTransformer

from image_transformer.http.openapi.table import TABLE, Operation

pytestmark = pytest.mark.slow

CHECKS = [
    schemathesis.checks.not_a_server_error,
    schemathesis.checks.status_code_conformance,
    schemathesis.checks.content_type_conformance,
    schemathesis.checks.response_headers_conformance,
    schemathesis.checks.response_schema_conformance,
    schemathesis.checks.unsupported_method,
]
EXAMPLES = 5
"""Requests of each route, right ones, and as many wrong ones."""

PICTURES = [path.read_bytes() for path in sorted(Path("model/sample/examples").glob("*.jpg"))]
pictures = st.sampled_from(PICTURES) | st.binary(max_size=64)
for kind in ("jpeg", "png", "webp", "gif", "bmp", "tiff", "heic", "avif"):
    schemathesis.openapi.media_type(f"image/{kind}", pictures)
schemathesis.openapi.format("binary", pictures)
schemathesis.openapi.format("byte", pictures.map(lambda picture: base64.b64encode(picture).decode()))


@pytest.fixture(scope="module")
def described(transformer: RunningTransformer) -> Any:
    return schemathesis.openapi.from_url(transformer.url + "/openapi.json")


@pytest.mark.parametrize("wrong", [False, True], ids=["right", "wrong"])
@pytest.mark.parametrize("row", TABLE, ids=lambda row: f"{row.method} {row.path}")
def test_every_answer_is_as_described(row: Operation, wrong: bool, described: Any) -> None:
    operation = described[row.path][row.method.upper()]
    if wrong and not (row.parameters or row.body):
        return  # nothing that could be wrong is sent
    mode = GenerationMode.NEGATIVE if wrong else GenerationMode.POSITIVE

    @given(case=operation.as_strategy(generation_mode=mode))
    @settings(max_examples=EXAMPLES, deadline=None, suppress_health_check=list(HealthCheck), derandomize=True)
    def ask(case: Any) -> None:
        case.call_and_validate(checks=CHECKS)

    ask()


def test_the_page_shows_every_route(transformer: RunningTransformer, tmp_path: Path) -> None:
    """Nothing of it comes from elsewhere: the policy lets the page ask nobody else."""
    answer = httpx.get(transformer.url + "/docs")
    assert (
        "default-src 'none'; script-src 'self'; style-src 'self';"
        in answer.headers["content-security-policy"]
    )
    assert not re.findall(r"https?://", answer.text)
    shown = opened(transformer.url + "/docs", tmp_path)
    described = httpx.get(transformer.url + "/openapi.json").json()
    for path, operations in described["paths"].items():
        for operation in operations.values():
            assert f">{operation['summary']}</div>" in shown, path
    assert httpx.get(transformer.url + "/docs/other.js").json()["code"] == "unknown_route"
