"""All pictures that a model has ever seen, and the split that each keeps: written beside every version."""

import hashlib
import io
import json
import zipfile
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from model.data.errors import DataError
from model.data.pictures import THUMB_SIDE, SplitName

BITS: Final[dict[SplitName, int]] = {"train": 1, "validation": 2, "test": 4}
"""The bit of each split; of two the greater is the one that has to stay clean."""

GROUP_BYTES: Final = 16

_MAGIC: Final = b"cnn-image splits 1\n"
_DIGEST_BYTES: Final = 32


@dataclass(frozen=True, eq=False)
class Splits:
    """Which picture is in which split; of a version its predecessor's and the new ones.

    It holds no file's name, and of a group's name only a hash: no secret, where the names can be guessed.

    Attributes:
        digests: uint8 `[N, 32]`, the sha256 of each file's bytes, ascending.
        hashes: uint64 `[N]`, perceptual hashes.
        thumbs: uint8 `[N, THUMB_SIDE ** 2]`.
        bits: uint8 `[N]`, of `BITS`; two of them where a source gives the same file in two splits.
        labels: int32 `[N]`, positions in `classes`; the class that the picture had last.
        classes: Names, sorted.
        group_rows: int32 `[G]`, the picture of each membership.
        groups: uint8 `[G, GROUP_BYTES]`, the hashed group of each membership; see `group_hash`.
    """

    digests: NDArray[np.uint8]
    hashes: NDArray[np.uint64]
    thumbs: NDArray[np.uint8]
    bits: NDArray[np.uint8]
    labels: NDArray[np.int32]
    classes: tuple[str, ...]
    group_rows: NDArray[np.int32]
    groups: NDArray[np.uint8]

    def __len__(self) -> int:
        return len(self.bits)

    def to_bytes(self) -> bytes:
        """The file that `from_bytes` reads: a line that names the format, the sha256 of the rest, a npz file.

        The same splits are the same bytes.
        """
        packed = io.BytesIO()
        np.savez_compressed(
            packed,
            digests=self.digests,
            hashes=self.hashes,
            thumbs=self.thumbs,
            bits=self.bits,
            labels=self.labels,
            classes=np.frombuffer(json.dumps(self.classes).encode(), np.uint8),
            group_rows=self.group_rows,
            groups=self.groups,
        )
        body = packed.getvalue()
        return _MAGIC + hashlib.sha256(body).digest() + body

    @classmethod
    def from_bytes(cls, data: bytes) -> "Splits":
        """Read what `to_bytes` wrote.

        Raises:
            DataError: It is damaged, or a newer cnn-image wrote it.
        """
        begin = len(_MAGIC) + _DIGEST_BYTES
        if data[: _MAGIC.index(b"1")] != _MAGIC[: _MAGIC.index(b"1")]:
            raise DataError(
                "The version's splits are no file that cnn-image wrote; restore it from a backup."
            )
        if not data.startswith(_MAGIC):
            raise DataError("The version's splits were written by a newer cnn-image; update this one.")
        body = data[begin:]
        if hashlib.sha256(body).digest() != data[len(_MAGIC) : begin]:
            raise DataError("The version's splits are damaged (their sha256 differs); restore the file.")
        try:
            with np.load(io.BytesIO(body), allow_pickle=False) as packed:
                fields: dict[str, Any] = {name: packed[name] for name in packed.files}
            fields["classes"] = tuple(json.loads(fields["classes"].tobytes()))
            splits = cls(**fields)
            splits._check()
        except (ValueError, TypeError, KeyError, OSError, zipfile.BadZipFile) as error:
            raise DataError(
                f"The version's splits cannot be read ({error}); update cnn-image or restore the file."
            ) from None
        return splits

    def _check(self) -> None:
        count, memberships = len(self.bits), len(self.group_rows)
        expected = {
            "digests": ((count, _DIGEST_BYTES), np.uint8),
            "hashes": ((count,), np.uint64),
            "thumbs": ((count, THUMB_SIDE**2), np.uint8),
            "bits": ((count,), np.uint8),
            "labels": ((count,), np.int32),
            "group_rows": ((memberships,), np.int32),
            "groups": ((memberships, GROUP_BYTES), np.uint8),
        }
        for name, (shape, kind) in expected.items():
            array: NDArray[Any] = getattr(self, name)
            if array.shape != shape or array.dtype != kind:
                raise ValueError(f"{name} is {array.dtype} {array.shape}")
        inside = (
            ((self.bits >= 1) & (self.bits <= sum(BITS.values()))).all()
            and ((self.labels >= 0) & (self.labels < len(self.classes))).all()
            and ((self.group_rows >= 0) & (self.group_rows < count)).all()
        )
        if not inside:
            raise ValueError("a split, a class or a group is out of range")


def joined(newest: Splits, other: Splits) -> Splits:
    """What either knows; a picture that they have in two splits is in both, which leaves it out of training.

    Args:
        newest: Whose classes count where both know a picture.
        other: Of a version that `newest` does not descend from.
    """
    digests: list[bytes] = []
    rows: list[tuple[Splits, int]] = []
    numbers: dict[bytes, int] = {}
    groups: dict[int, set[bytes]] = {}
    bits: list[int] = []
    for splits in (newest, other):
        file_of_row: list[int] = []
        for row, digest in enumerate(map(bytes, splits.digests)):
            file = numbers.setdefault(digest, len(digests))
            if file == len(digests):
                digests.append(digest)
                rows.append((splits, row))
                bits.append(0)
            bits[file] |= int(splits.bits[row])
            file_of_row.append(file)
        for row, group in zip(splits.group_rows.tolist(), splits.groups, strict=True):
            groups.setdefault(file_of_row[row], set()).add(group.tobytes())
    return remember(
        digests,
        np.array([splits.hashes[row] for splits, row in rows], np.uint64),
        np.array([splits.thumbs[row] for splits, row in rows], np.uint8).reshape(-1, THUMB_SIDE**2),
        np.array(bits, np.uint8),
        [splits.classes[splits.labels[row]] for splits, row in rows],
        {file: sorted(names) for file, names in groups.items()},
    )


def group_hash(name: str) -> bytes:
    """What is kept of a group's name."""
    return hashlib.sha256(b"group\0" + name.encode()).digest()[:GROUP_BYTES]


def strongest(bits: int) -> SplitName | None:
    """The split of `bits` that has to stay clean before the others; None of no bits."""
    return next((split for split in ("test", "validation", "train") if bits & BITS[split]), None)


def remember(
    digests: Sequence[bytes],
    hashes: NDArray[np.uint64],
    thumbs: NDArray[np.uint8],
    bits: NDArray[np.uint8],
    labels: Sequence[str],
    groups: Mapping[int, Sequence[bytes]],
) -> Splits:
    """Put together what is kept of files; one without a split is not.

    Args:
        digests: Of each file, in any order.
        hashes: uint64 `[F]`.
        thumbs: uint8 `[F, THUMB_SIDE ** 2]`.
        bits: uint8 `[F]`, of `BITS`.
        labels: The class of each.
        groups: The hashed groups of each file that has any.
    """
    kept = sorted((file for file in range(len(digests)) if bits[file]), key=lambda file: digests[file])
    classes = sorted({labels[file] for file in kept})
    number = {name: position for position, name in enumerate(classes)}
    members = [(row, group) for row, file in enumerate(kept) for group in groups.get(file, ())]
    return Splits(
        digests=np.frombuffer(b"".join(digests[file] for file in kept), np.uint8).reshape(-1, _DIGEST_BYTES),
        hashes=hashes[kept],
        thumbs=thumbs[kept],
        bits=bits[kept],
        labels=np.array([number[labels[file]] for file in kept], np.int32),
        classes=tuple(classes),
        group_rows=np.array([row for row, _ in members], np.int32),
        groups=np.frombuffer(b"".join(group for _, group in members), np.uint8).reshape(-1, GROUP_BYTES),
    )
