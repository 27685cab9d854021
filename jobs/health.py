"""A service's /health at each of its addresses: one family of them may answer and the other not."""

from typing import NamedTuple

import httpx

from jobs.errors import FaultError
from model.data.remote.http_client import UnusableWayError, http_client

_SECONDS = 10.0


class Health(NamedTuple):
    """What one address answered.

    Attributes:
        ip: The address; empty where the service was asked at whatever its host leads to.
        status: HTTP status, or None where there was no answer.
        text: The answer's body, or why there was none.
    """

    ip: str
    status: int | None
    text: str


def ask_health(url: str, ips: list[str]) -> list[Health]:
    """Ask a service for /health.

    Args:
        url: Its address.
        ips: The IP addresses at which to ask; where none are given, once, at what its host leads to.

    Raises:
        UnusableWayError: The way there that the environment names cannot be used.
        httpx.InvalidURL: It is no address.
    """
    return [_ask(url, ip) for ip in ips or [""]]


def require_all(url: str, answers: list[Health], both: str) -> None:
    """Require that no address is silent where another one answers.

    Args:
        url: The service's address.
        answers: At least one of them an answer.
        both: What to do so that both families answer.

    Raises:
        FaultError: One is silent.
    """
    answering = [answer.ip for answer in answers if answer.status is not None]
    for silent in answers:
        if silent.status is None:
            other_family = all((":" in ip) != (":" in silent.ip) for ip in answering)
            todo = both if other_family else "look at what stands behind that address"
            raise FaultError(
                f"{url} answers at {answering[0]} and not at {silent.ip} ({silent.text}): {todo}"
            )


def _ask(url: str, ip: str) -> Health:
    with http_client(url, _SECONDS, ip) as client:
        try:
            answer = client.get("/health")
        except UnusableWayError:
            raise
        except httpx.TransportError as error:
            return Health(ip, None, str(error) or type(error).__name__)
        return Health(ip, answer.status_code, answer.text.strip()[:200])
