"""Other people's HTTP clients, each with its defaults: short and long bodies, by length and in chunks."""

import base64
import gzip
import io
import itertools
import json
import os
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from cut_proxy import CutProxy
from machine import program
from PIL import Image
from serving import RunningTransformer, SmallModel

from model.contract import CLASSES
from model.images.decode import decode_image

pytestmark = pytest.mark.slow

PROGRAMS = Path(__file__).parent / "clients"
Command = list[str]
Prepare = Callable[[Path], Command]


def curl(*more: str) -> Prepare:
    return lambda _: [program("curl", "apt-get install curl"), "-sS", *more]


def java(folder: Path) -> Command:
    compiler = program("javac", "apt-get install default-jdk-headless")
    subprocess.run([compiler, "-d", folder, PROGRAMS / "Client.java"], check=True, timeout=120)
    return [program("java", "apt-get install default-jdk-headless"), "-cp", str(folder), "Client"]


def go(folder: Path) -> Command:
    built = str(folder / "client")
    command = [program("go", "https://go.dev/dl"), "build", "-o", built, str(PROGRAMS / "client.go")]
    subprocess.run(command, check=True, timeout=600, env={**os.environ, "CGO_ENABLED": "0"})
    return [built]


def node(_: Path) -> Command:
    return [program("node", "apt-get install nodejs (18 or newer)"), str(PROGRAMS / "client.mjs")]


def python(library: str) -> Prepare:
    return lambda _: [sys.executable, str(PROGRAMS / "client.py"), library]


CLIENTS: dict[str, Prepare] = {
    "curl": curl(),
    "curl --http2": curl("--http2"),
    "java": java,
    "go": go,
    "node": node,
    **{library: python(library) for library in ("requests", "httpx", "aiohttp", "urllib3")},
}
ORDERS = [
    ("length:short", "length:long", "stream:short", "stream:long"),
    ("length:long", "length:short"),
    ("stream:long", "stream:short"),
]


@pytest.fixture(scope="module")
def pictures(
    tmp_path_factory: pytest.TempPathFactory, jpegs: list[bytes], small_model: SmallModel
) -> dict[str, tuple[Path, str]]:
    """A JPEG of some kilobytes and a PNG of 5 MB, each with its class, which differ."""

    def kind(picture: bytes) -> str:
        return CLASSES[int(small_model.probs(decode_image(picture)[np.newaxis]).argmax())]

    noise = np.random.default_rng(1).integers(0, 64, (1400, 1400, 3), np.uint8)

    def coloured() -> Iterator[bytes]:
        for colour in itertools.product((0, 180), repeat=3):
            buffer = io.BytesIO()
            Image.fromarray(noise + np.uint8(colour)).save(buffer, "PNG", compress_level=1)
            yield buffer.getvalue()

    long = next(picture for picture in coloured() if kind(picture) != kind(jpegs[0]))
    assert len(long) > 5_000_000
    folder = tmp_path_factory.mktemp("pictures")
    (folder / "short.jpg").write_bytes(jpegs[0])
    (folder / "long.png").write_bytes(long)
    return {"short": (folder / "short.jpg", kind(jpegs[0])), "long": (folder / "long.png", kind(long))}


def curl_arguments(address: str, sent: list[tuple[str, Path]]) -> Command:
    """One process and connection; a stream is what a header makes of it."""
    arguments: Command = []
    for kind, file in sent:
        coded = ["-H", "Transfer-Encoding: chunked"] if kind == "stream" else []
        arguments += ["--next"] if arguments else []
        arguments += ["-H", "Content-Type: image/*", *coded, "--data-binary", f"@{file}", address]
    return arguments


def answers(said: str) -> list[Any]:
    """The JSON bodies that a program printed one after the other."""
    decoder, found = json.JSONDecoder(), []
    while said := said.lstrip():
        body, end = decoder.raw_decode(said)
        found.append(body)
        said = said[end:]
    return found


@pytest.mark.parametrize("name", CLIENTS)
def test_a_client_is_answered(
    name: str, transformer: RunningTransformer, pictures: dict[str, tuple[Path, str]], tmp_path: Path
) -> None:
    command = CLIENTS[name](tmp_path)
    wire = CutProxy(transformer.http_port)
    address = f"http://127.0.0.1:{wire.port}/predict"
    for connections, order in enumerate(ORDERS, 1):
        sent = [(kind, *pictures[length]) for kind, length in (part.split(":") for part in order)]
        if name.startswith("curl"):
            arguments = curl_arguments(address, [(kind, path) for kind, path, _ in sent])
        else:
            arguments = [address, *(f"{kind}:{path}" for kind, path, _ in sent)]
        done = subprocess.run(
            [*command, *arguments], check=False, capture_output=True, text=True, timeout=120
        )
        assert done.returncode == 0, done.stderr
        told = [body.get("class_name", body) for body in answers(done.stdout)]
        assert told == [expected for _, _, expected in sent], order
        # One for each program; fetch at times opens a second while the first is being given back.
        assert wire.connections == connections or name == "node"
    assert wire.connections < sum(map(len, ORDERS))
    wire.close()


def test_curl_sends_and_takes_what_is_compressed(
    transformer: RunningTransformer, jpegs: list[bytes], tmp_path: Path
) -> None:
    data = [base64.b64encode(jpegs[0]).decode()]
    tensor = {"name": "image", "datatype": "BYTES", "shape": [1], "data": data}
    body, answer = tmp_path / "body.gz", tmp_path / "answer.json"
    body.write_bytes(gzip.compress(json.dumps({"inputs": [tensor]}).encode()))
    headers = ("-H", "Content-Type: application/json", "-H", "Content-Encoding: gzip")
    asked = f"{transformer.url}/v2/models/cnn-image-filters/infer"
    said = ("-o", answer, "-w", "%{size_download} %header{content-encoding}")
    command = [*curl("--compressed")(tmp_path), *headers, "--data-binary", f"@{body}", *said, asked]
    done = subprocess.run(command, check=True, capture_output=True, text=True, timeout=60)
    size, encoding = done.stdout.split()
    assert encoding == "gzip"
    assert int(size) < answer.stat().st_size / 2
    (output,) = json.loads(answer.read_text())["outputs"]
    channels = np.reshape(output["data"], output["shape"])
    assert np.array_equal(channels[0, ..., :3], decode_image(jpegs[0]))
