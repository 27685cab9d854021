"""A version's graph in this process, run as its service runs it."""

from pathlib import Path
from typing import Final

import numpy as np
import onnxruntime as ort
from numpy.typing import NDArray

from export.store.manifest import Manifest
from jobs.errors import RefusedError
from model.contract import INPUT_NAME, OUTPUT_NAME, SCORE_NAME

BATCH: Final = 64
"""Images a run: as many as Triton puts together at most."""


class Graph:
    """A version's classifier.

    Attributes:
        scored: Whether it tells how unlike anything learned a picture is.
    """

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
        self.scored = SCORE_NAME in [output.name for output in self._session.get_outputs()]
        self._asked = [OUTPUT_NAME, SCORE_NAME] if self.scored else [OUTPUT_NAME]

    def answer(self, pixels: NDArray[np.uint8]) -> tuple[NDArray[np.float32], NDArray[np.float32] | None]:
        """The answers to pictures, uint8 `[N, S, S, 3]`.

        Returns:
            The probabilities, float32 `[N, classes]`, and how unlike anything learned each picture is,
            float32 `[N]`; None of a version that cannot tell.

        Raises:
            RefusedError: ONNX Runtime cannot run it, or it answers with what is no number.
        """
        try:
            probs, *scores = self._session.run(self._asked, {INPUT_NAME: pixels})
        except Exception as error:
            raise RefusedError(f"ONNX Runtime cannot run version {self._version}: {error}") from error
        if not np.isfinite(probs).all():
            raise RefusedError(
                f"Version {self._version} answers with values that are no numbers; train again."
            )
        return probs, scores[0][:, 0] if scores else None
