"""Where the training images lie while a network learns: on the device, or in a file larger than it."""

from collections import deque
from collections.abc import Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from itertools import repeat
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from model.data.images import Images

ON_DEVICE: Final = 1 << 30
"""Bytes of bordered images, at most, that are kept on the device."""

_READERS: Final = 2  # threads; they wait for the disk, and numpy copies without Python's lock
_ROWS_AT_A_TIME: Final = 4096
_AHEAD: Final = 4  # batches that are read while the device computes


class Feed:
    """Training images with a border of zeros, a batch at a time.

    Attributes:
        resident: Whether all of them lie on the device; else each batch is read when its turn comes.
    """

    def __init__(self, images: Images, border: int) -> None:
        """Take uint8 `[N, S, S, 3]`, and put them on the device where they fit (`ON_DEVICE`)."""
        import tensorflow as tf

        count, height, width, colours = images.shape
        self._images, self._border = images, border
        bordered = count * (height + 2 * border) * (width + 2 * border) * colours
        self.resident = bordered <= ON_DEVICE
        if self.resident:
            self._on_device = tf.constant(_bordered(images, border))

    def batches(self, order: NDArray[np.int32], batch: int) -> Iterator[NDArray[np.uint8] | None]:
        """Yield what `take` needs for each `batch` of `order` in turn: pixels, or None where it has them."""
        starts = range(0, len(order), batch)
        if self.resident:
            yield from repeat(None, len(starts))
            return
        pool = ThreadPoolExecutor(_READERS, thread_name_prefix="images")
        try:
            reading: deque[Future[NDArray[np.uint8]]] = deque()
            for start in starts:
                reading.append(pool.submit(self._read, order[start : start + batch]))
                if len(reading) > _AHEAD:
                    yield reading.popleft().result()
            while reading:
                yield reading.popleft().result()
        finally:
            pool.shutdown(cancel_futures=True)

    def take(self, rows: Any, pixels: Any) -> Any:
        """Return the images `rows`, uint8 tensor `[B, S + 2b, S + 2b, 3]`; part of the compiled step."""
        import tensorflow as tf

        if pixels is None:
            return tf.gather(self._on_device, rows)
        return tf.pad(pixels, [[0, 0], *[[self._border, self._border]] * 2, [0, 0]])

    def _read(self, rows: NDArray[np.int32]) -> NDArray[np.uint8]:
        return np.asarray(self._images[rows])


def _bordered(images: Images, border: int) -> NDArray[np.uint8]:
    """All images with a border of zeros; of those in a file few are in memory beside them."""
    count, height, width, colours = images.shape
    bordered = np.zeros((count, height + 2 * border, width + 2 * border, colours), np.uint8)
    inside = bordered[:, border : border + height, border : border + width]
    for start in range(0, count, _ROWS_AT_A_TIME):
        inside[start : start + _ROWS_AT_A_TIME] = images[start : start + _ROWS_AT_A_TIME]
    return bordered
