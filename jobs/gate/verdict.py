"""What the gate says about a version, kept beside it: reasons in words, as JSON and as a table."""

from typing import Annotated

from pydantic import AwareDatetime, BaseModel, ConfigDict, Field, ValidationError
from rich.console import Console

from export.errors import IntegrityError
from export.store.versions import Store
from jobs.console import table
from jobs.errors import RefusedError

PREFIX = "verdict-"
_COLUMNS = ("check", "value", "limit", "", "meaning")


class _Record(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid", allow_inf_nan=False)


class Check(_Record):
    """One thing the gate looked at.

    Attributes:
        name: What, in a few words.
        value: What was found.
        limit: What it is held against.
        passed: Whether it is on the right side.
        meaning: What value and limit mean.
    """

    name: str
    value: float
    limit: float
    passed: bool
    meaning: str


class Figures(_Record):
    """A version on the test images; see `model.report.evaluate.Evaluation`."""

    version: int
    accuracy: float
    interval: tuple[float, float]
    per_class: dict[str, float]
    ece: float
    nll: float


class Flips(_Record):
    """Images whose answer turned right or wrong; `p_value` is the exact McNemar test's."""

    mended: int
    broken: int
    p_value: float


class Cost(_Record):
    """What running a version costs; reported, not judged.

    Attributes:
        milliseconds: Median of one image in ONNX Runtime with one thread, where it was judged.
        bytes: Of the classifier's graph.
    """

    milliseconds: float
    bytes: int


class Verdict(_Record):
    """The gate's word on one version at one moment.

    Attributes:
        version: What was judged.
        champion: Figures of the version that was served; None for a first version.
        best: The most accurate version that was ever promoted; None for a first version.
        test_digest: Of the test images and labels.
        test_images: Their number.
        weak: Whether there were too few of them.
        decoder_version: Of the decoder that prepared images where it was judged.
        checks: What was looked at.
    """

    version: Annotated[int, Field(ge=1)]
    at: AwareDatetime
    by: str
    candidate: Figures
    champion: Figures | None
    best: int | None
    flips: Flips | None
    cost: Cost
    test_digest: str
    test_images: int
    weak: bool
    decoder_version: str
    checks: tuple[Check, ...]

    @property
    def passed(self) -> bool:
        """Whether every check is passed; a weak verdict can be passed too."""
        return all(check.passed for check in self.checks)

    @property
    def judged_against(self) -> int | None:
        """What was served when it was judged."""
        return self.champion.version if self.champion else None

    @property
    def word(self) -> str:
        """`passed`, `weak` (passed on too few images) or `refused`."""
        if not self.passed:
            return "refused"
        return "weak" if self.weak else "passed"

    @property
    def sentence(self) -> str:
        """The verdict in words."""
        against = f"against version {self.judged_against}" if self.champion else "as the first version"
        theirs = f", the champion's {self.champion.accuracy:.3f}," if self.champion else ""
        accuracy = f"accuracy {self.candidate.accuracy:.3f}{theirs} on {self.test_images:,} test images"
        if not self.passed:
            reasons = "; ".join(
                f"{check.name} {check.value:+.3f}, limit {check.limit:+.3f}"
                for check in self.checks
                if not check.passed
            )
            return f"Version {self.version} is refused {against} ({accuracy}): {reasons}."
        weak = "; with so few test images the evidence is weak" if self.weak else ""
        return f"Version {self.version} passes {against} ({accuracy}{weak})."

    def show(self, console: Console) -> None:
        """Print the verdict as a table."""
        cost = f"{self.cost.milliseconds:.2f} ms an image with one thread, {self.cost.bytes / 1e6:.1f} MB"
        reported = [f"It costs {cost}."]
        if self.flips is not None:
            reported.append(
                f"Answers that flip: {self.flips.mended} turn right, {self.flips.broken} wrong "
                f"(by chance alone: p = {self.flips.p_value:.2g}); the images are in its flips-….png."
            )
        table(_COLUMNS, self._rows(), title="\n".join([self.sentence, *reported]), console=console)

    def _rows(self) -> list[tuple[str, str, str, str, str]]:
        """The checks as a table: name, value, limit, passed, meaning."""
        return [
            (
                check.name,
                f"{check.value:+.4f}",
                f"{check.limit:+.4f}",
                "ok" if check.passed else "NO",
                check.meaning,
            )
            for check in self.checks
        ]


def require_passed(verdict: Verdict, *, weak_accepted: bool) -> None:
    """Let a passed verdict through.

    Raises:
        RefusedError: It is not passed, or it is weak and that was not accepted.
    """
    if not verdict.passed:
        raise RefusedError(verdict.sentence)
    if verdict.weak and not weak_accepted:
        raise RefusedError(
            f"{verdict.sentence} Judge it on more images, or accept that with --accept-weak-evidence."
        )


def attach_verdict(store: Store, verdict: Verdict, pictures: dict[str, bytes]) -> str:
    """Put a verdict and its pictures beside the version; earlier ones stay.

    Returns:
        The verdict's name there.
    """
    number = len(_names(store, verdict.version)) + 1
    for name, data in pictures.items():
        store.attach(verdict.version, f"{name.partition('.')[0]}-{number:03}.{name.partition('.')[2]}", data)
    name = f"{PREFIX}{number:03}.json"
    store.attach(verdict.version, name, verdict.model_dump_json(indent=1).encode() + b"\n")
    return name


def last_verdict(store: Store, version: int) -> Verdict | None:
    """The last word on a version; None if it was never judged.

    Raises:
        IntegrityError: What is there is no verdict.
    """
    names = _names(store, version)
    if not names:
        return None
    try:
        return Verdict.model_validate_json(store.attachment(version, names[-1]))
    except ValidationError as error:
        raise IntegrityError(
            f"{names[-1]} of version {version} is damaged; judge the version again."
        ) from error


def _names(store: Store, version: int) -> list[str]:
    return sorted(name for name in store.attachments(version) if name.startswith(PREFIX))
