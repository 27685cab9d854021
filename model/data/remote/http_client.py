"""HTTP clients: towards this machine as if the environment named neither proxy nor certificates, towards
others by what it names, and one sentence where that cannot be used.

On httpx alone, each request would go to Triton through `http_proxy`, and a file in SSL_CERT_FILE that is gone
would end every client, also one that never speaks TLS.
"""

import os
import socket
import ssl
from typing import Any

import httpcore
import httpx

from model.data.remote.proxies import Proxy, ProxySettingError, is_this_machine, proxy_for


class UnusableWayError(httpx.TransportError):
    """A proxy or certificates that the environment names cannot be used; the sentence says what to do."""


def http_client(url: str, timeout: float, ip: str = "") -> httpx.Client:
    """A client for an address, and for that address alone.

    Args:
        url: The service's address, with its scheme.
        timeout: Seconds for connecting and for each read and write.
        ip: Address to connect to in place of those that the host's name leads to. A proxy, which looks the
            name up by itself, does not hear of it.

    Raises:
        UnusableWayError: What the environment says of the way there makes no sense. Requests raise it too,
            where a proxy does not answer or refuses.
        httpx.InvalidURL: It is no address.
    """
    scheme = httpx.URL(url).scheme
    proxy = _proxy(url)
    tls = _certificates() if scheme == "https" else ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    transport = _ThroughProxy(proxy, tls, timeout) if proxy else httpx.HTTPTransport(verify=tls)
    if ip and not proxy:
        transport._pool._network_backend = _At(ip)
    # The environment's proxies count for httpx' own transport alone; its .netrc still does here.
    return httpx.Client(base_url=url, timeout=timeout, transport=transport)


def addresses(url: str) -> list[str]:
    """The IP addresses that a service's host leads to, of both families; nothing is sent there.

    Left out are those to which this machine has no way. None are given for a name that leads nowhere, behind
    a proxy, which looks the name up by itself, and for this machine, where a tunnel may be what listens.

    Raises:
        UnusableWayError: See `http_client`.
        httpx.InvalidURL: It is no address.
    """
    host = httpx.URL(url).raw_host.decode()
    if _proxy(url) or is_this_machine(host):
        return []
    try:
        found = socket.getaddrinfo(host, None, type=socket.SOCK_STREAM)
    except (OSError, UnicodeError):
        return []
    return [ip for ip in dict.fromkeys(str(to[0]) for *_, to in found) if has_way_to(ip)]


def has_way_to(ip: str) -> bool:
    """Whether this machine has a way to an address; nothing is sent."""
    try:
        with socket.socket(socket.AF_INET6 if ":" in ip else socket.AF_INET, socket.SOCK_DGRAM) as probe:
            probe.connect((ip, 9))
    except OSError:
        return False
    return True


def local_client(url: str, timeout: float = 5) -> httpx.AsyncClient:
    """A client for a server on this machine that speaks plain HTTP: the environment is not asked."""
    no_certificates = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    return httpx.AsyncClient(base_url=url, timeout=timeout, trust_env=False, verify=no_certificates)


def _proxy(url: str) -> Proxy | None:
    try:
        return proxy_for(url)
    except ProxySettingError as error:
        raise UnusableWayError(str(error)) from error


def _certificates() -> ssl.SSLContext:
    """What httpx trusts: SSL_CERT_FILE, else SSL_CERT_DIR, else certifi's."""
    named = next((name for name in ("SSL_CERT_FILE", "SSL_CERT_DIR") if os.environ.get(name)), None)
    if named == "SSL_CERT_DIR" and not os.path.isdir(os.environ[named]):  # noqa: PTH112 - OpenSSL says nothing
        raise UnusableWayError(_no_certificates(named, "it is no folder"))
    try:
        return httpx.create_ssl_context()
    except OSError as error:  # ssl.SSLError, a file without a certificate, is one too
        if named is None:
            raise
        raise UnusableWayError(_no_certificates(named, error.strerror or str(error))) from error


def _no_certificates(variable: str, reason: str) -> str:
    return (
        f"{variable} names {os.environ[variable]}, which cannot be used ({reason}): "
        "put the authorities' certificates there, in PEM, or unset it."
    )


class _ThroughProxy(httpx.HTTPTransport):
    """Sends all requests through one proxy, and says so where that is at fault."""

    def __init__(self, proxy: Proxy, tls: ssl.SSLContext, seconds: float) -> None:
        super().__init__(verify=tls, proxy=proxy.url)
        self._proxy = proxy
        if proxy.is_socks:
            self._pool._network_backend = _GreetedInTime(seconds)

    def handle_request(self, request: httpx.Request) -> httpx.Response:
        try:
            response = super().handle_request(request)
        except (httpx.ConnectError, httpx.ConnectTimeout) as error:
            if "CERTIFICATE_VERIFY_FAILED" in str(error):  # of the server behind the proxy
                raise
            raise self._unusable(request, f"nothing answers there: {error}") from error
        except httpx.TransportError as error:
            if not isinstance(error, httpx.ProxyError | httpx.ProtocolError):
                raise
            raise self._unusable(request, str(error).rstrip(".")) from error
        except Exception as error:  # socksio's, which httpx lets through: no SOCKS speaks there
            raise self._unusable(request, f"it speaks no {self._proxy.url.partition(':')[0]}") from error
        if response.status_code == httpx.codes.PROXY_AUTHENTICATION_REQUIRED:
            response.close()
            raise self._unusable(request, "407: it wants a user and a password")
        return response

    def _unusable(self, request: httpx.Request, reason: str) -> UnusableWayError:
        host = request.url.host
        return UnusableWayError(
            f"The proxy {self._proxy} on the way to {host} cannot be used ({reason}): "
            f"correct or unset {self._proxy.variable}, or add {host} to NO_PROXY."
        )


class _At(httpcore.SyncBackend):
    """Connects to one address, whatever the name leads to; TLS and Host still have the name."""

    def __init__(self, ip: str) -> None:
        self._ip = ip

    def connect_tcp(self, host: str, port: int, *arguments: Any, **named: Any) -> httpcore.NetworkStream:
        """See `httpcore.NetworkBackend.connect_tcp`."""
        return super().connect_tcp(self._ip, port, *arguments, **named)


class _GreetedInTime(httpcore.SyncBackend):
    """httpcore 1.0 waits without end for what a SOCKS proxy says before it lets a request through."""

    def __init__(self, seconds: float) -> None:
        self._seconds = seconds

    def connect_tcp(self, *arguments: Any, **named: Any) -> httpcore.NetworkStream:
        """See `httpcore.NetworkBackend.connect_tcp`."""
        stream = super().connect_tcp(*arguments, **named)
        read = stream.read

        def read_in_time(max_bytes: int, timeout: float | None = None) -> bytes:
            if timeout is not None:  # the service's answer, which httpx itself bounds
                return read(max_bytes, timeout)
            try:
                return read(max_bytes, self._seconds)
            except httpcore.ReadTimeout as error:
                raise httpcore.ProxyError("it does not answer as SOCKS does") from error

        stream.read = read_in_time  # type: ignore[method-assign]
        return stream
