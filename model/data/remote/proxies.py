"""Which proxy leads to an address: none to this machine, and to others the one that the environment names.

Every client of ours asks here (httpx in `http_client`, boto3 in `s3_client`). Libraries that read the
environment themselves, MLflow's and Kubernetes' among them, and all child processes learn it from NO_PROXY:
see `leave_this_machine_out`.
"""

import contextlib
import ipaddress
import os
import socket
from typing import Final, NamedTuple
from urllib.parse import urlsplit
from urllib.request import getproxies_environment, proxy_bypass

SCHEMES: Final = ("http", "https", "socks5", "socks5h")
# The last is where a machine in Amazon's cloud and others asks for its own credentials: no proxy gets there.
_THIS_MACHINE: Final = ("localhost", "127.0.0.1", "127.0.0.0/8", "::1", "169.254.169.254")


class Proxy(NamedTuple):
    """A proxy that the environment names.

    Attributes:
        url: With user and password, if it has any.
        variable: The environment variable that names it.
    """

    url: str
    variable: str

    @property
    def is_socks(self) -> bool:
        """Whether it speaks SOCKS, not HTTP."""
        return self.url.startswith("socks")

    def __str__(self) -> str:
        """For sentences: without user and password."""
        parts = urlsplit(self.url)
        return f"{parts.scheme}://{parts.netloc.rpartition('@')[2]} ({self.variable})"


class ProxySettingError(ValueError):
    """A variable names a proxy in a way that no client knows; the sentence says which and what to do."""


def proxy_for(url: str) -> Proxy | None:
    """The proxy that leads to an address; None to this machine, and where NO_PROXY lists the host.

    Args:
        url: With its scheme; a proxy for that scheme comes before ALL_PROXY.

    Raises:
        ProxySettingError: The one that is named is none, or of a kind that is not known.
    """
    parts = urlsplit(url)
    host = parts.hostname or ""
    named = getproxies_environment()
    found = next((scheme for scheme in (parts.scheme, "all") if named.get(scheme)), None)
    if found is None or is_this_machine(host) or _listed(host, parts.netloc, named.get("no", "")):
        return None
    name = f"{found}_proxy"
    variable = name if os.environ.get(name) else name.upper()
    # GNOME and others write socks://, and mean a SOCKS of any version.
    address = named[found] if "://" in named[found] else f"http://{named[found]}"
    proxy = Proxy(address.replace("socks://", "socks5://", 1), variable)
    try:
        known = urlsplit(proxy.url).scheme in SCHEMES and bool(urlsplit(proxy.url).hostname)
        _ = urlsplit(proxy.url).port
    except ValueError:
        known = False
    if not known:
        raise ProxySettingError(
            f"{variable} names no proxy that can be used: write http://HOST:PORT or socks5://HOST:PORT "
            f"there, unset it, or add {host} to NO_PROXY."
        )
    return proxy


def is_this_machine(host: str) -> bool:
    """Whether a host, a name or an address without brackets, is this machine; no name is looked up."""
    if host == "localhost" or host.endswith(".localhost") or host == socket.gethostname().lower():
        return True
    try:
        address = ipaddress.ip_address(host)
    except ValueError:
        return False
    if address.is_loopback or address.is_unspecified or address.is_link_local:
        return True
    family = socket.AF_INET if address.version == 4 else socket.AF_INET6
    with contextlib.suppress(OSError), socket.socket(family, socket.SOCK_DGRAM) as probe:
        probe.bind((host, 0))  # only an address of this machine can be bound
        return True
    return False


def leave_this_machine_out() -> None:
    """Add this machine to NO_PROXY, for libraries that read the environment and for child processes."""
    named = getproxies_environment()
    if not named.keys() - {"no"}:
        return
    listed = [entry.strip() for entry in named.get("no", "").split(",") if entry.strip()]
    if listed == ["*"]:
        return
    listed += [entry for entry in (*_THIS_MACHINE, socket.gethostname()) if entry not in listed]
    for name in ("no_proxy", "NO_PROXY"):  # some libraries read the one, some the other
        os.environ[name] = ",".join(listed)


def _listed(host: str, netloc: str, no_proxy: str) -> bool:
    """Whether NO_PROXY lists a host: by name, by domain, or by a range of addresses as clusters write it."""
    if proxy_bypass(netloc.rpartition("@")[2], {"no": no_proxy}):
        return True
    with contextlib.suppress(ValueError):
        address = ipaddress.ip_address(host)
        for entry in no_proxy.split(","):
            with contextlib.suppress(ValueError):
                if address in ipaddress.ip_network(entry.strip(), strict=False):
                    return True
    return False
