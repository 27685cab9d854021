"""How a command ends: exit codes that scripts and Kubernetes can use, and errors whose text is one sentence.

The codes tell a mistake, which will fail again however often it is tried, from a fault, which is worth
another try. A Job's podFailurePolicy and an Argo retryStrategy decide by them.
"""

import sys
from enum import IntEnum
from typing import Final

from export.errors import (
    ExportError,
    LeaseHeldError,
    LeaseLostError,
    LostRaceError,
    NoAnswerError,
    ParityError,
    SessionError,
    TlsError,
    UnreachableError,
)


class Exit(IntEnum):
    """The exit codes of `cnn-image`; `docs/cli.md` lists them for users."""

    OK = 0
    BUG = 1
    """Something nobody foresaw; the traceback is shown."""
    MISTAKE = 2
    """What was asked for cannot be done: a wrong flag, broken data, an unknown version, missing rights."""
    REFUSED = 3
    """The candidate is not good enough: gate, parity or pre-flight."""
    LOST_RACE = 4
    """Someone else was first: another promotion, another retrain, an edit by hand."""
    RETURNED = 5
    """The new version failed in service, and the one before it serves again."""
    FAULT = 69
    """Something this depends on is away (store, session, Triton, network): worth another try."""
    INTERRUPTED = 130
    """Ctrl-C."""
    TERMINATED = 143
    """SIGTERM, as Kubernetes sends it."""


class JobError(Exception):
    """Base of this room's errors; the message says what happened and what to do, in one sentence."""

    exit_code = Exit.MISTAKE


class MistakeError(JobError):
    """Asking again will fail again."""


class RefusedError(JobError):
    """The candidate must not be served."""

    exit_code = Exit.REFUSED


class LostError(JobError):
    """Someone else changed what this was decided on."""

    exit_code = Exit.LOST_RACE


class ReturnedError(JobError):
    """The new version failed in service and was taken back."""

    exit_code = Exit.RETURNED


class JobFailedError(JobError):
    """A Job on Kubernetes failed; it ends as the Job's pod did.

    Args:
        sentence: What happened and what to do.
        code: The pod's exit code; None, or one that is none of ours, counts as a fault.
    """

    def __init__(self, sentence: str, code: int | None) -> None:
        super().__init__(sentence)
        self.exit_code = Exit(code) if code in set(Exit) else Exit.FAULT


class FaultError(JobError):
    """Something this depends on is away."""

    exit_code = Exit.FAULT


_EXIT_OF: Final[tuple[tuple[type[Exception], Exit], ...]] = (
    (ParityError, Exit.REFUSED),
    (LostRaceError, Exit.LOST_RACE),
    (LeaseHeldError, Exit.LOST_RACE),
    (LeaseLostError, Exit.LOST_RACE),
    (TlsError, Exit.MISTAKE),  # a kind of unreachable that no waiting mends
    (UnreachableError, Exit.FAULT),
    (NoAnswerError, Exit.FAULT),
    (SessionError, Exit.FAULT),  # the next pod takes the renewed Secret
    (ExportError, Exit.MISTAKE),
)
_MODEL_ERRORS: Final = (
    ("model.data.errors", "DataAwayError", Exit.FAULT),
    ("model.data.errors", "DataError", Exit.MISTAKE),
    ("model.contract", "ContractError", Exit.MISTAKE),
    ("model.network.pretrained.errors", "WeightsError", Exit.MISTAKE),
    ("model.training.recipe", "TrainingError", Exit.MISTAKE),
    ("model.training.runs", "RunError", Exit.MISTAKE),
    ("model.images.decode", "ImageError", Exit.MISTAKE),
)


def exit_code(error: Exception) -> Exit | None:
    """The exit code for an error whose text is for users; None for one that nobody foresaw."""
    if isinstance(error, JobError):
        return error.exit_code
    for kind, code in _EXIT_OF:
        if isinstance(error, kind):
            return code
    # The model room is imported only by commands that need it: if it is not here, it raised nothing.
    for module, name, code in _MODEL_ERRORS:
        loaded = sys.modules.get(module)
        if loaded is not None and isinstance(error, getattr(loaded, name)):
            return code
    return None
