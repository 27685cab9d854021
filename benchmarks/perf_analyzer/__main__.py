"""`python -m benchmarks.perf_analyzer`: asks a running service in every way that perf_analyzer has."""

import shlex
import sys
from pathlib import Path

from pydantic import Field, PositiveInt
from pydantic_settings import BaseSettings, SettingsConfigDict

from benchmarks.perf_analyzer.program import ProgramError, install
from benchmarks.perf_analyzer.ways import WAYS, Way, arguments, read_report, write_input
from model.contract import DEFAULT_GRPC_PORT, DEFAULT_HTTP_PORT, MODEL_NAME

_ROOT = Path(__file__).parents[2]
_SUFFIXES = {".jpg", ".jpeg", ".png", ".webp"}


class Config(BaseSettings):
    """Load a running service with Triton's perf_analyzer, in every way that it has."""

    model_config = SettingsConfigDict(
        env_prefix="CNN_IMAGE_BENCH_",
        cli_parse_args=True,
        cli_prog_name="python -m benchmarks.perf_analyzer",
        cli_kebab_case=True,
    )

    http: str = Field(f"localhost:{DEFAULT_HTTP_PORT}", description="the service's HTTP address")
    grpc: str = Field(f"localhost:{DEFAULT_GRPC_PORT}", description="its gRPC address")
    model: str = Field(MODEL_NAME, description="the model that is asked; MODEL-filters is one too")
    pictures: Path = Field(
        _ROOT / "model" / "sample" / "examples", description="folder of the pictures that are sent in turn"
    )
    batch: PositiveInt = Field(1, description="pictures in a request")
    concurrency: PositiveInt = Field(8, description="requests under way, where they follow answers")
    rate: PositiveInt = Field(200, description="requests a second, where they come at a rate")
    milliseconds: PositiveInt = Field(2000, description="length of one measurement")
    trials: PositiveInt = Field(5, description="measurements of one way at most; three alike end it")
    spread: PositiveInt = Field(15, description="percent that three measurements may differ")
    only: list[str] = Field([], description="ways that are measured, by their names; by default all")
    triton: Path = Field(_ROOT / ".venv-triton", description="environment of the embedded Triton")
    work: Path = Field(Path("var/tools/perf_analyzer"), description="where perf_analyzer is installed")


def main() -> None:
    """Measures, and prints a table; a problem ends in one sentence."""
    config = Config()
    try:
        measure(config)
    except (ProgramError, ValueError) as error:
        sys.exit(str(error))


def measure(config: Config) -> None:
    """Asks in every way, and prints a row for each.

    Raises:
        ProgramError: perf_analyzer cannot be had, or failed.
        ValueError: there are no pictures, or there is no such way.
    """
    program = install(config.work, config.triton)
    data = config.work / "pictures.json"
    pictures = [path for path in sorted(config.pictures.iterdir()) if path.suffix.lower() in _SUFFIXES]
    if not pictures:
        raise ValueError(f"There are no pictures in {config.pictures}; name a folder that has some.")
    write_input(data, (path.read_bytes() for path in pictures))
    ways = chosen(config.only)
    print("way | images a second | p50 µs | p99 µs | queue | decode | inference | output", flush=True)
    for way in ways:
        report = config.work / "report.csv"
        report.unlink(missing_ok=True)
        url = config.http if way.protocol == "http" else config.grpc
        line = arguments(way, load(config, way), url, config.model, data, report)
        print(f"$ perf_analyzer {shlex.join(line)}", file=sys.stderr, flush=True)
        program.run(*line, seconds=60 + 3 * config.trials * config.milliseconds / 1000)
        seen = read_report(report)
        numbers = (seen.rate, seen.p50, seen.p99, seen.queue, seen.decode, seen.infer, seen.output)
        print(" | ".join([way.name, *(f"{number:,.0f}" for number in numbers)]), flush=True)


def load(config: Config, way: Way) -> list[str]:
    """Returns perf_analyzer's flags for how much it asks, and for how long."""
    amount = (
        ("--request-rate-range", str(config.rate))
        if way.paced
        else ("--concurrency-range", str(config.concurrency))
    )
    window = ("-p", str(config.milliseconds), "-r", str(config.trials), "-s", str(config.spread))
    return [*amount, *window, "-b", str(config.batch)]


def chosen(names: list[str]) -> list[Way]:
    """Returns the ways of these names, or all.

    Raises:
        ValueError: there is no such way.
    """
    known = {way.name: way for way in WAYS}
    if wrong := [name for name in names if name not in known]:
        raise ValueError(f"There is no way {wrong[0]!r}; choose from {', '.join(map(repr, known))}.")
    return [known[name] for name in names] or list(WAYS)


if __name__ == "__main__":
    main()
