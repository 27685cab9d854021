"""What the gate says about a version, kept beside it: reasons in words, as JSON and as a table."""

from typing import Annotated

from pydantic import AwareDatetime, BaseModel, ConfigDict, Field
from rich.console import Console

from jobs.console import table
from jobs.errors import RefusedError

_REASONS = 6
_COLUMNS = ("check", "value", "limit", "", "meaning")


class _Record(BaseModel):
    # What a later release adds to a verdict is left unread; the store outlives both.
    model_config = ConfigDict(frozen=True, extra="ignore", allow_inf_nan=False)


class Check(_Record):
    """One thing the gate looked at.

    Attributes:
        name: What, in a few words.
        value: What was found.
        limit: What it is held against.
        passed: Whether it is on the right side, or so little on the wrong one that chance explains it.
        meaning: What value and limit mean.
        bound: The one-sided confidence bound that was held against the limit in place of the value; None
            where it was the value itself.
    """

    name: str
    value: float
    limit: float
    passed: bool
    meaning: str
    bound: float | None = None


class Figures(_Record):
    """A version on the test images; see `model.report.evaluate.Evaluation`."""

    version: int
    accuracy: float
    interval: tuple[float, float]
    per_class: dict[str, float]
    ece: float
    nll: float


class Flips(_Record):
    """Images whose answer turned right or wrong.

    Attributes:
        mended: Now right.
        broken: Now wrong.
        p_value: The exact McNemar test's; over groups where the test split has them.
        images: Compared in all; None in verdicts of earlier releases, which compared all test images.
        design_effect: So many times more does the difference scatter than if no image belonged to another.
    """

    mended: int
    broken: int
    p_value: float
    images: int | None = None
    design_effect: float = 1.0


class Resolved(_Record):
    """Which difference the test split can show; see `jobs.gate.power`.

    Attributes:
        margin: So much less accurate may a candidate be at worst.
        smallest: The smallest margin with which a version exactly as good passes nine times in ten.
        flips: Share of the answers that was expected to flip between two such versions.
        verdicts: So many earlier verdicts say so; with 0 it is assumed.
        images: Test images that it was computed for.
        groups: Groups among them; None where each image stands for itself.
    """

    margin: float
    smallest: float
    flips: float
    verdicts: int
    images: int
    groups: int | None


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
        weak: Whether they, or the groups among them, were too few.
        decoder_version: Of the decoder that prepared images where it was judged.
        checks: What was looked at.
        resolved: Which difference the test split can show; None in verdicts of earlier releases.
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
    resolved: Resolved | None = None

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
        accuracy = self._accuracy()
        if not self.passed:
            failed = [check for check in self.checks if not check.passed]
            reasons = "; ".join(
                f"{check.name} {check.value:+.3f}, limit {check.limit:+.3f}" for check in failed[:_REASONS]
            )
            more = f"; and {len(failed) - _REASONS} more" if len(failed) > _REASONS else ""
            return f"Version {self.version} is refused {against} ({accuracy}): {reasons}{more}."
        few = "test images"
        if self.resolved and self.resolved.groups is not None:
            few = f"groups ({self.resolved.groups}) in the test images"
        weak = f"; with so few {few} the evidence is weak" if self.weak else ""
        return f"Version {self.version} passes {against} ({accuracy}{weak})."

    def _accuracy(self) -> str:
        """Both versions' accuracy, and on what it is; a champion may know fewer classes."""
        ours = f"accuracy {self.candidate.accuracy:.3f}"
        images = f"{self.test_images:,} test images"
        if self.champion is None:
            return f"{ours} on {images}"
        theirs = f"the champion's {self.champion.accuracy:.3f}"
        if self.resolved is None or self.resolved.images == self.test_images:
            return f"{ours}, {theirs}, on {images}"
        return (
            f"{ours} on {images}, {theirs} on those of its own classes, compared on the "
            f"{self.resolved.images:,} whose class both know"
        )

    def show(self, console: Console) -> None:
        """Print the verdict as a table."""
        cost = f"{self.cost.milliseconds:.2f} ms an image with one thread, {self.cost.bytes / 1e6:.1f} MB"
        reported = [f"It costs {cost}."]
        if self.flips is not None:
            reported.append(
                f"Answers that flip: {self.flips.mended} turn right, {self.flips.broken} wrong "
                f"(by chance alone: p = {self.flips.p_value:.2g}); the images are in its flips-….png."
            )
        if self.resolved is not None:
            reported.append(_told(self.resolved))
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


def _told(resolved: Resolved) -> str:
    """Which difference a test split can show, in a sentence."""
    split = f"These {resolved.images:,} test images"
    if resolved.groups is not None:
        split += f" in {resolved.groups:,} groups"
    since = (
        f"as in {resolved.verdicts} earlier verdict{'s' if resolved.verdicts > 1 else ''}"
        if resolved.verdicts
        else "as is assumed without a history"
    )
    return (
        f"{split} can show a difference of {100 * resolved.smallest:.1f} points where {resolved.flips:.1%} "
        f"of the answers flip, {since}; the margin is {100 * resolved.margin:.1f} points."
    )


def require_passed(verdict: Verdict, *, weak_accepted: bool) -> None:
    """Let a passed verdict through.

    Raises:
        RefusedError: It is not passed, or it is weak and that was not accepted.
    """
    if not verdict.passed:
        raise RefusedError(verdict.sentence)
    if verdict.weak and not weak_accepted:
        raise RefusedError(
            f"{verdict.sentence} Judge it on more images, or accept that with "
            f"`cnn-image promote {verdict.version} --accept-weak-evidence`."
        )
