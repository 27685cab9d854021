"""What /info says: the version that is served, by its contract, and what is taken of images."""

from collections.abc import Sequence
from typing import Any, Final

import orjson

from image_transformer.settings import Settings
from image_transformer.triton.served import Served
from model.contract import Contract
from model.images.decode import DECODER_VERSION
from model.images.header import NAMES

# Of the network `cnn` (model/network/cnn.py): its blocks halve the image until this side, the first three
# of them are the original's, and the last's channels go on.
_LAST_SIDE: Final = 7
_CHANNELS: Final = (32, 64, 128)
# Of EfficientNet-Lite (model/network/efficientnet_lite.py): the inverted bottlenecks between stem and head.
_BOTTLENECKS: Final = {"efficientnet-lite0": 16, "efficientnet-lite1": 21, "efficientnet-lite2": 21}
_FEATURES: Final = 1280
_AS_JSON: Final = {"metrics", "pretrained", "unlike"}
_LIMITS: Final = (
    "max_images",
    "max_image_bytes",
    "max_jpeg_bytes",
    "max_pixels",
    "max_jpeg_pixels",
    "max_body_bytes",
    "explain_masks",
)


def information(settings: Settings, served: Served, versions: Sequence[str]) -> dict[str, Any]:
    """Returns /info's body.

    Args:
        settings: The limits.
        served: The version that is described.
        versions: All that are served.
    """
    contract = served.contract
    return {
        "model": settings.model_name,
        "version": served.version,
        "versions": versions,
        "lineage": _lineage(served),
        "classes": contract.classes,
        "filters": contract.filters,
        "architecture": architecture(contract),
        "input_shape": contract.image_shape,
        "fit": contract.fit,
        "unlearned": [contract.classes[number] for number in contract.unlearned],
        "decoder_version": DECODER_VERSION,
        "formats": [NAMES[form] for form in settings.limits],
        "limits": {
            **{name: getattr(settings, name) for name in _LIMITS},
            "by_format": {
                NAMES[form]: {"pixels": limit.pixels, "bytes": limit.bytes}
                for form, limit in settings.limits.items()
            },
        },
    }


def architecture(contract: Contract) -> str:
    """Describes the network of a contract in a line."""
    if contract.network in _BOTTLENECKS:
        return (
            f"{contract.network}: Conv, {_BOTTLENECKS[contract.network]} x inverted bottleneck, Conv "
            f"{_FEATURES}, each with BatchNorm and ReLU6; mean; Dense {len(contract.classes)}, softmax"
        )
    side, blocks = contract.size, 0
    while side > _LAST_SIDE:
        side, blocks = side // 2, blocks + 1
    channels = "/".join(map(str, (*_CHANNELS, *_CHANNELS[-1:] * (blocks - len(_CHANNELS)))))
    names = ", ".join(name.replace("_", " ") for name in contract.filters)
    return (
        (f"frozen 3x3 filters ({names}) beside the image; " if names else "")
        + f"{blocks} x [Conv {channels}, BatchNorm, ReLU, MaxPool, Dropout 0.3]; "
        + f"Dense 512, ReLU, Dropout 0.5; Dense {len(contract.classes)}, softmax"
    )


def _lineage(served: Served) -> dict[str, Any]:
    lineage: dict[str, Any] = {**served.lineage, "version": served.version}
    for name in _AS_JSON & lineage.keys():
        lineage[name] = orjson.loads(lineage[name])
    return lineage
