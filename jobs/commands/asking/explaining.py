"""Asking a running service why: `explain`."""

import base64
import io
import json
import sys
from collections.abc import Callable
from http import HTTPStatus
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Final

import typer

from jobs.commands.asking.service import (
    BUSY,
    UNLIKE,
    answered,
    mark,
    predicted,
    reached,
    sentence,
    service,
)
from jobs.commands.options import JsonFlag
from jobs.console import answer, say, table
from jobs.errors import FaultError, MistakeError

if TYPE_CHECKING:
    import httpx

# The service's own limit is shorter, and its sentence better than a client's that gave up.
_SECONDS: Final = 600
_SIDE: Final = 448  # at least, of the picture that is written: squares of 32 pixels are hard to see


def explain(
    image: Annotated[str, typer.Argument(help="A file, or - for standard input.", show_default=False)],
    out: Annotated[
        Path | None, typer.Option("--out", help="Where the picture with the map over it goes, a PNG.")
    ] = None,
    url: Annotated[
        str | None, typer.Option("--url", help="Of the service. [where this model is served here]")
    ] = None,
    as_json: JsonFlag = False,
) -> None:
    """Ask a service which parts of an image carry its class."""
    if out is None and not as_json:
        raise MistakeError("Say where the picture goes, as in --out map.png, or ask for the numbers: --json.")
    data = _read(image)
    with service(url, _SECONDS) as (client, address):
        response = predicted(client, image, data, explain="true")
        body = answered(response, address)
        if response.status_code in BUSY:
            raise FaultError(f"{address} cannot answer now ({response.status_code}): {sentence(body)}")
        if response.status_code != HTTPStatus.OK:
            raise MistakeError(f"{image}: {sentence(body)}")
        if "explanation" not in body:
            raise MistakeError(f"The service at {address} explains nothing: update it to this release.")
        if out is not None:
            _write(out, _drawn(client, address, data, body["explanation"]))
    explanation = body["explanation"]
    if as_json:
        answer(json.dumps({"image": image, **body, **mark(response)}, indent=1))
        return
    strongest = max(max(row) for row in explanation["map"])
    name = body["class_name"] + (UNLIKE if mark(response).get("out_of_distribution") else "")
    row = (image, name, f"{body['confidence']:.3f}", explanation["version"])
    table(
        ("image", "class", "confidence", "version", "masks", "strongest", "standard error"),
        [(*row, str(explanation["masks"]), f"{strongest:+.3f}", f"{explanation['standard_error']:.3f}")],
    )
    say(f"The picture as the network sees it, with the map over it: {out}")


def _read(image: str) -> bytes:
    if image == "-":
        return sys.stdin.buffer.read()
    try:
        return Path(image).read_bytes()
    except OSError as error:
        raise MistakeError(f"{image} cannot be read: {error.strerror}; name a file or -.") from None


def _drawn(client: "httpx.Client", address: str, data: bytes, explanation: dict[str, Any]) -> bytes:
    """The square that the version sees, enlarged, with the map over it: a PNG."""
    from PIL import Image

    from model.images.decode import decode_image, read_header
    from model.images.limits import LIMITS, Limit

    version = {"version": explanation["version"]}
    info = answered(reached(client, lambda: client.get("/info", params=version)), address)
    if "fit" not in info:
        raise FaultError(f"{address} does not describe version {explanation['version']}: {sentence(info)}")
    size = info["input_shape"][0]
    # What the service has taken is taken here too: it may be told to take larger pictures than others do.
    limits = {form: Limit(pixels=sys.maxsize, bytes=sys.maxsize) for form in LIMITS}
    square = decode_image(data, read_header(data, limits, size), size=size, fit=info["fit"])
    side = size * -(-_SIDE // size)
    picture = Image.fromarray(square).resize((side, side), Image.Resampling.NEAREST).convert("RGBA")
    with Image.open(io.BytesIO(base64.b64decode(explanation["overlay"].partition(",")[2]))) as overlay:
        picture.alpha_composite(overlay.convert("RGBA").resize((side, side), Image.Resampling.BILINEAR))
    file = io.BytesIO()
    picture.convert("RGB").save(file, "PNG")
    return file.getvalue()


def _write(out: Path, png: bytes) -> None:
    try:
        out.write_bytes(png)
    except OSError as error:
        raise MistakeError(
            f"{out} cannot be written: {error.strerror}; name a file in a folder of yours."
        ) from None


COMMANDS: tuple[Callable[..., None], ...] = (explain,)
