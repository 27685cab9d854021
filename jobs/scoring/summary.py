"""What a finished result holds, in figures, and as a page to look at."""

import heapq
import html
import io
from collections import Counter
from collections.abc import Sequence
from datetime import UTC, datetime
from typing import Any, Final

import numpy as np
import pyarrow.parquet as pq
from numpy.typing import NDArray
from pydantic import BaseModel, ConfigDict, ValidationError

from export.errors import IntegrityError
from jobs.scoring.columns import numbers_in
from jobs.scoring.destination import Destination
from jobs.scoring.plan import Plan
from jobs.scoring.source.picture import Picture, Trouble
from jobs.scoring.source.readers import Reader
from model.contract import Contract
from model.images.decode import decode_image
from model.images.errors import ImageError
from model.report.gallery import STYLE, gallery
from model.report.html import document, table

_LEAST: Final = 48
"""Pictures on the contact sheet."""

_COLUMNS: Final = ("image", "class_id", "confidence", "error_code", "error")


class Doubtful(BaseModel):
    """A picture that the version is least certain of."""

    model_config = ConfigDict(frozen=True)

    image: str
    class_name: str
    confidence: float


class Failure(BaseModel):
    """A kind of error: how often it is there, and one picture of it."""

    model_config = ConfigDict(frozen=True)

    pictures: int
    image: str
    error: str


class Summary(BaseModel):
    """A finished result.

    Attributes:
        plan: Its id.
        answered: Pictures with an answer.
        classes: By name, how many pictures are of each, the most frequent first.
        errors: By code.
        least_certain: The least certain first.
        seconds: That the start took which finished it.
        images_per_second: Of that start.
    """

    model_config = ConfigDict(frozen=True)

    plan: str
    source: str
    model: str
    version: int
    precision: str
    decoder: str
    pictures: int
    answered: int
    classes: dict[str, int]
    errors: dict[str, Failure]
    least_certain: tuple[Doubtful, ...]
    finished: datetime
    seconds: float
    images_per_second: float

    def to_json(self) -> bytes:
        """As it is stored."""
        return (self.model_dump_json(indent=1) + "\n").encode()

    @classmethod
    def from_json(cls, data: bytes, where: str) -> "Summary":
        """Read what `to_json` made.

        Raises:
            IntegrityError: It was changed, or a newer cnn-image wrote it.
        """
        try:
            return cls.model_validate_json(data)
        except ValidationError as error:
            raise IntegrityError(
                f"The summary in {where} is none that this cnn-image knows ({error.errors()[0]['msg']}); "
                "remove it, and it is written anew."
            ) from None


Place = tuple[int, int]
"""Shard and row."""


def summarize(
    destination: Destination, plan: Plan, *, scored: int, seconds: float
) -> tuple[Summary, list[Place]]:
    """Read a result through.

    Args:
        destination: Where all shards of it are.
        plan: Its plan.
        scored: Pictures that this start has scored.
        seconds: That it took for them.

    Returns:
        The figures, and where the least certain pictures stand.
    """
    counts = np.zeros(len(plan.classes), np.int64)
    errors: Counter[str] = Counter()
    examples: dict[str, tuple[str, str]] = {}
    least: list[tuple[float, Place, Doubtful]] = []
    for shard in range(len(plan.shards)):
        rows = pq.ParquetFile(io.BytesIO(destination.shard(shard))).read(columns=list(_COLUMNS))
        ids, answered = numbers_in(rows.column("class_id"), np.int32)
        counts += np.bincount(ids[answered], minlength=len(counts))
        codes = rows.column("error_code")
        for row in np.flatnonzero(~answered).tolist():
            code = codes[row].as_py()
            errors[code] += 1
            if code not in examples:
                examples[code] = rows["image"][row].as_py(), rows["error"][row].as_py()
        least = heapq.nsmallest(
            _LEAST, [*least, *_least_of(shard, rows, plan.classes)], key=lambda found: found[:2]
        )
    order = sorted(np.flatnonzero(counts).tolist(), key=lambda number: (-counts[number], number))
    summary = Summary(
        plan=plan.id,
        source=plan.request.source,
        model=plan.model,
        version=plan.version,
        precision=plan.precision,
        decoder=plan.decoder,
        pictures=plan.pictures,
        answered=int(counts.sum()),
        classes={plan.classes[number]: int(counts[number]) for number in order},
        errors={
            code: Failure(pictures=times, image=examples[code][0], error=examples[code][1])
            for code, times in errors.most_common()
        },
        least_certain=tuple(doubtful for _, _, doubtful in least),
        finished=datetime.now(UTC),
        seconds=round(seconds, 3),
        images_per_second=round(scored / seconds, 1) if seconds else 0.0,
    )
    return summary, [place for _, place, _ in least]


def _least_of(shard: int, rows: Any, classes: Sequence[str]) -> list[tuple[float, Place, Doubtful]]:
    confidence, answered = numbers_in(rows.column("confidence"), np.float32)
    confidence = np.where(answered, confidence, np.inf)
    found = []
    for row in np.argsort(confidence, kind="stable")[:_LEAST].tolist():
        if np.isfinite(confidence[row]):
            value = float(confidence[row])
            name = classes[rows["class_id"][row].as_py()]
            doubtful = Doubtful(image=rows["image"][row].as_py(), class_name=name, confidence=value)
            found.append((value, (shard, row), doubtful))
    return found


def page(summary: Summary, pictures: Sequence[NDArray[np.uint8] | None]) -> str:
    """The figures as a page.

    Args:
        summary: What it shows.
        pictures: The least certain ones as the version sees them, uint8 `[S, S, 3]`; None for what cannot be
            read any more.
    """
    share = max(1, summary.answered)
    sections = [
        f"<h1>{html.escape(summary.source)}</h1>",
        f'<p class="big">{summary.answered:,} of {summary.pictures:,} pictures answered</p>',
        f'<p class="note">Version {summary.version} ({summary.precision}) of {html.escape(summary.model)}, '
        f"decoder {html.escape(summary.decoder)}; {summary.images_per_second:,.0f} pictures a second in the "
        f"start that finished it, {summary.finished:%Y-%m-%d %H:%M} UTC.</p>",
        "<h2>Classes</h2>",
        table(
            ((name, f"{count:,}", f"{count / share:.1%}") for name, count in summary.classes.items()),
            ("class", "pictures", "share"),
        ),
    ]
    if summary.errors:
        rows = ((code, f"{kind.pictures:,}", kind.image, kind.error) for code, kind in summary.errors.items())
        sections += ["<h2>Without an answer</h2>", table(rows, ("error", "pictures", "for example", ""))]
    shown = [
        (pixels, doubtful.image, f"{doubtful.class_name} {doubtful.confidence:.3f}", doubtful.image)
        for pixels, doubtful in zip(pictures, summary.least_certain, strict=True)
        if pixels is not None
    ]
    if shown:
        sections += ["<h2>The least certain</h2>", gallery(shown)]
    return document(f"Scored: {summary.source}", sections, STYLE)


def seen(pictures: Sequence[Picture], reader: Reader, contract: Contract) -> list[NDArray[np.uint8] | None]:
    """Pictures as a version sees them; None for each that cannot be read any more."""
    return [_pixels(picture, reader, contract) for picture in pictures]


def _pixels(picture: Picture, reader: Reader, contract: Contract) -> NDArray[np.uint8] | None:
    (data,) = reader.read([picture])
    if isinstance(data, Trouble):
        return None
    try:
        return decode_image(data, size=contract.size, fit=contract.fit)
    except ImageError:
        return None
