"""Asking a running service: `predict`."""

import json
import sys
from collections.abc import Callable, Iterator
from http import HTTPStatus
from pathlib import Path
from typing import Annotated, Any

import typer

from jobs.commands.asking.service import BUSY, UNLIKE, answered, mark, predicted, sentence, service
from jobs.commands.options import JsonFlag
from jobs.console import answer, say, shown, table
from jobs.errors import FaultError, MistakeError
from model.data.findings import counted

_SECONDS = 60
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
    answers: list[dict[str, Any]] = []
    refused = unread = 0
    away = ""
    with service(url, _SECONDS) as (client, address):
        for name, data in _read(images):
            if isinstance(data, OSError):
                unread += 1
                error = f"It cannot be read: {data.strerror}; name a file, a folder or -."
                say(f"{shown(name)}: {error}")
                answers.append({"image": name, "error": error})
                continue
            response = predicted(client, name, data)
            body = answered(response, address)
            if response.status_code == HTTPStatus.OK:
                version = response.headers.get("X-Model-Version")
                answers.append({"image": name, "version": version, **body, **mark(response)})
            elif response.status_code in BUSY:
                away = f"{address} cannot answer now ({response.status_code}): {sentence(body)}"
                break
            else:
                refused += 1
                say(f"{shown(name)}: {sentence(body)}")
                answers.append({"image": name, "error": sentence(body)})
    if away and not answers:
        raise FaultError(away)
    if as_json:
        answer(json.dumps(answers, indent=1))
    else:
        rows = [
            (
                entry["image"],
                entry["class_name"] + (UNLIKE if entry.get("out_of_distribution") else ""),
                f"{entry['confidence']:.3f}",
                str(entry["version"]),
            )
            for entry in answers
            if "error" not in entry
        ]
        table(("image", "class", "confidence", "version"), rows)
    if away:
        raise FaultError(
            f"{away} Before that it was asked about {counted(len(answers), 'image')}: see above."
        )
    if refused or unread:
        counts = ((refused, "were refused"), (unread, "could not be read"))
        told = " and ".join(f"{count} of {len(answers)} images {what}" for count, what in counts if count)
        raise MistakeError(f"{told}.")


def _read(arguments: list[str]) -> Iterator[tuple[str, bytes | OSError]]:
    """Each image's name and bytes, or why it has none.

    Raises:
        MistakeError: A folder has no image.
    """
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
                yield str(file), error


COMMANDS: tuple[Callable[..., None], ...] = (predict,)
