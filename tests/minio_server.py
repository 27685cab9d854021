"""A real MinIO for the tests that need an S3: started, stopped and asked by fixtures that all rooms share.

The program is the first of: CNN_IMAGE_MINIO, `minio` on the PATH, the test cluster's, `var/tools/minio`;
where there is none and Go is, it is built into `var/tools` once (four minutes on two cores).
"""

import base64
import datetime
import fcntl
import ipaddress
import json
import os
import shutil
import subprocess
import urllib.error
import urllib.request
import uuid
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest
from machine import free_port, wait_until

TOOLS = Path(__file__).parent.parent / "var" / "tools"
MODULE = "github.com/minio/minio@v0.0.0-20260212201848-7aac2a2c5b7c"
ACCESS_KEY = "cnn-image-tests"
SECRET_KEY = "cnn-image-tests-secret"
KMS_KEY = "tests-key"

_KMS_SECRET = base64.b64encode(bytes(32)).decode()

StartMinio = Callable[..., "Minio"]


def installed_minio() -> Path | None:
    """The MinIO that is there."""
    places = [
        os.environ.get("CNN_IMAGE_MINIO"),
        shutil.which("minio"),
        str(Path.home() / ".cache/cluster/bin/minio"),
        str(TOOLS / "minio"),
    ]
    return next((Path(path) for path in places if path and os.access(path, os.X_OK)), None)


def minio_program() -> Path:
    """The MinIO to run; skips the test where there is none, or fails it where nothing may be skipped."""
    if found := installed_minio():
        return found
    if go := shutil.which("go"):
        TOOLS.mkdir(parents=True, exist_ok=True)
        with (TOOLS / "minio.lock").open("w") as lock:  # of the tests side by side, one builds
            fcntl.flock(lock, fcntl.LOCK_EX)
            if not (TOOLS / "minio").exists():
                environment = {**os.environ, "GOBIN": str(TOOLS)}
                subprocess.run([go, "install", MODULE], env=environment, check=True, timeout=1200)
        return TOOLS / "minio"
    reason = (
        "MINIO IS MISSING: the S3 store is not tested; install minio or go, or name it in CNN_IMAGE_MINIO"
    )
    if os.environ.get("CNN_IMAGE_REQUIRE_ALL") == "1":
        pytest.fail(reason)
    pytest.skip(reason)


@dataclass
class Minio:
    """A MinIO of the tests' own; it keeps its data and its port over `stop` and `start`."""

    program: Path
    folder: Path
    port: int
    tls: bool = False
    kms: bool = True
    process: subprocess.Popen[bytes] | None = None
    _log: Path = field(init=False)

    def __post_init__(self) -> None:
        self._log = self.folder / "minio.log"

    @property
    def url(self) -> str:
        return f"{'https' if self.tls else 'http'}://127.0.0.1:{self.port}"

    @property
    def ca_bundle(self) -> Path:
        """The certificate of the private authority that signed this server's."""
        return self.folder / "ca.pem"

    def environment(self) -> dict[str, str]:
        """What a program needs to reach it."""
        tls = {"AWS_CA_BUNDLE": str(self.ca_bundle)} if self.tls else {}
        return {
            "AWS_ENDPOINT_URL": self.url,
            "AWS_ACCESS_KEY_ID": ACCESS_KEY,
            "AWS_SECRET_ACCESS_KEY": SECRET_KEY,
            "AWS_REGION": "us-east-1",
            **tls,
        }

    def start(self) -> None:
        certificates = self.folder / "certs"
        certificates.mkdir(exist_ok=True)
        if self.tls and not self.ca_bundle.exists():
            make_certificates(certificates, self.ca_bundle)
        with self._log.open("ab") as log:
            self.process = subprocess.Popen(
                [
                    *(self.program, "server", "--quiet", "--address", f"127.0.0.1:{self.port}"),
                    # By itself it takes any port for its console, at times that of the server.
                    *("--console-address", f"127.0.0.1:{free_port()}"),
                    *("--certs-dir", certificates, self.folder / "data"),
                ],
                env={
                    "HOME": str(self.folder),
                    "PATH": os.environ["PATH"],
                    "MINIO_ROOT_USER": ACCESS_KEY,
                    "MINIO_ROOT_PASSWORD": SECRET_KEY,
                    "MINIO_BROWSER": "off",
                    "MINIO_UPDATE": "off",
                    **({"MINIO_KMS_SECRET_KEY": f"{KMS_KEY}:{_KMS_SECRET}"} if self.kms else {}),
                },
                stdout=log,
                stderr=log,
            )
        wait_until(self._answers, "MinIO's start")

    def stop(self) -> None:
        if self.process is not None:
            self.process.kill()
            self.process.wait()
            self.process = None

    def client(self) -> Any:
        """A boto3 client of its own, whatever the environment says."""
        import boto3
        from botocore.config import Config

        return boto3.client(
            "s3",
            endpoint_url=self.url,
            aws_access_key_id=ACCESS_KEY,
            aws_secret_access_key=SECRET_KEY,
            region_name="us-east-1",
            verify=str(self.ca_bundle) if self.tls else None,
            config=Config(s3={"addressing_style": "path"}),
        )

    def session(self, *statements: dict[str, object]) -> dict[str, str]:
        """The environment of temporary credentials that may do what an IAM policy's statements say."""
        import boto3

        made = boto3.client(
            "sts",
            endpoint_url=self.url,
            aws_access_key_id=ACCESS_KEY,
            aws_secret_access_key=SECRET_KEY,
            region_name="us-east-1",
        ).assume_role(
            RoleArn="arn:minio:iam:::role/any",
            RoleSessionName="tests",
            Policy=json.dumps({"Version": "2012-10-17", "Statement": statements}),
        )["Credentials"]
        return {
            "AWS_ACCESS_KEY_ID": made["AccessKeyId"],
            "AWS_SECRET_ACCESS_KEY": made["SecretAccessKey"],
            "AWS_SESSION_TOKEN": made["SessionToken"],
        }

    def make_bucket(self, **how: object) -> str:
        """A new empty bucket's name; `how` goes to boto3's `create_bucket`."""
        name = f"bucket-{uuid.uuid4().hex[:12]}"
        self.client().create_bucket(Bucket=name, **how)
        return name

    def _answers(self) -> bool:
        import ssl

        if self.process is None or self.process.poll() is not None:
            pytest.fail(f"MinIO ended:\n{self._log.read_text()[-3000:]}")
        context = ssl.create_default_context(cafile=str(self.ca_bundle)) if self.tls else None
        try:
            with urllib.request.urlopen(
                f"{self.url}/minio/health/cluster", timeout=1, context=context
            ) as answer:
                return bool(answer.status == 200)
        except (OSError, urllib.error.URLError):
            return False


def make_certificates(folder: Path, ca_bundle: Path) -> None:
    """A private authority and, signed by it, MinIO's `public.crt` and `private.key`.

    They are for 127.0.0.1 and for store.example, as a proxy may know it.
    """
    from cryptography import x509
    from cryptography.hazmat.primitives import hashes, serialization
    from cryptography.hazmat.primitives.asymmetric import ec

    now = datetime.datetime.now(datetime.UTC)

    def certificate(name: str, issuer: str, *extensions: tuple[Any, bool]) -> Any:
        builder = x509.CertificateBuilder(
            issuer_name=x509.Name([x509.NameAttribute(x509.NameOID.COMMON_NAME, issuer)]),
            subject_name=x509.Name([x509.NameAttribute(x509.NameOID.COMMON_NAME, name)]),
            serial_number=x509.random_serial_number(),
            not_valid_before=now - datetime.timedelta(hours=1),
            not_valid_after=now + datetime.timedelta(days=1),
        )
        for extension, critical in extensions:
            builder = builder.add_extension(extension, critical=critical)
        return builder

    def pem(one: Any) -> bytes:
        encoded: bytes = one.public_bytes(serialization.Encoding.PEM)
        return encoded

    ca_key, key = ec.generate_private_key(ec.SECP256R1()), ec.generate_private_key(ec.SECP256R1())
    signs = x509.KeyUsage(
        digital_signature=True,
        key_cert_sign=True,
        crl_sign=True,
        content_commitment=False,
        key_encipherment=False,
        data_encipherment=False,
        key_agreement=False,
        encipher_only=False,
        decipher_only=False,
    )
    of_ca = x509.SubjectKeyIdentifier.from_public_key(ca_key.public_key())
    ca = (
        certificate("tests", "tests", (x509.BasicConstraints(ca=True, path_length=None), True), (signs, True))
        .add_extension(of_ca, critical=False)
        .public_key(ca_key.public_key())
        .sign(ca_key, hashes.SHA256())
    )
    names = [x509.IPAddress(ipaddress.ip_address("127.0.0.1")), x509.DNSName("store.example")]
    server = (
        certificate(
            "minio",
            "tests",
            (x509.SubjectAlternativeName(names), False),
            (x509.AuthorityKeyIdentifier.from_issuer_subject_key_identifier(of_ca), False),
        )
        .public_key(key.public_key())
        .sign(ca_key, hashes.SHA256())
    )
    ca_bundle.write_bytes(pem(ca))
    (folder / "public.crt").write_bytes(pem(server))
    (folder / "private.key").write_bytes(
        key.private_bytes(
            serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
        )
    )


@contextmanager
def minios(folders: pytest.TempPathFactory) -> Iterator[StartMinio]:
    """Gives a function that starts a MinIO; all it started end with the block."""
    started: list[Minio] = []

    def start(*, tls: bool = False, kms: bool = True) -> Minio:
        minio = Minio(minio_program(), folders.mktemp("minio"), free_port(), tls, kms)
        started.append(minio)
        minio.start()
        return minio

    try:
        yield start
    finally:
        for minio in started:
            minio.stop()


@pytest.fixture
def start_minio(tmp_path_factory: pytest.TempPathFactory) -> Iterator[StartMinio]:
    """Starts MinIOs of a test's own, to be stopped and hurt. Slow tests only."""
    with minios(tmp_path_factory) as start:
        yield start


@pytest.fixture(scope="session")
def minio(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Minio]:
    """One MinIO for the session: leave it running."""
    with minios(tmp_path_factory) as start:
        yield start()


@pytest.fixture
def bucket(minio: Minio, monkeypatch: pytest.MonkeyPatch) -> str:
    """The address `s3://…` of a new bucket, reachable by the environment as it is now."""
    for name in [name for name in os.environ if name.startswith("AWS_")]:
        monkeypatch.delenv(name)
    for name, value in minio.environment().items():
        monkeypatch.setenv(name, value)
    return f"s3://{minio.make_bucket()}"
