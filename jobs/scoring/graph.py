"""A version's graph in this process, run as its service runs it."""

from pathlib import Path
from typing import Final

import numpy as np
import onnxruntime as ort
from numpy.typing import NDArray

from export.store.manifest import Manifest
from jobs.errors import RefusedError
from model.contract import INPUT_NAME, OUTPUT_NAME

BATCH: Final = 64
"""Images a run: as many as Triton puts together at most."""


class Graph:
    """A version's classifier."""

    def __init__(self, folder: Path, manifest: Manifest, threads: int) -> None:
        """Load it.

        Args:
            folder: The version, a whole Triton repository.
            manifest: Its manifest.
            threads: For each operator.

        Raises:
            RefusedError: ONNX Runtime cannot load it.
        """
        self._version = manifest.version
        options = ort.SessionOptions()
        options.intra_op_num_threads = threads
        options.add_session_config_entry("session.intra_op.allow_spinning", "0")
        try:
            self._session = ort.InferenceSession(
                folder / manifest.classifier_file, options, providers=["CPUExecutionProvider"]
            )
        except Exception as error:  # ONNX Runtime has a dozen kinds, all its own
            raise RefusedError(f"ONNX Runtime cannot load version {self._version}: {error}") from error

    def answer(self, pixels: NDArray[np.uint8]) -> NDArray[np.float32]:
        """The probabilities of pictures, float32 `[N, classes]`, of uint8 `[N, S, S, 3]`.

        Raises:
            RefusedError: ONNX Runtime cannot run it, or it answers with what is no number.
        """
        try:
            probs: NDArray[np.float32] = self._session.run([OUTPUT_NAME], {INPUT_NAME: pixels})[0]
        except Exception as error:
            raise RefusedError(f"ONNX Runtime cannot run version {self._version}: {error}") from error
        if not np.isfinite(probs).all():
            raise RefusedError(
                f"Version {self._version} answers with values that are no numbers; train again."
            )
        return probs
