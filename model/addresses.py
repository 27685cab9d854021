"""An address to listen on, as people write it: how it is joined with a port, and what `::` means.

Here because the command line, which looks whether a port is free, and the transformer, which then takes it,
have to agree.
"""

import errno
import socket


def joined(host: str, port: int) -> str:
    """Joins an address and a port as URLs and gRPC write them: one of IPv6 stands in brackets."""
    bare = host.strip("[]")
    return f"[{bare}]:{port}" if ":" in bare else f"{bare}:{port}"


def listen(host: str, port: int, backlog: int | None = None) -> socket.socket:
    """Listens on an address; on `::` for both families, and where the kernel has no IPv6 for IPv4's.

    Args:
        host: A name or an address, one of IPv6 with or without brackets.
        port: Port to listen on.
        backlog: Connections that may wait to be accepted; by the system unless given.

    Raises:
        OSError: it cannot be had.
    """
    bare = host.strip("[]")
    both = bare == "::" and socket.has_dualstack_ipv6()
    if bare == "::" and not both:
        bare = "0.0.0.0"  # noqa: S104 - what was asked for
    family = socket.AF_INET6 if ":" in bare else socket.AF_INET
    return socket.create_server((bare, port), family=family, backlog=backlog, dualstack_ipv6=both)


def leads_nowhere(error: OSError) -> bool:
    """Tells whether `listen` failed for its address, which is none of this machine, and not for its port."""
    number = error.errno or 0
    return number < 0 or number in {errno.EADDRNOTAVAIL, errno.EINVAL}  # below 0: a name that is not known
