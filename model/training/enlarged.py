"""Small images for a network that takes larger ones: what they show stays as it is, enlarged."""

from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from model.data.dataset import Dataset, Split
from model.data.images import Images
from model.images.fit import frame, shrink
from model.training.device import usable_cores


def enlarged(dataset: Dataset, size: int) -> Dataset:
    """The same images in the same splits with `size` pixels a side, as pictures of one's own, in memory."""

    def larger(split: Split) -> Split:
        return replace(split, images=enlarged_images(split.images, size))

    return replace(
        dataset,
        train=larger(dataset.train),
        validation=larger(dataset.validation),
        test=larger(dataset.test),
        kind="images",
    )


def enlarged_images(images: Images, size: int) -> NDArray[np.uint8]:
    """Images `[N, S, S, 3]` with `size` pixels a side, enlarged as a picture of one's own would be."""
    within = frame(images.shape[2], images.shape[1], size, "stretch")
    larger = np.empty((len(images), size, size, 3), np.uint8)

    def enlarge(row: int) -> None:
        larger[row] = np.asarray(shrink(Image.fromarray(images[row]), "RGB", within))

    with ThreadPoolExecutor(usable_cores()) as pool:
        for _ in pool.map(enlarge, range(len(images))):
            pass
    return larger
