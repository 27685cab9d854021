"""The GPU, when there is one; otherwise the CPU."""

import contextlib
from dataclasses import dataclass

from model.recipe import TrainingError


@dataclass(frozen=True)
class Device:
    """What computes: `GPU` or `CPU`, its name for people, and the dtype policy that suits it."""

    kind: str
    name: str
    policy: str


def prepare_device(*, require_gpu: bool = False) -> Device:
    """Find the GPU if there is one.

    Raises:
        TrainingError: There is none, and one is required.
    """
    import tensorflow as tf

    gpus = tf.config.list_physical_devices("GPU")
    if not gpus:
        if require_gpu:
            raise TrainingError(
                "This run asked for a GPU and TensorFlow finds none; check the node's driver and the Job's "
                "nvidia.com/gpu limit and image, or allow the CPU (--allow-cpu, CNN_IMAGE_REQUIRE_GPU=false)."
            )
        return Device("CPU", "CPU", "float32")
    for gpu in gpus:
        # Take memory as it is needed: others may share the card. Refused once the card is in use, which is
        # fine.
        with contextlib.suppress(RuntimeError):
            tf.config.experimental.set_memory_growth(gpu, True)
    details = tf.config.experimental.get_device_details(gpus[0])
    ampere_or_later = details.get("compute_capability", (0, 0)) >= (8, 0)  # has bfloat16 units
    return Device(
        "GPU", details.get("device_name", "GPU"), "mixed_bfloat16" if ampere_or_later else "float32"
    )
