"""Names, shapes and classes that training, export and serving share.

Nothing heavy is imported here: the transformer and the command line read this file at start.
"""

from typing import Final

MODEL_NAME: Final = "cnn-image"
"""The classifier's name in Triton, in KServe and in the v2 routes."""

FILTERS_MODEL_NAME: Final = "cnn-image-filters"
"""The small model beside it that shows what the filter bank makes of an image."""

INPUT_NAME: Final = "image"
"""The graphs' input: UINT8 `[batch, 32, 32, 3]`, RGB, values 0 to 255."""

OUTPUT_NAME: Final = "probs"
"""The classifier's output: FP32 `[batch, 5]`, softmax probabilities in the order of `CLASSES`."""

FILTERED_NAME: Final = "filtered"
"""The filter model's output: FP32 `[batch, 32, 32, 12]`, three channels for each of `FILTER_BANK`."""

IMAGE_SIZE: Final = 32
IMAGE_SHAPE: Final = (IMAGE_SIZE, IMAGE_SIZE, 3)

CLASSES: Final = ("airplane", "automobile", "bird", "cat", "dog")
"""What the model tells apart; the position is the class id."""

CIFAR10_LABELS: Final = {0: 0, 1: 1, 2: 2, 3: 3, 5: 4}
"""CIFAR-10's label → ours: its 5, dog, becomes 4; its other five classes are left out."""

FILTER_NAMES: Final = ("smoothing", "edge_detection", "sharpness")
"""The filters inside the graph, in the order of their channels after the untouched image."""

FILTER_BANK: Final = ("image", *FILTER_NAMES)

VERSION_WIDTH: Final = 6
"""Digits of a version in the store, so that no version's prefix contains another's."""

DEFAULT_HTTP_PORT: Final = 8002
DEFAULT_GRPC_PORT: Final = 8003
"""The transformer's ports on a laptop; in the cluster 8080 and 8081."""
