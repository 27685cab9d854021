"""Serving on this machine: `run`, `serve`."""

import asyncio
from collections.abc import Callable
from typing import Annotated

import typer

from jobs.commands.options import DataFlag, FitFlag, MirrorFlag, NetworkFlag, SizeFlag, StoreFlag, WeightsFlag
from jobs.console import say
from jobs.settings import load_settings

PortFlag = Annotated[
    int | None,
    typer.Option(
        "--port", help="Of HTTP; gRPC takes the next one. [PORT, 8002; of another model the next free one]"
    ),
]


def run(
    data: DataFlag = None,
    size: SizeFlag = None,
    fit: FitFlag = None,
    network: NetworkFlag = None,
    weights: WeightsFlag = None,
    mirror: MirrorFlag = None,
    port: PortFlag = None,
    store: StoreFlag = None,
) -> None:
    """Train if nothing was trained yet, then serve on this machine: what `make run` does."""
    from jobs.laptop.run import run as carry_out

    carry_out(
        load_settings(
            data=data,
            size=size,
            fit=fit,
            network=network,
            weights=weights,
            mirror=mirror,
            port=port,
            store=store,
        )
    )


def serve(port: PortFlag = None, store: StoreFlag = None) -> None:
    """Serve the promoted version on this machine, and follow promotions, until Ctrl-C."""
    from jobs.laptop.serve import Service
    from jobs.laptop.serve import serve as carry_out

    settings = load_settings(port=port, store=store)

    async def ready(service: Service) -> None:
        say(f"Version {service.version} is served on {service.url}; Ctrl-C ends it.")

    asyncio.run(carry_out(settings, settings.open_store(), ready))


COMMANDS: tuple[Callable[..., None], ...] = (run, serve)
