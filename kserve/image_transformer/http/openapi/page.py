"""`/docs`: Swagger UI out of a package, so that a cluster without the internet has it too.

The page may load and ask nothing but its own origin, and no script stands in it.
"""

import asyncio
from importlib.util import find_spec
from pathlib import Path
from typing import Final

from image_transformer.errors import ServiceError
from image_transformer.http.request import Response

_PAGE: Final = b"""<!doctype html>
<html lang="en">
<meta charset="utf-8">
<meta name="viewport" content="width=device-width">
<title>cnn-image</title>
<link rel="icon" href="data:,">
<link rel="stylesheet" href="docs/swagger-ui.css">
<div id="swagger-ui"></div>
<script src="docs/swagger-ui-bundle.js"></script>
<script src="docs/start.js"></script>
</html>
"""
_START: Final = (
    b'SwaggerUIBundle({url: "openapi.json", dom_id: "#swagger-ui", deepLinking: true, validatorUrl: null});'
)
_KINDS: Final = {"swagger-ui-bundle.js": b"text/javascript", "swagger-ui.css": b"text/css"}
# Swagger UI shows icons as data: URLs; everything else is the service's own.
_POLICY: Final = (
    b"default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self' data:; "
    b"connect-src 'self'; form-action 'none'; frame-ancestors 'none'; base-uri 'none'"
)
_HEADERS: Final = (
    (b"content-security-policy", _POLICY),
    (b"x-content-type-options", b"nosniff"),
    (b"referrer-policy", b"no-referrer"),
)
_KEPT: Final = (b"cache-control", b"public, max-age=3600")


def docs_page() -> Response:
    """Returns the page."""
    return Response(200, _PAGE, _HEADERS, b"text/html; charset=utf-8")


async def docs_part(name: str) -> Response:
    """Returns what the page loads.

    Raises:
        ServiceError: it loads nothing of that name.
    """
    if name == "start.js":
        return Response(200, _START, (*_HEADERS, _KEPT), b"text/javascript; charset=utf-8")
    if name not in _KINDS:
        raise ServiceError("unknown_route", "There is no such route; /info and the README list them.")
    body = await asyncio.to_thread((_folder() / name).read_bytes)
    return Response(200, body, (*_HEADERS, _KEPT), _KINDS[name] + b"; charset=utf-8")


def _folder() -> Path:
    """Where Swagger UI lies; the package is not imported, as it makes applications of its own."""
    spec = find_spec("fastapi_offline")
    if spec is None or spec.origin is None:
        raise ServiceError(
            "unknown_route", "Swagger UI is not installed here; /openapi.json has all it shows."
        )
    return Path(spec.origin).with_name("static")
