"""Settings of the command line: environment variables first, flags over them, defaults for a laptop."""

import getpass
import os
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Literal

from pydantic import AfterValidator, AliasChoices, BeforeValidator, Field, ValidationError
from pydantic_settings import BaseSettings, NoDecode, SettingsConfigDict

from export.store.blobs import Blobs
from export.store.versions import Store, open_store
from jobs.errors import MistakeError
from model.addresses import joined
from model.contract import DEFAULT_HTTP_PORT, MODEL_NAME, SIZES, Fit, Network, check_model_name
from model.training.tracking.server import database_uri

if TYPE_CHECKING:
    from export.store.s3 import Encryption

Port = Annotated[int, Field(ge=1, le=65535)]


def _offered(size: int) -> int:
    if size not in SIZES:
        raise ValueError(f"it must be one of {', '.join(map(str, SIZES))}")
    return size


def _model_name(name: str) -> str:
    check_model_name(name)
    return name


def _lines(given: object) -> object:
    """What an environment variable says line by line; a class may have any other sign in its name."""
    return [line for line in given.splitlines() if line.strip()] if isinstance(given, str) else given


class Settings(BaseSettings):
    """What every command may need to know.

    EPOCHS, BATCH_SIZE, PORT, CIFAR10_DIR and MLFLOW_TRACKING_URI carry no prefix, because the original
    service and MLflow named them so; all others start with CNN_IMAGE_.
    """

    model_config = SettingsConfigDict(env_prefix="CNN_IMAGE_", populate_by_name=True, env_ignore_empty=True)

    state: Path = Field(Path("var"), description="folder for all that is made here")
    model: Annotated[str, AfterValidator(_model_name)] = Field(
        MODEL_NAME, description="which model: its name in Triton, in the routes and in MLflow"
    )
    store: str = Field(
        "", description="a folder or s3://bucket/prefix; var/store, var/models/NAME/store of another model"
    )
    store_encryption: Literal["AES256", "aws:kms"] | None = Field(
        None, description="what each write asks an S3 for (SSE-S3, SSE-KMS); else as the bucket does it"
    )
    store_kms_key: str = Field("", description="key of aws:kms, by id, ARN or alias; else the account's own")

    data: str | None = Field(None, validation_alias=AliasChoices("data", "CNN_IMAGE_DATA", "CIFAR10_DIR"))
    size: Annotated[int, AfterValidator(_offered)] | None = Field(
        None, description="side of the network's input; that of the version served, else by the pictures"
    )
    fit: Fit | None = Field(
        None, description="how a picture becomes a square; that of the version served, else stretch"
    )
    network: Network | None = Field(
        None, description="what learns; that of the version served, else by the pictures' size"
    )
    weights: Path | None = Field(
        None, description="a file of weights that a network begins with, in place of its package's"
    )
    mirror: bool = Field(True, description="learn mirrored pictures too; not where left and right differ")
    rename: Annotated[tuple[str, ...], NoDecode, BeforeValidator(_lines)] = Field(
        (), description="old=new, one a line: classes that trainings call something else from now on"
    )
    drop_leaks: bool = Field(
        False, description="leave out what a source that gives its splits has in two of them"
    )
    recipe: Literal["quick", "best"] = "quick"
    epochs: Annotated[int, Field(ge=1, le=10_000)] | None = Field(
        None, validation_alias=AliasChoices("epochs", "EPOCHS")
    )
    batch_size: Annotated[int, Field(ge=1, le=8192)] | None = Field(
        None, validation_alias=AliasChoices("batch_size", "BATCH_SIZE")
    )
    check_labels: bool = Field(
        True, description="after training on one's own images, look for wrong labels by three short trainings"
    )
    require_gpu: bool = Field(False, description="training does not begin where there is no GPU")
    int8: bool | None = Field(
        None, description="go on with a version's int8 twin, where it is no worse; true unless on a GPU"
    )
    mlflow_tracking_uri: str | None = Field(
        None, validation_alias=AliasChoices("mlflow_tracking_uri", "MLFLOW_TRACKING_URI")
    )

    user: str = Field("", description="who acts, for manifests and the ledger; the login name unless set")

    host: str = Field("::", description="address that the laptop's service listens on; `::` is every one")
    port: Port = Field(
        DEFAULT_HTTP_PORT,
        validation_alias=AliasChoices("port", "PORT"),
        description="another model than the default finds a free one by itself unless it is set",
    )
    grpc_port: Port | None = Field(None, description="the port after `port` unless set")
    variant: Literal["cpu-1", "cpu-2", "cpu-4", "gpu"] | None = Field(
        None, description="how Triton runs a version; by the number of processors unless set"
    )
    start_seconds: Annotated[float, Field(gt=0)] = Field(120, description="deadline for each process")
    in_container: bool = Field(False, description="paths are a container's; the all-in-one image says so")

    gate_floor: Annotated[float, Field(gt=0, lt=1)] = Field(
        0.7, description="accuracy that the first version of all must reach"
    )
    gate_class_floor: Annotated[float, Field(ge=0, lt=1)] = Field(
        0.45, description="accuracy on each class that the first version of all must reach"
    )
    accept_weak_evidence: bool = Field(
        False, description="promote also where the test images are too few to show what the gate asks for"
    )

    namespace: str | None = Field(None, description="serve on Kubernetes, in this namespace")
    service_url: str | None = Field(None, description="of the service there, from outside the cluster")
    rollout_seconds: Annotated[float, Field(gt=0)] = Field(600, description="deadline for a rollout there")

    @property
    def who(self) -> str:
        """Who acts; in a cluster the chart names the service account."""
        if self.user:
            return self.user
        try:
            return getpass.getuser()
        except (KeyError, OSError):  # a user id without a name, as containers have
            return f"uid {os.getuid()}"

    @property
    def home(self) -> Path:
        """Folder of what belongs to this model alone."""
        return self.state if self.model == MODEL_NAME else self.state / "models" / self.model

    def models(self) -> list[str]:
        """The models that have a folder here, the default first, and this one."""
        folders = (path.name for path in (self.state / "models").glob("*") if path.is_dir())
        return list(dict.fromkeys([MODEL_NAME, *sorted({*folders, self.model})]))

    def of_model(self, name: str) -> "Settings":
        """The same settings for another model, which has a store of its own."""
        return self.model_copy(update={"model": name, "store": self.store if name == self.model else ""})

    @property
    def port_given(self) -> bool:
        """Whether somebody has said which port it is to be."""
        return "port" in self.model_fields_set

    @property
    def store_url(self) -> str:
        """The store's address."""
        return self.store or str(self.home / "store")

    def open_store(self) -> Store:
        """Open the store; nothing is asked of it yet.

        Raises:
            MistakeError: A key is named for an encryption that takes none.
            StoreError: The address is none, or the environment's settings for S3 make no sense.
        """
        return open_store(self.store_url, self._encryption(), self.model)

    def open_place(self, url: str) -> Blobs:
        """Open a place for what is made out of the store; in an S3 it is encrypted as the store is.

        Raises:
            MistakeError: A key is named for an encryption that takes none.
            StoreError: The address is none, or the environment's settings for S3 make no sense.
        """
        return open_store(url, self._encryption() if url.startswith("s3://") else None).blobs

    def _encryption(self) -> "Encryption | None":
        if self.store_kms_key and self.store_encryption != "aws:kms":
            raise MistakeError(
                "CNN_IMAGE_STORE_KMS_KEY goes with CNN_IMAGE_STORE_ENCRYPTION=aws:kms; set both."
            )
        if self.store_encryption is None:
            return None
        from export.store.s3 import Encryption  # boto3 takes a while to import

        return Encryption(self.store_encryption, self.store_kms_key)

    @property
    def prefers_int8(self) -> bool:
        """Whether versions get an int8 twin; where a GPU serves nobody has measured it, so not by default."""
        return self.variant != "gpu" if self.int8 is None else self.int8

    @property
    def runs(self) -> Path:
        """Folder of the training runs."""
        return self.home / "runs"

    @property
    def serving(self) -> Path:
        """Folder that the laptop's Triton reads."""
        return self.home / "serving"

    @property
    def logs(self) -> Path:
        """Folder of the child processes' logs."""
        return self.home / "log"

    @property
    def tracking_uri(self) -> str:
        """MLflow's address; a local SQLite file unless set."""
        return self.mlflow_tracking_uri or database_uri(self.local_tracking_db)

    @property
    def local_tracking_db(self) -> Path:
        """MLflow's own file, where no server is named."""
        return self.state / "mlflow.db"

    @property
    def url(self) -> str:
        """Where the laptop's transformer is asked from this machine."""
        host = self.host.strip("[]")
        if host in {"::", "0.0.0.0"}:  # noqa: S104 - compared, not listened on
            host = "127.0.0.1"
        return f"http://{joined(host, self.port)}"

    @property
    def transformer_grpc_port(self) -> int:
        """The transformer's gRPC port."""
        return self.grpc_port or self.port + 1


def load_settings(**flags: object) -> Settings:
    """Read the environment; flags that were given win.

    Raises:
        MistakeError: A value cannot be used; the sentence names the variable.
    """
    given = {name: value for name, value in flags.items() if value is not None}
    try:
        return Settings(**given)  # type: ignore[arg-type]  # flags are checked by the model itself
    except ValidationError as error:
        first = error.errors()[0]
        name = str(first["loc"][0]) if first["loc"] else "a setting"
        variables = (name.upper(), f"CNN_IMAGE_{name.upper()}")
        shown = next((variable for variable in variables if os.environ.get(variable) == first["input"]), None)
        shown = shown or f"--{name.replace('_', '-')}"
        wrong = first["msg"].removeprefix("Value error, ")
        wrong = wrong[:1].lower() + wrong[1:]
        raise MistakeError(f"{shown} is {first['input']!r}: {wrong}.") from None
