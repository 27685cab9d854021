"""Asking a running service: `predict`."""

import json
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Annotated, Any

import typer

from jobs.commands.options import JsonFlag
from jobs.console import answer, say, table
from jobs.errors import FaultError, MistakeError
from jobs.settings import load_settings

_SUFFIXES = {
    *(".jpg", ".jpeg", ".png", ".webp", ".gif", ".bmp"),
    *(".tif", ".tiff", ".heic", ".heif", ".hif", ".avif"),
}


def predict(
    images: Annotated[
        list[str], typer.Argument(help="Files, folders, or - for standard input.", show_default=False)
    ],
    url: Annotated[str | None, typer.Option("--url", help="Of the service. [http://127.0.0.1:PORT]")] = None,
    as_json: JsonFlag = False,
) -> None:
    """Ask a service what is on images."""
    import httpx

    settings = load_settings()
    address = url or settings.url
    answers: list[dict[str, Any]] = []
    refused = 0
    with httpx.Client(base_url=address, timeout=60) as client:
        for name, data in _read(images):
            response = _post(client, name, data)
            if response.status_code == httpx.codes.OK:
                answers.append(
                    {"image": name, "version": response.headers.get("X-Model-Version"), **response.json()}
                )
            elif response.status_code in {429, 502, 503, 504}:
                raise FaultError(
                    f"{address} cannot answer now ({response.status_code}): {_sentence(response)}"
                )
            else:
                refused += 1
                say(f"{name}: {_sentence(response)}")
                answers.append({"image": name, "error": _sentence(response)})
    if as_json:
        answer(json.dumps(answers, indent=1))
    else:
        rows = [
            (entry["image"], entry["class_name"], f"{entry['confidence']:.3f}", str(entry["version"]))
            for entry in answers
            if "error" not in entry
        ]
        table(("image", "class", "confidence", "version"), rows)
    if refused:
        raise MistakeError(f"{refused} of {len(answers)} images were refused.")


def _read(arguments: list[str]) -> Iterator[tuple[str, bytes]]:
    for argument in arguments:
        if argument == "-":
            yield "-", sys.stdin.buffer.read()
            continue
        path = Path(argument)
        if path.is_dir():
            files = sorted(
                file for file in path.rglob("*") if file.suffix.lower() in _SUFFIXES and file.is_file()
            )
            if not files:
                raise MistakeError(
                    f"There is no image in {path}; images end in {', '.join(sorted(_SUFFIXES))}."
                )
        else:
            files = [path]
        for file in files:
            try:
                yield str(file), file.read_bytes()
            except OSError as error:
                raise MistakeError(
                    f"{file} cannot be read: {error.strerror}; name a file, a folder or -."
                ) from None


def _post(client: Any, name: str, data: bytes) -> Any:
    import httpx

    try:
        return client.post("/predict", files={"file": (Path(name).name, data)})
    except (httpx.InvalidURL, httpx.UnsupportedProtocol) as error:
        raise MistakeError(
            f"{client.base_url} is no address of a service ({error}); write http://HOST:PORT."
        ) from None
    except httpx.TransportError as error:
        raise FaultError(
            f"Nothing answers at {client.base_url} ({error}); start it with `cnn-image run`, or give --url."
        ) from None


def _sentence(response: Any) -> str:
    try:
        body = response.json()
    except ValueError:
        return str(response.text.strip()[:300])
    for key in ("error", "message", "detail"):
        if isinstance(body, dict) and isinstance(body.get(key), str):
            return str(body[key])
    return json.dumps(body)[:300]


COMMANDS: tuple[Callable[..., None], ...] = (predict,)
