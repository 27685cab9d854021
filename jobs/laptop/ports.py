"""Which ports a service takes: the default model's are always the same, another model finds its own.

Where the default model is here, its ports are left to it, whether or not it is served just now.
"""

import fcntl
import itertools
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Final

from jobs.errors import MistakeError
from jobs.laptop.processes import require_free_port
from jobs.laptop.serving_folder import ServingFolder, Status
from jobs.settings import Settings
from model.contract import DEFAULT_HTTP_PORT, MODEL_NAME

_MODELS: Final = 500
"""So many pairs of ports are tried."""

_HTTP: Final = ("HTTP", "PORT")
_GRPC: Final = ("gRPC", "CNN_IMAGE_GRPC_PORT")


def chooses(settings: Settings) -> bool:
    """Whether the service finds a port by itself: of a model that is not the default, and without `PORT`.

    In a container it does not, since the port that leads there is given to somebody else.
    """
    return settings.model != MODEL_NAME and not settings.port_given and not settings.in_container


def require_free_ports(settings: Settings) -> None:
    """Check that a service can have the ports that it is to have; nothing where it finds them by itself.

    Raises:
        MistakeError: One is in use; where another model of this folder holds it, the sentence says which.
    """
    if not chooses(settings):
        _require_free(settings, services(settings))


@contextmanager
def taken(settings: Settings) -> Iterator[Settings]:
    """The settings with the ports that a service takes.

    No other service of this state folder chooses meanwhile; once the context is left, the status is to say
    which are taken.

    Raises:
        MistakeError: One is in use, or all are.
    """
    settings.state.mkdir(parents=True, exist_ok=True)
    with (settings.state / "ports.lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        yield _choose(settings)


def services(settings: Settings) -> dict[str, Status]:
    """What runs from this state folder: model → what its service says of itself."""
    each = ((name, settings.of_model(name)) for name in settings.models())
    statuses = ((name, ServingFolder(of.serving, name).status()) for name, of in each)
    return {name: status for name, status in statuses if status is not None}


def _choose(settings: Settings) -> Settings:
    others = services(settings)
    if not chooses(settings):
        _require_free(settings, others)
        return settings
    require_free_port(settings.host, 0, "HTTP", "PORT")  # whether the address is one of this machine
    if settings.grpc_port is not None:
        _require_port(settings, others, settings.grpc_port, *_GRPC)
    folder = ServingFolder(settings.serving, settings.model)
    nearby = range(DEFAULT_HTTP_PORT, DEFAULT_HTTP_PORT + 2 * _MODELS, 2)
    last = folder.last_port()  # its clients know it
    kept = DEFAULT_HTTP_PORT if _has_default(settings.of_model(MODEL_NAME)) else None
    for port in itertools.chain([] if last is None else [last], nearby):
        if port == kept:
            continue
        chosen = settings.model_copy(update={"port": port})
        try:
            _require_free(chosen, others)
        except MistakeError:
            continue
        folder.remember_port(port)
        return chosen
    raise MistakeError(
        f"No pair of ports from {nearby[0]} to {nearby[-1] + 1} is free: choose one with PORT=…"
    )


def _has_default(default: Settings) -> bool:
    """Whether the default model is here too, which may be in training and will want its port."""
    return any(folder.is_dir() for folder in (default.home / "store", default.runs, default.serving))


def _require_free(settings: Settings, others: dict[str, Status]) -> None:
    _require_port(settings, others, settings.port, *_HTTP)
    _require_port(settings, others, settings.transformer_grpc_port, *_GRPC)


def _require_port(settings: Settings, others: dict[str, Status], port: int, what: str, variable: str) -> None:
    """Check that nothing listens on a port, nor is about to.

    Raises:
        MistakeError: Something does; where it is a service of this folder, the sentence says which.
    """
    for model, status in others.items():
        if port in status.ports:
            todo = (
                "use it, or stop it with Ctrl-C first."
                if model == settings.model
                else f"stop that one with Ctrl-C, or choose another with {variable}=…"
            )
            raise MistakeError(
                f"Port {port}, for {what}, is taken by the service of the model {model} (process "
                f"{status.pid}, {status.url}): {todo}"
            )
    require_free_port(settings.host, port, what, variable)
