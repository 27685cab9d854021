"""What the benchmark measures and for how long: flags, or environment variables `CNN_IMAGE_BENCH_*`."""

from pathlib import Path
from typing import Annotated

from pydantic import Field
from pydantic_settings import BaseSettings, SettingsConfigDict


class Config(BaseSettings):
    """Measure the serving routes and what a user would pick instead, side by side, on this machine."""

    model_config = SettingsConfigDict(
        env_prefix="CNN_IMAGE_BENCH_",
        cli_parse_args=True,
        cli_prog_name="python -m benchmarks.serving",
        cli_kebab_case=True,
        cli_implicit_flags=True,
    )

    rounds: Annotated[int, Field(ge=1)] = Field(
        5, description="times each contender is measured, taking turns"
    )
    seconds: Annotated[int, Field(ge=1)] = Field(2, description="length of one measurement")
    connections: list[int] = Field([1, 32, 128], description="numbers of connections, one image a request")
    batch: Annotated[int, Field(ge=1)] = Field(
        32, description="images a request in the scenario of large requests"
    )
    batch_connections: Annotated[int, Field(ge=1)] = Field(8, description="connections in that scenario")
    only: list[str] = Field([], description="measure these contenders alone (their short names)")
    images: Annotated[int, Field(ge=1)] = Field(64, description="different photographs that are sent in turn")
    overload_factor: float = Field(2.0, description="open-loop rate over measured capacity")
    overload_seconds: int = Field(10, description="length of the overload")
    photographs_a_second: float = Field(
        4.0, description="12-megapixel photographs mixed into the small images"
    )
    flame: bool = Field(True, description="draw the flame graph of the transformer under load")
    minutes: float = Field(
        12.0, description="begin no round that would end later; overload, photographs, flame graph follow"
    )
    variant: str | None = Field(
        None, description="Triton config variant of ours; by default by the number of cores"
    )
    work: Path = Field(Path("var/benchmark"), description="where servers and their logs live")
    results: Path = Field(Path("benchmarks/results"), description="where the results are written")
