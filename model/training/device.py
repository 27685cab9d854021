"""What training computes on: the GPU when there is one, otherwise as many CPU cores as it may use."""

import contextlib
import math
import os
import re
import sys
import tempfile
from dataclasses import dataclass
from pathlib import Path

from model.training.recipe import TrainingError

_CPU_LIMIT = Path("/sys/fs/cgroup/cpu.max")
_CPU_INFO = Path("/proc/cpuinfo")
# absl's notes of level INFO, and its word that nobody could have switched them off yet.
_LOADING_NOTES = re.compile(rb"^(I\d{4} .*|WARNING: All log messages before absl::.*)\n?", re.MULTILINE)


@dataclass(frozen=True)
class Device:
    """What computes: `GPU` or `CPU`, its name for people, and the dtype policy that suits it."""

    kind: str
    name: str
    policy: str


def load_tensorflow() -> None:
    """Import TensorFlow, as `import tensorflow` does, without the notes that it writes while it loads.

    They come before any of its settings counts (TF_CPP_MIN_LOG_LEVEL among them), and help nobody here.
    Everything else that was written to stderr meanwhile follows afterwards.
    """
    if "tensorflow" in sys.modules:
        return
    with tempfile.TemporaryFile() as written:
        sys.stderr.flush()
        stderr = os.dup(2)
        os.dup2(written.fileno(), 2)
        try:
            import tensorflow  # noqa: F401
        finally:
            sys.stderr.flush()
            os.dup2(stderr, 2)
            os.close(stderr)
            written.seek(0)
            os.write(2, _LOADING_NOTES.sub(b"", written.read()))


def prepare_device(*, require_gpu: bool = False) -> Device:
    """Find the GPU if there is one; otherwise keep TensorFlow to the container's share of the CPU.

    Raises:
        TrainingError: There is no GPU, and one is required.
    """
    load_tensorflow()
    import tensorflow as tf

    gpus = tf.config.list_physical_devices("GPU")
    # Both settings are refused once TensorFlow computes, which is fine: then they were made before.
    if not gpus:
        if require_gpu:
            raise TrainingError(
                "This run asked for a GPU and TensorFlow finds none; check the node's driver, the image and "
                "the limit nvidia.com/gpu, or say that the CPU will do."
            )
        cores = usable_cores()
        with contextlib.suppress(RuntimeError):
            tf.config.threading.set_intra_op_parallelism_threads(cores)
        policy = "mixed_bfloat16" if multiplies_bfloat16() else "float32"
        return Device("CPU", f"CPU ({cores} cores, {policy})", policy)
    for gpu in gpus:
        with contextlib.suppress(RuntimeError):
            tf.config.experimental.set_memory_growth(gpu, True)  # others may share the card
    details = tf.config.experimental.get_device_details(gpus[0])
    has_bfloat16_units = details.get("compute_capability", (0, 0)) >= (8, 0)
    policy = "mixed_bfloat16" if has_bfloat16_units else "float32"
    return Device("GPU", f"GPU ({details.get('device_name', 'unnamed')}, {policy})", policy)


def usable_cores(limit_file: Path = _CPU_LIMIT) -> int:
    """Cores this process may use: its affinity, or the container's CPU limit where that is less.

    TensorFlow itself counts the node's cores; threads beyond the limit only wait for each other.
    """
    cores = len(os.sched_getaffinity(0))
    try:
        quota, period = limit_file.read_text().split()
        return max(1, min(cores, math.ceil(int(quota) / int(period))))
    except (OSError, ValueError):  # no cgroup v2, or "max": no limit
        return cores


def multiplies_bfloat16(info_file: Path = _CPU_INFO) -> bool:
    """Whether this CPU multiplies bfloat16 (AVX512_BF16 or AMX of x86); elsewhere float32 is faster."""
    try:
        flags = info_file.read_text().split()
    except OSError:
        return False
    return not {"avx512_bf16", "amx_bf16"}.isdisjoint(flags)
