"""The original service's training: `model.fit`, Adam, batch 64, 10 epochs, no augmentation, last weights."""

from typing import Final

import keras
import numpy as np
from numpy.typing import NDArray

from model.data.dataset import Dataset
from model.data.images import Images
from model.network.cnn import build_network

EPOCHS: Final = 10
BATCH_SIZE: Final = 64


class Original:
    """The original recipe, an epoch at a time."""

    def __init__(self, dataset: Dataset, seed: int) -> None:
        self._dataset = dataset
        self.network = build_network(seed)
        self.network.compile(
            optimizer=keras.optimizers.Adam(),
            loss=keras.losses.SparseCategoricalCrossentropy(from_logits=True),
            metrics=["accuracy"],
        )

    def train_epoch(self) -> int:
        """Pass over the training images once; returns their number."""
        train = self._dataset.train
        self.network.fit(train.images, train.labels, batch_size=BATCH_SIZE, epochs=1, verbose=0)
        return len(train)

    def logits(self, images: Images) -> NDArray[np.float32]:
        """Logits `[N, 5]` of images, uint8 `[N, 32, 32, 3]`."""
        logits: NDArray[np.float32] = self.network.predict(np.asarray(images), batch_size=500, verbose=0)
        return logits
