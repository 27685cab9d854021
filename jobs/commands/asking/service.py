"""How commands ask a running service, and what its answers, or what came in their place, mean."""

import contextlib
import json
import os
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

from jobs.errors import FaultError, MistakeError
from jobs.laptop.serving_folder import ServingFolder
from jobs.settings import load_settings

if TYPE_CHECKING:
    import httpx

BUSY = {429, 502, 503, 504}
"""What is answered that will go away by itself."""

UNLIKE = ", unlike training"
"""What a table says behind the class of an image that is marked."""


@contextlib.contextmanager
def service(url: str | None, seconds: float) -> Iterator[tuple["httpx.Client", str]]:
    """Gives a client of a service, and the service's address.

    Args:
        url: The service's; None for the one that serves this model here.
        seconds: Until an answer has to be there.

    Raises:
        MistakeError: It is no address, or what answers there serves another model.
        FaultError: Nothing answers.
    """
    settings = load_settings()
    status = None if url or settings.port_given else ServingFolder(settings.serving, settings.model).status()
    address = url or (status.url if status else settings.url)
    guessed = status is None and not url and not settings.port_given
    with _client(address, seconds) as client:
        if guessed:
            _require_model(client, settings.model)
        yield client, address


def _client(address: str, seconds: float) -> "httpx.Client":
    import httpx

    from model.data.remote.http_client import UnusableWayError, http_client

    try:
        return http_client(address, seconds)
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
    if reached(client, lambda: client.get(path)).status_code == httpx.codes.NOT_FOUND:
        raise MistakeError(
            f"{client.base_url} does not serve the model {model}, and no service of it runs here; start one "
            "with `cnn-image serve`, or give --url."
        )


def _no_address(address: object, error: Exception) -> MistakeError:
    return MistakeError(f"{address} is no address of a service ({error}); write http://HOST:PORT.")


def predicted(client: "httpx.Client", name: str, data: bytes, **query: str) -> "httpx.Response":
    """What `POST /predict` answers to an image.

    Args:
        client: Of the service.
        name: The image's.
        data: The encoded image.
        query: The request's.

    Raises:
        FaultError: Nothing answers.
    """
    # A name on a disk may be of bytes that are no UTF-8; nothing but people reads it there.
    files = {"file": (os.fsencode(Path(name).name).decode("utf-8", "replace"), data)}
    return reached(client, lambda: client.post("/predict", files=files, params=query))


def reached(client: "httpx.Client", ask: "Callable[[], httpx.Response]") -> "httpx.Response":
    """Asks; where nobody answers, the error says what to do.

    Raises:
        MistakeError: The address, or the way there, cannot be used.
        FaultError: Nothing answers.
    """
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


def answered(response: "httpx.Response", address: str) -> dict[str, Any]:
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


def mark(response: "httpx.Response") -> dict[str, bool]:
    """Whether the one image of a request is unlike anything learned, as JSON has it.

    Returns:
        `out_of_distribution`; nothing where the version that answered cannot tell.
    """
    said = response.headers.get("X-Out-Of-Distribution")
    return {} if said is None else {"out_of_distribution": said == "true"}


def sentence(body: dict[str, Any]) -> str:
    """What an answer says is wrong."""
    for key in ("error", "message", "detail"):
        if isinstance(body.get(key), str):
            return str(body[key])
    return json.dumps(body)[:300]
