"""Flags that several commands share, and where results go as files."""

import functools
from collections.abc import Callable, Mapping
from inspect import Parameter, Signature, signature
from pathlib import Path
from typing import Annotated

import typer

StoreFlag = Annotated[
    str | None,
    typer.Option("--store", help="A folder or s3://bucket/prefix. [CNN_IMAGE_STORE, var/store]"),
]
DataFlag = Annotated[
    str | None,
    typer.Option(
        "--data", help="A folder, an archive, a CSV or Parquet, an s3:// address, or 'sample'. [CIFAR10_DIR]"
    ),
]
SizeFlag = Annotated[
    int | None,
    typer.Option(
        "--size",
        help="Side of the network's input: 32, 48, 64, 96, 128, 160, 192 or 224. [CNN_IMAGE_SIZE, as before]",
    ),
]
FitFlag = Annotated[
    str | None,
    typer.Option(
        "--fit", help="How a picture becomes a square: stretch, crop or pad. [CNN_IMAGE_FIT, as before]"
    ),
]
NetworkFlag = Annotated[
    str | None,
    typer.Option(
        "--network",
        help="What learns: cnn, from nothing; efficientnet-lite0, -lite1 or -lite2, which know photographs. "
        "[CNN_IMAGE_NETWORK, as before]",
    ),
]
WeightsFlag = Annotated[
    Path | None,
    typer.Option(
        "--weights",
        help="A file of weights that the network begins with. [CNN_IMAGE_WEIGHTS, its package's]",
    ),
]
MirrorFlag = Annotated[
    bool | None,
    typer.Option("--mirror/--no-mirror", help="Learn mirrored pictures too. [CNN_IMAGE_MIRROR, mirror]"),
]
FixFlag = Annotated[
    Path | None,
    typer.Option("--fix", help="CSV of labels put right: columns image and fix (a class, or drop)."),
]
NewClassesFlag = Annotated[
    bool,
    typer.Option("--new-classes", help="The classes have nothing to do with those of the versions before."),
]
RenameFlag = Annotated[
    list[str] | None,
    typer.Option(
        "--rename",
        help="old=new: a class is called something else and stays the same one; may be repeated. "
        "[CNN_IMAGE_RENAME]",
    ),
]
DropLeaksFlag = Annotated[
    bool | None,
    typer.Option(
        "--drop-leaks",
        help="Leave out what a source that gives its splits has in two of them. [CNN_IMAGE_DROP_LEAKS]",
    ),
]
JsonFlag = Annotated[bool, typer.Option("--json", help="Print JSON in place of a table.")]
OutputsFlag = Annotated[
    Path | None,
    typer.Option("--outputs", help="Folder that gets a file for each result, as an Argo step hands them on."),
]
WeakFlag = Annotated[
    bool | None,
    typer.Option(
        "--accept-weak-evidence",
        help="Promote also if it was judged on too few images. [CNN_IMAGE_ACCEPT_WEAK_EVIDENCE]",
    ),
]
SampleFlag = Annotated[
    bool, typer.Option("--sample-allowed", help="Train on the small sample if CIFAR-10 cannot be had.")
]
VersionArgument = Annotated[int, typer.Argument(min=1, help="The version's number.", show_default=False)]


def taking(flags: type) -> Callable[[Callable[..., None]], Callable[..., None]]:
    """Give a command the fields of a dataclass as flags; its first parameter gets them as one object.

    Args:
        flags: The dataclass, whose annotations are those of flags.
    """
    fields = list(signature(flags).parameters.values())

    def decorate(command: Callable[..., None]) -> Callable[..., None]:
        own = list(signature(command).parameters.values())[1:]

        @functools.wraps(command)
        def called(**given: object) -> None:
            named = {field.name: given.pop(field.name) for field in fields}
            command(flags(**named), **given)

        parameters = [each.replace(kind=Parameter.KEYWORD_ONLY) for each in (*fields, *own)]
        called.__signature__ = Signature(parameters)  # type: ignore[attr-defined] # typer reads it
        called.__annotations__ = {each.name: each.annotation for each in parameters}
        return called

    return decorate


def write_outputs(folder: Path | None, **results: object) -> None:
    """Write each result to a file of its own name."""
    if folder is None:
        return
    folder.mkdir(parents=True, exist_ok=True)
    for name, value in results.items():
        (folder / name).write_text("" if value is None else str(value))


def one_line(metrics: Mapping[str, float]) -> str:
    """Metrics in one line."""
    return ", ".join(f"{name} {value:.3f}" for name, value in metrics.items())
