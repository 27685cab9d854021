"""One picture that is to be scored, and where the pictures of a source lie."""

from dataclasses import dataclass
from typing import Final, Literal, NamedTuple

Kind = Literal["files", "zip", "tar", "rows"]
"""Files and objects of their own; members of an archive; rows of a Parquet that holds the bytes."""

Code = Literal["changed", "missing", "unreadable"]
"""Why there are no bytes; codes of the decoder (`model.images.errors`) say why bytes are no picture."""

ROW: Final = b"row "
"""What the key of a picture begins with whose bytes stand in a Parquet."""


class Trouble(NamedTuple):
    """Why a picture has no answer.

    Attributes:
        code: For programs.
        sentence: For people.
    """

    code: str
    sentence: str


class Picture(NamedTuple):
    """One picture of a source.

    Attributes:
        name: What the source calls it; unique.
        key: How its bytes are found: a path, an `s3://` address, a place in an archive, or `row N`.
        length: In bytes; of a row of a Parquet what its pictures have on average.
        stamp: Differs where its bytes do, as far as can be told without reading it.
        trouble: What the listing found wrong with it already; it is not read.
    """

    name: str
    key: bytes
    length: int
    stamp: str
    trouble: Trouble | None = None


@dataclass(frozen=True)
class Origin:
    """Where the pictures of a source lie.

    Attributes:
        kind: What their keys mean.
        container: Path or `s3://` address of the archive or Parquet that holds them; empty for files.
        stamp: Of that, as a picture's.
    """

    kind: Kind
    container: str = ""
    stamp: str = ""
