"""Which files are the same picture, or of the same group: those of a source and all that are remembered."""

from collections import defaultdict
from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from model.data.pictures import THUMB_SIDE, Picture
from model.data.splits.duplicates import near_pairs
from model.data.splits.memory import Splits, group_hash


class Relations:
    """Files by their bytes, numbered: first those of the source, then those that are only remembered.

    Attributes:
        digests: Of each file.
        file_of: int64 `[N]`, the file of each picture of the source.
        pictures_of: The pictures of each file; none of those that are only remembered.
        hashes: uint64 `[F]`.
        thumbs: uint8 `[F, THUMB_SIDE ** 2]`.
        known: uint8 `[F]`, the bits of the splits that are remembered; 0 of new files.
        row_of: int64 `[F]`, where each is remembered; -1 of new files.
        near: Near duplicates among the files.
        groups: Hashed groups of each file that has any; what the source says before what is remembered.
    """

    def __init__(self, pictures: Sequence[Picture], earlier: Splits | None) -> None:
        number: dict[bytes, int] = {}
        self.file_of = np.array([number.setdefault(p.digest, len(number)) for p in pictures], np.int64)
        here = len(number)
        rows = {} if earlier is None else {d.tobytes(): row for row, d in enumerate(earlier.digests)}
        away = [row for digest, row in rows.items() if digest not in number]
        self.digests = [*number, *(earlier.digests[row].tobytes() for row in away if earlier is not None)]
        self.row_of = np.array([rows.get(digest, -1) for digest in self.digests], np.int64)
        self.pictures_of: list[list[int]] = [[] for _ in self.digests]
        for position, file in enumerate(self.file_of):
            self.pictures_of[file].append(position)

        self.hashes = np.zeros(len(self.digests), np.uint64)
        self.thumbs = np.zeros((len(self.digests), THUMB_SIDE**2), np.uint8)
        self.known = np.zeros(len(self.digests), np.uint8)
        for file in range(here):
            picture = pictures[self.pictures_of[file][0]]
            self.hashes[file] = picture.phash
            self.thumbs[file] = np.frombuffer(picture.thumb, np.uint8)
        if earlier is not None:
            remembered = self.row_of >= 0
            self.known[remembered] = earlier.bits[self.row_of[remembered]]
            self.hashes[here:] = earlier.hashes[away]
            self.thumbs[here:] = earlier.thumbs[away]
        self.near = near_pairs(self.hashes, self.thumbs)
        self.groups = self._groups(pictures, earlier)

    def __len__(self) -> int:
        return len(self.digests)

    def _groups(self, pictures: Sequence[Picture], earlier: Splits | None) -> dict[int, list[bytes]]:
        hashed: dict[str, bytes] = {}
        found: defaultdict[int, set[bytes]] = defaultdict(set)
        for file, picture in zip(self.file_of.tolist(), pictures, strict=True):
            if picture.group is not None:
                if picture.group not in hashed:
                    hashed[picture.group] = group_hash(picture.group)
                found[file].add(hashed[picture.group])
        if earlier is not None and len(earlier.group_rows):
            said = set(found)
            file_of_row = np.full(len(earlier), -1)
            remembered = np.flatnonzero(self.row_of >= 0)
            file_of_row[self.row_of[remembered]] = remembered
            for row, group in zip(earlier.group_rows.tolist(), earlier.groups, strict=True):
                file = int(file_of_row[row])
                if file not in said:
                    found[file].add(group.tobytes())
        return {file: sorted(groups) for file, groups in found.items()}

    def components(self, among: NDArray[np.bool_], *, by_group: bool) -> NDArray[np.int64]:
        """Number what hangs together.

        Args:
            among: `[F]`, the files that connect anything; the others each stand alone.
            by_group: Whether a group connects, besides being near.

        Returns:
            int64 `[F]`, the component of each file.
        """
        from scipy.sparse import coo_array  # who serves never asks this, and need not import it
        from scipy.sparse.csgraph import connected_components

        both = among[self.near.first] & among[self.near.second]
        ends = [self.near.first[both]], [self.near.second[both]]
        vertices = len(self)
        if by_group:
            number: dict[bytes, int] = {}
            members = [
                (file, len(self) + number.setdefault(group, len(number)))
                for file, groups in self.groups.items()
                if among[file]
                for group in groups
            ]
            vertices += len(number)
            for side, end in zip(ends, zip(*members, strict=True), strict=False):
                side.append(np.array(end, np.int64))
        first, second = (np.concatenate(side) for side in ends)
        # Imported late: who only looks at versions does without it.

        graph = coo_array((np.ones(len(first), np.uint8), (first, second)), shape=(vertices, vertices))
        _, labels = connected_components(graph, directed=False)
        components: NDArray[np.int64] = labels[: len(self)].astype(np.int64)
        return components
