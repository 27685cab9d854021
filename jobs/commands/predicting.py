"""Asking a running service: `predict`."""

import contextlib
import json
import sys
from collections.abc import Callable, Iterator
from http import HTTPStatus
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from jobs.commands.options import JsonFlag
from jobs.console import answer, say, table
from jobs.errors import FaultError, MistakeError
from jobs.laptop.serving_folder import ServingFolder
from jobs.settings import load_settings

if TYPE_CHECKING:
    import httpx

_SUFFIXES = {
    *(".jpg", ".jpeg", ".png", ".webp", ".gif", ".bmp"),
    *(".tif", ".tiff", ".heic", ".heif", ".hif", ".avif"),
}


def predict(
    images: Annotated[
        list[str], typer.Argument(help="Files, folders, or - for standard input.", show_default=False)
    ],
    url: Annotated[
        str | None, typer.Option("--url", help="Of the service. [where this model is served here]")
    ] = None,
    as_json: JsonFlag = False,
) -> None:
    """Ask a service what is on images."""
    settings = load_settings()
    status = None if url or settings.port_given else ServingFolder(settings.serving, settings.model).status()
    address = url or (status.url if status else settings.url)
    guessed = status is None and not url and not settings.port_given
    answers: list[dict[str, Any]] = []
    refused = 0
    with _client(address) as client:
        if guessed:
            _require_model(client, settings.model)
        for name, data in _read(images):
            response = _post(client, name, data)
            body = _answered(response, address)
            if response.status_code == HTTPStatus.OK:
                version, unlike = map(response.headers.get, ("X-Model-Version", "X-Out-Of-Distribution"))
                mark = {} if unlike is None else {"out_of_distribution": unlike == "true"}
                answers.append({"image": name, "version": version, **body, **mark})
            elif response.status_code in {429, 502, 503, 504}:
                raise FaultError(f"{address} cannot answer now ({response.status_code}): {_sentence(body)}")
            else:
                refused += 1
                say(f"{name}: {_sentence(body)}")
                answers.append({"image": name, "error": _sentence(body)})
    if as_json:
        answer(json.dumps(answers, indent=1))
    else:
        rows = [
            (
                entry["image"],
                entry["class_name"] + (", unlike training" if entry.get("out_of_distribution") else ""),
                f"{entry['confidence']:.3f}",
                str(entry["version"]),
            )
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


def _client(address: str) -> "httpx.Client":
    import httpx

    from model.data.remote.http_client import UnusableWayError, http_client

    try:
        return http_client(address, 60)
    except UnusableWayError as error:
        raise MistakeError(str(error)) from error
    except httpx.InvalidURL as error:
        raise _no_address(address, error) from None


def _require_model(client: "httpx.Client", model: str) -> None:
    """Where nothing says that a model is served: require that what answers is that model and no other.

    Raises:
        MistakeError: It is another.
        FaultError: Nothing answers.
    """
    import httpx

    path = f"/v2/models/{model}"
    if _reached(client, lambda: client.get(path)).status_code == httpx.codes.NOT_FOUND:
        raise MistakeError(
            f"{client.base_url} does not serve the model {model}, and no service of it runs here; start one "
            "with `cnn-image serve`, or give --url."
        )


def _no_address(address: object, error: Exception) -> MistakeError:
    return MistakeError(f"{address} is no address of a service ({error}); write http://HOST:PORT.")


def _post(client: "httpx.Client", name: str, data: bytes) -> "httpx.Response":
    return _reached(client, lambda: client.post("/predict", files={"file": (Path(name).name, data)}))


def _reached(client: "httpx.Client", ask: "Callable[[], httpx.Response]") -> "httpx.Response":
    import httpx

    from model.data.remote.http_client import UnusableWayError

    try:
        return ask()
    except UnusableWayError as error:
        raise MistakeError(str(error)) from error
    except (httpx.InvalidURL, httpx.UnsupportedProtocol) as error:
        raise _no_address(client.base_url, error) from None
    except httpx.TransportError as error:
        raise FaultError(
            f"Nothing answers at {client.base_url} ({error}); start it with `cnn-image run`, or give --url."
        ) from None


def _answered(response: "httpx.Response", address: str) -> dict[str, Any]:
    """The service's own answer, which is a JSON object; what answers in its place sends something else.

    Raises:
        FaultError: It was not the service that answered.
    """
    from model.data.remote.proxies import proxy_for

    with contextlib.suppress(ValueError):
        body = response.json()
        if isinstance(body, dict):
            return body
    kind = response.headers.get("Content-Type", "no Content-Type").partition(";")[0]
    said = f"{response.status_code} {response.reason_phrase}, {kind}"
    if proxy := proxy_for(address):
        raise FaultError(
            f"The proxy {proxy} answered in place of {address} ({said}): see whether it may and can go "
            "there, or add that host to NO_PROXY."
        )
    raise FaultError(
        f"Something else than the service answered at {address} ({said}): a proxy, a gateway or another "
        "program; see whether the address is right and the service up."
    )


def _sentence(body: dict[str, Any]) -> str:
    for key in ("error", "message", "detail"):
        if isinstance(body.get(key), str):
            return str(body[key])
    return json.dumps(body)[:300]


COMMANDS: tuple[Callable[..., None], ...] = (predict,)
