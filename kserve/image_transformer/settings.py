"""What the transformer can be told: flags as KServe passes them, and environment variables."""

import math
import re
from pathlib import Path
from typing import Annotated, Final, Self

from pydantic import (
    AliasChoices,
    Field,
    PositiveFloat,
    PositiveInt,
    SecretStr,
    field_validator,
    model_validator,
)
from pydantic_settings import BaseSettings, NoDecode, SettingsConfigDict

from model.contract import MODEL_NAME
from model.images.header import BYTES_A_PIXEL, Format
from model.images.limits import LIMITS, Limit

MOST_MASKS: Final = 500
"""Of one explanation: from there on the map hardly becomes clearer (docs/explain.md)."""
# For clients to hear, with the next answer, that their connection ends.
LEAVE_SECONDS: Final = 2

# As browsers write an origin: scheme, host, and the port where it is not the scheme's own.
_ORIGIN: Final = re.compile(
    r"https?://(?:[a-z\d._-]+|\[[a-f\d:.]+\])(?::\d{1,5})?|[a-z][a-z\d.-]*-extension://[a-z\d-]+"
)

Port = Annotated[int, Field(ge=1, le=65535)]


class Settings(BaseSettings):
    """The KServe transformer: decodes images, batches them, asks Triton.

    Environment variables are the names below with CNN_IMAGE_ in front; PORT and GRPC_PORT work too.
    """

    model_config = SettingsConfigDict(
        env_prefix="CNN_IMAGE_",
        env_ignore_empty=True,
        populate_by_name=True,
        cli_prog_name="python -m image_transformer",
        cli_parse_args=True,
        cli_hide_none_type=True,
        cli_avoid_json=True,
    )

    model_name: str = Field(
        MODEL_NAME,
        validation_alias=AliasChoices("model_name", "CNN_IMAGE_MODEL_NAME", "CNN_IMAGE_MODEL"),
        description="model in Triton, and its name in the routes",
    )
    predictor_host: str = Field("127.0.0.1:8000", description="Triton's HTTP address, host[:port]")
    predictor_protocol: str = Field("v2", description="KServe passes it; Triton is always asked by v2")
    host: str = Field(
        "::",
        description="address to listen on; `::` is every one, of both families where the kernel has IPv6",
    )
    http_port: Port = Field(8080, validation_alias=AliasChoices("http_port", "PORT", "CNN_IMAGE_HTTP_PORT"))
    grpc_port: Port = Field(
        8081, validation_alias=AliasChoices("grpc_port", "GRPC_PORT", "CNN_IMAGE_GRPC_PORT")
    )

    calls_in_flight: PositiveInt = Field(
        3,
        description="calls under way to one Triton: its instances and one; single images of the small "
        "network share one",
    )
    images_per_call: PositiveInt = Field(32, description="images that go to Triton together at most")
    images_per_piece: PositiveInt = Field(8, description="images of one request that stay together")
    max_images: PositiveInt = Field(256, description="images in one request")
    max_queued_images: PositiveInt = Field(1024, description="images that may wait for Triton")
    formats: Annotated[tuple[Format, ...], NoDecode] = Field(
        tuple(LIMITS), description="formats that are taken, with commas between; others are switched off"
    )
    max_image_bytes: PositiveInt = Field(
        LIMITS["png"].bytes, description="bytes of one encoded image; where it is set, of every format"
    )
    max_jpeg_bytes: PositiveInt = Field(LIMITS["jpeg"].bytes, description="bytes of a JPEG")
    max_pixels: PositiveInt = Field(
        LIMITS["png"].pixels, description="width times height of one image; where it is set, of every format"
    )
    max_jpeg_pixels: PositiveInt = Field(LIMITS["jpeg"].pixels, description="width times height of a JPEG")
    max_body_bytes: PositiveInt = Field(64_000_000, description="bytes of one request")
    max_held_bytes: PositiveInt = Field(96_000_000, description="bytes of all requests under way")
    max_requests: PositiveInt = Field(1024, description="requests under way")
    decode_threads: PositiveInt = Field(2, description="threads for large images")
    max_decoding_bytes: PositiveInt = Field(
        LIMITS["webp"].pixels * BYTES_A_PIXEL, description="memory for the large images decoded at once"
    )
    max_decoding_pixels: PositiveInt | None = Field(
        None, description=f"the same as pixels of {BYTES_A_PIXEL} bytes; as it was told before"
    )

    grpc_ping_seconds: PositiveFloat = Field(
        5, description="a gRPC client may send keepalive pings this often, also without calls"
    )
    grpc_connection_seconds: PositiveFloat = Field(
        300,
        description="a gRPC connection is ended after about this time, so that clients find new pods; "
        "a tenth more or less, so that not all come at once",
    )
    grpc_connection_grace_seconds: PositiveFloat = Field(
        math.inf, description="calls under way on such a connection have this time to end; streams may last"
    )
    queue_seconds: PositiveFloat = Field(
        1, description="the oldest image may have waited for Triton while more are taken"
    )
    body_seconds: PositiveFloat = Field(20, description="until a request has to be there")
    keep_alive_seconds: PositiveInt = Field(
        650, description="an idle HTTP connection stays open; longer than a load balancer keeps it"
    )
    triton_seconds: PositiveFloat = Field(3, description="until Triton has to answer a call")
    health_seconds: PositiveFloat = Field(1, description="between looks at Triton")
    grace_seconds: float = Field(
        20,
        ge=LEAVE_SECONDS + 1,
        description=f"until it has ended when told to; the first {LEAVE_SECONDS} for clients to hear of it",
    )

    explain_masks: int = Field(
        MOST_MASKS,
        ge=0,
        le=MOST_MASKS,
        description="times that an image is classified again to explain its class; 0 explains nothing",
    )
    explain_seconds: PositiveFloat = Field(
        30,
        description="until an explanation has to be done; beside other requests it has a tenth of the time",
    )
    explain_waiting: int = Field(8, ge=0, description="explanations that may wait for the one under way")

    cors_origins: Annotated[tuple[str, ...] | None, NoDecode] = Field(
        None, description="origins whose pages may ask from a browser, with commas between; `*` is every one"
    )

    train_api: bool = Field(False, description="offer POST /train")
    train_token: SecretStr = Field(SecretStr(""), description="bearer token that POST /train asks for")
    train_token_file: Path | None = Field(None, description="file with that token")
    namespace: str | None = Field(
        None, description="trainings are Jobs in this namespace, not processes here"
    )
    state: Path = Field(Path("var"), description="folder for the trainings' logs and outcomes")

    refuse_unlike: bool = Field(
        False, description="refuse a request's one image where it is unlike anything the version has learned"
    )
    page: bool = Field(True, description="a page for browsers at /, to try pictures")
    fast_routes: bool = Field(
        True, description="answer v1 and v2 inference ahead of kserve's own routing, which is slower"
    )
    log_requests: bool = Field(False, description="log a line for every request, not for failed ones alone")

    @property
    def finish_seconds(self) -> int:
        """What requests under way have left once clients were sent away."""
        return int(self.grace_seconds) - LEAVE_SECONDS

    @property
    def limits(self) -> dict[Format, Limit]:
        """How large an image may be, by its format; one that is not taken is not in it."""
        return {
            form: Limit(self.max_jpeg_pixels, self.max_jpeg_bytes)
            if form == "jpeg"
            else Limit(
                self.max_pixels if "max_pixels" in self.model_fields_set else limit.pixels,
                self.max_image_bytes if "max_image_bytes" in self.model_fields_set else limit.bytes,
            )
            for form, limit in LIMITS.items()
            if form in self.formats
        }

    @field_validator("formats", "cors_origins", mode="before")
    @classmethod
    def _listed(cls, names: object) -> object:
        if not isinstance(names, str):
            return names
        return tuple(name.strip().lower() for name in names.split(","))

    @field_validator("cors_origins")
    @classmethod
    def _origins(cls, origins: tuple[str, ...] | None) -> tuple[str, ...] | None:
        for origin in origins or ():
            if origin != "*" and not _ORIGIN.fullmatch(origin):
                raise ValueError(
                    f"{origin[:80]!r} is no origin; write scheme, host and port alone, as in "
                    "https://shop.example or http://localhost:3000, or * for every one"
                )
        return origins

    @model_validator(mode="after")
    def _limits_told_before(self) -> Self:
        """Lets the limits for all images hold for JPEG too, where it has none of its own."""
        told = self.model_fields_set
        if "max_image_bytes" in told and "max_jpeg_bytes" not in told:
            self.max_jpeg_bytes = self.max_image_bytes
        if "max_pixels" in told and "max_jpeg_pixels" not in told:
            self.max_jpeg_pixels = self.max_pixels
        if self.max_decoding_pixels is not None and "max_decoding_bytes" not in told:
            self.max_decoding_bytes = self.max_decoding_pixels * BYTES_A_PIXEL
        return self

    @model_validator(mode="after")
    def _training_needs_a_token(self) -> Self:
        if self.train_token_file is not None:
            try:
                self.train_token = SecretStr(self.train_token_file.read_text().strip())
            except OSError as error:
                raise ValueError(f"the training token's file cannot be read: {error.strerror}") from None
        if self.train_api and not self.train_token.get_secret_value():
            raise ValueError(
                "POST /train needs a token: set CNN_IMAGE_TRAIN_TOKEN or CNN_IMAGE_TRAIN_TOKEN_FILE"
            )
        return self
