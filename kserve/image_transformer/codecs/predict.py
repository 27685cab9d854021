"""POST /predict: uploads to encoded images, probabilities to the original service's bodies."""

import itertools
import re
from email.message import Message
from typing import Final

import numpy as np
import orjson

from image_transformer.codecs.tensors import Probabilities
from image_transformer.codecs.v2 import invalid
from image_transformer.errors import ServiceError

_FIELD: Final = "file"
_PART_HEADERS: Final = 8192
_OTHER_PARTS: Final = 100
# What every browser and library sends; anything else takes the long way round.
_PLAIN_DISPOSITION: Final = re.compile(
    rb'(?i)content-disposition: *form-data; *name="([^"\\\r\n]*)"(?:; *filename="[^"\\\r\n]*")? *(?:\r\n|$)'
)


def uploaded(content_type: str, body: bytes, max_images: int) -> tuple[list[bytes], bool]:
    """Takes the images out of a request to /predict.

    Args:
        content_type: The request's header.
        body: Its body: multipart with a field `file` for each image, or one image as it is.
        max_images: How many images it may have.

    Returns:
        The encoded images, and whether a list of answers is due.

    Raises:
        ServiceError: another content type, or a form without images.
    """
    kind = content_type.partition(";")[0].strip().lower()
    if kind == "multipart/form-data":
        files = form_files(content_type, body, max_images)
        if not files:
            raise invalid(
                f"The form has no field {_FIELD!r}; send each image in one, as -F {_FIELD}=@image.jpg does."
            )
        if len(files) > max_images:
            raise ServiceError(
                "too_many_images", f"The form has {len(files)} images; send at most {max_images}."
            )
        return files, len(files) > 1
    if kind.startswith("image/") or kind == "application/octet-stream":
        return [body], False
    raise ServiceError(
        "unsupported_media_type",
        f"Send multipart/form-data with a field {_FIELD!r}, or the image itself as image/*.",
    )


def form_files(content_type: str, body: bytes, max_images: int) -> list[bytes]:
    """Returns the contents of the fields `file` of a multipart form that is there as a whole (RFC 7578).

    Nothing but those contents is copied: forms are the largest bodies.

    Raises:
        ServiceError: the form is broken, or has far more parts than images may be.
    """
    # Every delimiter but the first follows a line break, which belongs to it.
    delimiter = b"\r\n--" + _boundary(content_type)
    cuts = [-2] if body.startswith(delimiter[2:]) else []
    position = cuts[0] + len(delimiter) if cuts else 0
    while (at := body.find(delimiter, position)) >= 0:
        cuts.append(at)
        position = at + len(delimiter)
        if len(cuts) > max_images + _OTHER_PARTS:
            raise ServiceError(
                "too_many_images", f"The form has too many parts; send at most {max_images} images."
            )
    if not cuts or not body.startswith(b"--", position):
        raise invalid(
            "The form does not have the boundary its header announces, or is cut short; send it whole."
            if len(cuts) < 2
            else "The form ends without its closing boundary; send it whole."
        )
    files = []
    for before, stop in itertools.pairwise(cuts):
        start = before + len(delimiter)
        end_of_line = body.find(b"\r\n", start, stop)
        end = body.find(b"\r\n\r\n", max(end_of_line, start), min(stop, start + _PART_HEADERS))
        if end_of_line < 0 or body[start:end_of_line].strip(b" \t") or end < 0:
            raise invalid("A part of the form has no headers; send the form as RFC 7578 has it.")
        if _name(body[end_of_line + 2 : end]) == _FIELD:
            files.append(body[end + 4 : stop])
    return files


def _boundary(content_type: str) -> bytes:
    header = Message()
    header["content-type"] = content_type.replace("\n", "").replace("\r", "")
    boundary = header.get_boundary()
    if not boundary or len(boundary) > 70 or not boundary.isascii():
        raise invalid("The header Content-Type names no boundary; let your HTTP library write it.")
    return boundary.encode()


def _name(headers: bytes) -> str | None:
    if plain := _PLAIN_DISPOSITION.match(headers):
        return plain[1].decode("utf-8", "replace")
    parsed = Message()
    for line in re.split(r"\r\n(?![ \t])", headers.decode("utf-8", "replace")):
        key, _, value = line.partition(":")
        if key.strip().lower() == "content-disposition":
            parsed["content-disposition"] = value.strip()
    name = parsed.get_param("name", None, "content-disposition")
    return name if isinstance(name, str) else None


def prediction(result: Probabilities, *, many: bool) -> bytes:
    """Writes the original service's body, or a list of them in the images' order."""
    contract = result.contract
    if result.written is not None and len(result.probs) == 1 and not many:
        best, row = result.written.best(result.first), result.written.row(result.first)
        names, filters = result.written.texts
        return (
            b'{"class_id":%d,"class_name":%b,"confidence":%b,"probabilities":[%b],"filters_applied":%b}'
            % (best, names[best], row.split(b",")[best], row, filters)
        )
    bodies = []
    for row, best in zip(
        np.ascontiguousarray(result.probs), result.probs.argmax(axis=1).tolist(), strict=True
    ):
        bodies.append(
            {
                "class_id": best,
                "class_name": contract.classes[best],
                "confidence": row[best],
                "probabilities": row,
                "filters_applied": contract.filters,
            }
        )
    return orjson.dumps(bodies if many else bodies[0], option=orjson.OPT_SERIALIZE_NUMPY)
