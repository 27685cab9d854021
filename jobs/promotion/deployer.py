"""What a promotion needs of a place that serves."""

from typing import Protocol


class Deployer(Protocol):
    """A place that serves versions. Every method raises `JobError` or `StoreError` kinds, with a sentence."""

    def served(self) -> int | None:
        """The version served there now, as the place itself says; None where none is, or nothing runs."""

    def decoder(self) -> str | None:
        """The version of the live transformer's decoder; None where nothing runs."""

    def dry_run(self) -> None:
        """Go through a promotion without making anything, before a training of hours comes to it.

        Raises:
            MistakeError: The place would refuse it: something is missing there, or a rule of its owner's.
            LostError: Someone changed the place by hand.
            FaultError: Something that a promotion needs does not answer.
        """

    def rehearse(self, version: int) -> None:
        """Make sure that bringing the place to a version would not be refused; changes nothing.

        Raises:
            LostError: Someone changed the place by hand.
        """

    def preflight(self, version: int) -> None:
        """Let a real Triton, out of users' sight, load the version as it will be served and answer images.

        Raises:
            RefusedError: It cannot be loaded, or answers wrongly.
            FaultError: It could not be tried.
        """

    def deploy(self, version: int) -> None:
        """Bring the place to a version and wait until it serves it; does nothing where it does already.

        Raises:
            RefusedError: The version cannot be served; the one before it is, where that is possible.
            FaultError: It did not happen within the deadline.
        """

    def verify(self, version: int) -> None:
        """Ask the live service for known images.

        Raises:
            RefusedError: It answers wrongly, or from another version.
            FaultError: It does not answer.
        """
