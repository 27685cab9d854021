"""Bodies of any kind on every route for a while: an answer below 500, always in our words."""

import asyncio
from pathlib import Path
from typing import Any

import orjson
import pytest
from atheris_run import fuzz
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

HERE = Path(__file__).parent
FORM = (
    b'--b\r\nContent-Disposition: form-data; name="file"; filename="x"\r\n\r\nimage\r\n--b\r\n'
    b'Content-Disposition: form-data; name="file"\r\n\r\n\r\n--b--\r\n'
)
SEEDS = [
    b"\x00" + FORM,
    b'\x40{"instances": [{"image": {"b64": "/9g="}}]}',
    b'\x80{"id": "a", "inputs": [{"name": "image", "datatype": "BYTES", "shape": [1], "data": ["/9g="]}]}',
    b'\x80{"inputs": [{"name": "image", "datatype": "UINT8", "shape": [1, 32, 32, 3], "data": [0]}]}',
    b'\xc0{"inputs": [{"name": "image", "datatype": "BYTES", "shape": [1],'
    b' "parameters": {"binary_data_size": 5}}]}\x01\0\0\0x',
]
ROUTES = ("/predict", "/v2/models/cnn-image/infer", "/v1/models/cnn-image:predict")
JSON_VALUES = st.recursive(
    st.none()
    | st.booleans()
    | st.integers(-5, 5000)
    | st.floats()
    | st.sampled_from(["image", "/9g=", "BYTES", "UINT8"]),
    lambda inner: (
        st.lists(inner, max_size=4)
        | st.dictionaries(
            st.sampled_from(
                [
                    "inputs",
                    "name",
                    "datatype",
                    "shape",
                    "data",
                    "parameters",
                    "outputs",
                    "id",
                    "instances",
                    "image",
                    "b64",
                ]
            ),
            inner,
            max_size=6,
        )
    ),
    max_leaves=20,
)


@pytest.mark.parametrize("path", sorted((HERE / "corpus").glob("*.bin")), ids=lambda path: path.name)
async def test_what_was_found_before(start_service: Any, path: Path) -> None:
    service = await start_service(max_images=8)
    content = path.read_bytes()[1:]  # noqa: ASYNC240 - a few bytes
    headers = {"inference_header_content_length": str(content.find(b"}]}") + 3)} if b"}]}" in content else {}
    for route in ROUTES:
        for kind in ("multipart/form-data; boundary=b", "application/json"):
            answer = await service.call("POST", route, content, content_type=kind, **headers)
            assert 400 <= answer.status < 500


@pytest.mark.slow
@pytest.mark.parametrize("route", ROUTES)
async def test_any_json_and_any_bytes(start_service: Any, route: str) -> None:
    service = await start_service(max_images=8)
    loop = asyncio.get_running_loop()
    kinds = st.sampled_from(
        [
            "application/json",
            "image/png",
            "multipart/form-data; boundary=b",
            "application/octet-stream",
            "",
            'é;;="',
        ]
    )
    lengths = st.none() | st.integers(-1, 40).map(str) | st.text("0123456789abc²", max_size=4)

    @settings(max_examples=400, deadline=None, suppress_health_check=list(HealthCheck))
    @given(
        body=st.binary(max_size=300)
        | JSON_VALUES.map(orjson.dumps)
        | st.sampled_from([seed[1:] for seed in SEEDS]),
        kind=kinds,
        length=lengths,
    )
    def every(body: bytes, kind: str, length: str | None) -> None:
        headers = {"content_type": kind}
        if length is not None and length.isascii():
            headers["inference_header_content_length"] = length
        call = service.call("POST", route, body, **headers)
        answer = asyncio.run_coroutine_threadsafe(call, loop).result(60)
        assert answer.status in {200, 400, 413, 415, 422}
        if answer.status != 200:
            assert {"error", "code", "request_id"} <= set(answer.json())

    await asyncio.to_thread(every)


@pytest.mark.slow
def test_atheris(tmp_path: Path) -> None:
    kept = [path.read_bytes() for path in (HERE / "corpus").glob("*.bin")]
    fuzz("routes", [*SEEDS, *kept], tmp_path, most_bytes=4000, corpus=HERE / "corpus")
