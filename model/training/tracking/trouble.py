"""What is wrong with an MLflow that cannot be used: in words, with what mends it and whom to ask.

MLflow's own errors carry whole web pages, and name neither the setting nor the person that could help.
"""

import os
import re
from dataclasses import dataclass
from typing import Final

SUPPORTED: Final = "MLflow 2.3 or newer"

_STATUS: Final = re.compile(r"failed with error code (\d{3})|too many (\d{3}) error responses")
_ENDPOINT: Final = re.compile(r"to endpoint (\S+)")
_REASON: Final = re.compile(r"\[Errno -?\d+\] ([^'\")]+)|(timed out)|(Connection aborted|reset by peer)")
_CERTIFICATE: Final = re.compile(r"certificate verify failed: ([^(\"]+)")
_UNANSWERED: Final = ("failed with exception", "failed with timeout exception", "Max retries exceeded")
_LONGEST: Final = 200
"""Characters of a foreign sentence that are shown."""


@dataclass(frozen=True)
class Trouble:
    """Why a server cannot be used.

    Attributes:
        what: What it does, after its name: "does not answer (Connection refused)".
        remedy: What to do, or to ask its owner for.
        lasting: Whether asking again will end the same.
    """

    what: str
    remedy: str
    lasting: bool = True

    def sentence(self, uri: str) -> str:
        """One sentence, without its full stop."""
        return f"MLflow at {shown(uri)} {self.what}: {self.remedy}"


class ArtifactsError(Exception):
    """Files could not be stored where the server said; the cause is the storage's own error.

    Args:
        place: The address that the server named.
    """

    def __init__(self, place: str) -> None:
        super().__init__(place)
        self.place = shown(place)


def shown(uri: str) -> str:
    """An address without the user and password that may be in it."""
    return re.sub(r"//[^/@]*@", "//", uri)


def explain(error: BaseException) -> Trouble:
    """Say what is wrong with a server, and who mends it, by what its client raised."""
    place = None
    if isinstance(error, ArtifactsError) and error.__cause__ is not None:
        place, error = error.place, error.__cause__
    text = str(error)
    status = _status(error, text)
    if status is not None:
        return _by_status(status, text, _first_line(error) if _is_answer(error) else "")
    if "not in a valid JSON format" in text:
        return Trouble(
            "answers with a web page, as a login in front of it does",
            "ask its owner for the address that programs use and for a token (MLFLOW_TRACKING_TOKEN)",
        )
    if isinstance(error, ConnectionError | TimeoutError) or any(sign in text for sign in _UNANSWERED):
        return _by_connection(text)
    if place is not None:
        return Trouble(
            f"stores files at {place}, which cannot be written from here ({_first_line(error)})",
            "ask its owner to let the server pass files on (`mlflow server --serve-artifacts`, with an "
            "experiment whose artifacts lie at mlflow-artifacts:/), or for access to that place",
        )
    return Trouble(
        f"failed ({_first_line(error)})",
        f"ask its owner, who finds more in its log; it takes {SUPPORTED}",
        lasting=_is_answer(error),
    )


def _status(error: BaseException, text: str) -> int | None:
    """The HTTP status that an error is about; None for another kind, and for MLflow's own well-formed no."""
    if found := _STATUS.search(text):
        return int(found[1] or found[2])
    response = getattr(error, "response", None)  # of `requests`, where files are stored
    if response is not None and isinstance(getattr(response, "status_code", None), int):
        return int(response.status_code)
    if _is_answer(error):
        status = int(error.get_http_status_code())  # type: ignore[attr-defined]
        return status if status in {401, 403, 429} or status >= 500 else None
    return None


def _is_answer(error: BaseException) -> bool:
    """Whether a server of MLflow itself has answered, with a no."""
    # By its name: importing mlflow takes seconds, and not all that is explained has done it.
    return type(error).__name__ == "RestException"


def _by_status(status: int, text: str, said: str) -> Trouble:
    if status == 429 or (status >= 500 and status != 501):
        return Trouble(
            f"has a fault of its own ({f'{status}: {said}' if said else status})",
            "try again later; if it stays, its owner finds the reason in its log",
            lasting=False,
        )
    if status == 403 and "Host header" in text:
        return Trouble(
            "refuses the name that it is called by (403)",
            "ask its owner to add the host in MLFLOW_TRACKING_URI to `mlflow server --allowed-hosts`",
        )
    endpoint = found[1] if (found := _ENDPOINT.search(text)) else "what is asked for"
    absent = Trouble(
        f"has no {endpoint} ({status})",
        f"check the path in MLFLOW_TRACKING_URI, and ask its owner for {SUPPORTED}",
    )
    known = {
        401: Trouble("does not know who asks (401)", _credentials()),
        403: Trouble(
            "does not allow it (403)",
            "ask its owner for the right to make and edit the experiment and the registered model cnn-image",
        ),
        404: absent,
        405: absent,
        413: Trouble(
            "takes no file as large as a model (413)",
            "ask its owner to let 20 MB through the proxy in front of it (nginx: client_max_body_size)",
        ),
        501: absent,
    }
    other = Trouble(f"refuses {endpoint} ({status})", f"check MLFLOW_TRACKING_URI; it takes {SUPPORTED}")
    return known.get(status, other)


def _credentials() -> str:
    if os.environ.get("MLFLOW_TRACKING_USERNAME"):
        return "check MLFLOW_TRACKING_USERNAME and MLFLOW_TRACKING_PASSWORD"
    if os.environ.get("MLFLOW_TRACKING_TOKEN"):
        return "check MLFLOW_TRACKING_TOKEN, and whether it has run out"
    return (
        "ask its owner for a user or a token, and set MLFLOW_TRACKING_USERNAME and MLFLOW_TRACKING_PASSWORD, "
        "or MLFLOW_TRACKING_TOKEN"
    )


def _by_connection(text: str) -> Trouble:
    if "WRONG_VERSION_NUMBER" in text or "record layer failure" in text:
        return Trouble("does not speak TLS", "write http:// in MLFLOW_TRACKING_URI, or ask its owner for TLS")
    if "SSLError" in text:
        reason = found[1].strip(" .,") if (found := _CERTIFICATE.search(text)) else "the handshake failed"
        if "mismatch" in reason or "not valid for" in reason:
            return Trouble(
                f"has a certificate for another name ({reason})",
                "ask its owner for the name in the certificate, and write that into MLFLOW_TRACKING_URI",
            )
        return Trouble(
            f"has a certificate that is not trusted here ({reason})",
            "ask its owner for its authority's certificate, and name that file in "
            "MLFLOW_TRACKING_SERVER_CERT_PATH",
        )
    if "ProxyError" in text or "SOCKS" in text:
        return Trouble(
            "is not reached by the proxy that the environment names",
            "check HTTPS_PROXY and HTTP_PROXY, or name its host in NO_PROXY",
        )
    found = _REASON.search(text)
    reason = next(group for group in found.groups() if group) if found else text[:_LONGEST]
    return Trouble(
        f"does not answer ({reason.strip()})", "start it, or correct MLFLOW_TRACKING_URI", lasting=False
    )


def _first_line(error: BaseException) -> str:
    """A foreign error's first line that says something, without markup."""
    plain = re.sub(r"<[^>]*>", " ", str(error))
    line = next((line for line in map(str.strip, plain.splitlines()) if line), type(error).__name__)
    return line[:_LONGEST]
