"""How a command ends: exit codes that scripts and Kubernetes can use, and errors whose text is one sentence.

The codes tell a mistake, which will fail again however often it is tried, from a fault, which is worth
another try. A Job's podFailurePolicy and an Argo retryStrategy decide by them.
"""

from enum import IntEnum


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
    """Something this depends on is away (store, Triton, network): worth another try."""
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


class FaultError(JobError):
    """Something this depends on is away."""

    exit_code = Exit.FAULT
