"""How the embedded Triton is started: flags, environment (`CNN_IMAGE_TRITON_*`), defaults."""

from pathlib import Path
from typing import Annotated, Literal

from pydantic import AliasChoices, Field
from pydantic_settings import BaseSettings, SettingsConfigDict

Port = Annotated[int, Field(ge=1, le=65535)]


class Settings(BaseSettings):
    """Start NVIDIA's Triton Inference Server from the environment .venv-triton, without Docker."""

    model_config = SettingsConfigDict(
        env_prefix="CNN_IMAGE_TRITON_",
        cli_parse_args=True,
        cli_prog_name="python -m triton_server",
        cli_kebab_case=True,
        cli_hide_none_type=True,
        cli_avoid_json=True,
    )

    model_repository: Path = Field(description="folder of models, as Triton lays it out")
    address: str = Field("127.0.0.1", description="address that all three ports listen on")
    http_port: Port = Field(8000, description="v2 over HTTP")
    grpc_port: Port = Field(8001, description="v2 over gRPC")
    metrics_port: Port = Field(8002, description="Prometheus")
    config_variant: str | None = Field(
        None,
        pattern=r"^[A-Za-z0-9._-]+$",
        description="takes configs/<variant>.pbtxt of each model that has it in place of its config.pbtxt",
    )
    model_control_mode: Literal["none", "explicit", "poll"] = Field(
        "none", description="explicit: models are loaded through Triton's repository API"
    )
    load_model: list[str] = Field(
        default_factory=list, description="with explicit control: loaded at start; may be repeated"
    )
    log_verbose: int = Field(0, ge=0, description="Triton's own verbosity")
    venv: Path = Field(
        Path(".venv-triton"),
        validation_alias=AliasChoices("venv", "CNN_IMAGE_TRITON_VENV"),
        description="the environment that requirements.txt was installed into",
    )
