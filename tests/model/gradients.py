"""Whether two passes through a network have the same gradients."""

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

if TYPE_CHECKING:
    import keras


def assert_same_gradients(network: "keras.Model", got: Sequence[Any], want: Sequence[Any]) -> None:
    """Fail with the name of the first variable whose gradients are apart.

    Each is compared as a whole. Where a value is near zero, or two pixels of a pool are nearly equal,
    rounding decides which way a gradient goes, and CPUs round differently: single values are up to a
    twentieth of the largest apart, the whole up to a hundredth.

    Args:
        network: Its trainable variables are the gradients'.
        got: A gradient for each.
        want: As many.
    """
    for mine, due, variable in zip(got, want, network.trainable_variables, strict=True):
        apart = np.linalg.norm(mine - due) / np.linalg.norm(due)
        assert apart < 0.03, f"{variable.path}: {apart:.2g}"
