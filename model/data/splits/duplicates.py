"""Which pictures are nearly the same, whatever file they were saved in.

Near duplicates are pictures whose perceptual hashes differ in few bits and whose small grey thumbnails
agree. Both are taken of the picture squeezed into 32 x 32, so no version's size or fit changes them. How many
true ones are found, and how many false ones, is in docs/splits.md.
"""

from itertools import combinations
from typing import Final, Literal, NamedTuple

import numpy as np
from numpy.typing import NDArray

from model.data.pictures import THUMB_SIDE

SIDE: Final = 32
"""Side in pixels of what a signature is taken of."""

NEAR_BITS: Final = 6
"""Bits in which the hashes of near duplicates differ at most."""

_LOW: Final = 8  # frequencies in each direction, 64 in all
_MIDDLE: Final = [_LOW * _LOW // 2 - 1, _LOW * _LOW // 2]
_RED_GREEN_BLUE: Final = np.array([0.299, 0.587, 0.114])  # ITU-R BT.601's luma, as Pillow's grey is
# The first rows of a type-II discrete cosine transform, all of one scale.
_COSINES: Final = np.cos(np.pi / SIDE * np.outer(np.arange(_LOW), np.arange(SIDE) + 0.5)) / np.sqrt(SIDE / 2)
# A coefficient has to be above the median by this share of their root mean square, and by this much at least:
# in a symmetric picture half of them are zero, and the noise of a JPEG must not decide their bits.
_ABOVE: Final = 0.04
_ABOVE_AT_LEAST: Final = 4.0

# Eight bands of eight bits, each of low and of high frequencies. Hashes that differ in six bits agree in two
# bands or more, so every pair of them meets in one of 28 tables of 16 bits.
_BANDS: Final = 8
_BAND_OF_BIT: Final = np.argsort(
    np.argsort(np.add.outer(np.arange(_LOW), np.arange(_LOW)).ravel(), kind="stable"), kind="stable"
)
# Neighbours that a picture is compared with in one table, and how many close ones are enough: more are there
# only where thousands of pictures are almost of one colour, and these hang together by fewer.
_NEIGHBOURS: Final = 1000
_ENOUGH: Final = 16

_CORRELATION: Final = 0.97
_BRIGHTNESS: Final = 14.0  # levels between the means: 5 % of white is 13
_CONTRAST: Final = 1.17  # ratio of the deviations
_LOCAL: Final = 12.0  # levels, beyond a quarter of the range of a cell's neighbours
_PAIRS_AT_A_TIME: Final = 8192


class NearPairs(NamedTuple):
    """Pairs of near duplicates.

    Attributes:
        first: int64 `[K]`, positions.
        second: int64 `[K]`, positions, each greater than `first`.
        distance: uint8 `[K]`, bits in which the hashes differ.
    """

    first: NDArray[np.int64]
    second: NDArray[np.int64]
    distance: NDArray[np.uint8]


def phash(pixels: NDArray[np.uint8]) -> int:
    """The perceptual hash of a picture: which of its lowest frequencies stand out above their median.

    8 x 8 coefficients of the discrete cosine transform of the grey picture, row after row, the first one the
    highest bit; as the common pHash, but for the margin by which they have to be above the median.

    Args:
        pixels: uint8 `[32, 32, 3]`, the whole picture squeezed into it.

    Returns:
        64 bits, unsigned.
    """
    return _phash(_grey(pixels))


def _phash(grey: NDArray[np.float64]) -> int:
    low = _COSINES @ grey @ _COSINES.T
    others = low.ravel()[1:]
    margin = max(_ABOVE_AT_LEAST, _ABOVE * float(np.sqrt(others @ others / len(others))))
    # The median, without numpy's look for what is no number, which takes as long as the transform.
    middle = np.partition(low, _MIDDLE, axis=None)[_MIDDLE].mean()
    return int.from_bytes(np.packbits(low > middle + margin).tobytes(), "big")


def thumb(pixels: NDArray[np.uint8]) -> bytes:
    """A picture's thumbnail of `THUMB_SIDE` x `THUMB_SIDE` grey bytes, row after row.

    Args:
        pixels: uint8 `[32, 32, 3]`, the whole picture squeezed into it.
    """
    return _thumb(_grey(pixels))


def signature(pixels: NDArray[np.uint8]) -> tuple[int, bytes]:
    """`phash` and `thumb` of a picture."""
    grey = _grey(pixels)
    return _phash(grey), _thumb(grey)


def _thumb(grey: NDArray[np.float64]) -> bytes:
    step = SIDE // THUMB_SIDE
    small = grey.reshape(THUMB_SIDE, step, THUMB_SIDE, step).mean((1, 3))
    rounded: NDArray[np.uint8] = np.round(small).astype(np.uint8)
    return rounded.tobytes()


def near_pairs(hashes: NDArray[np.uint64], thumbs: NDArray[np.uint8]) -> NearPairs:
    """Find near duplicates among pictures.

    Pictures with the same hash and thumbnail are paired with the first of them alone, so that a thousand
    equal ones are 999 pairs. What hangs together does not depend on the order of the pictures.

    Args:
        hashes: uint64 `[N]`, of `phash`.
        thumbs: uint8 `[N, THUMB_SIDE ** 2]`, of `thumb`.

    Returns:
        The pairs, ascending.
    """
    signatures = np.hstack([hashes.astype("<u8").view(np.uint8).reshape(-1, 8), thumbs])
    _, kept, same_as = np.unique(_as_bytes(signatures), return_index=True, return_inverse=True)
    kept = kept.astype(np.int64)
    first = kept[same_as]
    second = np.arange(len(hashes), dtype=np.int64)
    copies = first != second
    # Neighbours in a table are then those of like hashes, and of one hash those of like brightness.
    kept = kept[np.lexsort((thumbs[kept].mean(1, dtype=np.float32), hashes[kept]))]
    left, right = _candidates(hashes[kept])
    left, right = kept[left], kept[right]
    agree = _agree(thumbs, left, right)
    first = np.concatenate([first[copies], np.minimum(left, right)[agree]])
    second = np.concatenate([second[copies], np.maximum(left, right)[agree]])
    order = np.lexsort((second, first))
    first, second = first[order], second[order]
    return NearPairs(first, second, np.bitwise_count(hashes[first] ^ hashes[second]))


def _candidates(hashes: NDArray[np.uint64]) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """Pairs whose hashes differ in `NEAR_BITS` bits at most, each once."""
    bits = np.unpackbits(hashes.astype(">u8").view(np.uint8).reshape(-1, 8), axis=1)
    bands = [
        np.packbits(bits[:, band == _BAND_OF_BIT % _BANDS], axis=1).ravel().astype(np.uint16)
        for band in range(_BANDS)
    ]
    count = max(1, len(hashes))
    found = np.zeros(0, np.int64)
    for high, low in combinations(bands, 2):
        keys = high << np.uint16(8) | low
        order = np.argsort(keys, kind="stable")
        keys, sorted_hashes = keys[order], hashes[order]
        at = np.arange(len(order), dtype=np.int64)
        pieces, met = [found], np.zeros(len(order), np.uint8)
        for step in range(1, _NEIGHBOURS + 1):
            at = at[(at + step < len(order)) & (met[at] < _ENOUGH)]
            at = at[keys[at] == keys[at + step]]
            if not len(at):
                break
            close = at[np.bitwise_count(sorted_hashes[at] ^ sorted_hashes[at + step]) <= NEAR_BITS]
            one, other = order[close], order[close + step]
            pieces.append(np.minimum(one, other) * count + np.maximum(one, other))
            met[close] += 1
        found = np.unique(np.concatenate(pieces))
    return found // count, found % count


def _agree(thumbs: NDArray[np.uint8], left: NDArray[np.int64], right: NDArray[np.int64]) -> NDArray[np.bool_]:
    """Whether the thumbnails of each pair are of one picture: up to light, contrast and a small shift."""
    agree = np.zeros(len(left), bool)
    for start in range(0, len(left), _PAIRS_AT_A_TIME):
        rows = slice(start, start + _PAIRS_AT_A_TIME)
        one, other = (thumbs[side[rows]].astype(np.float32) for side in (left, right))
        means = one.mean(1, keepdims=True), other.mean(1, keepdims=True)
        one, other = one - means[0], other - means[1]
        # One level of noise in each: pictures of one colour correlate, too.
        spread = np.sqrt((one**2).mean(1) + 1), np.sqrt((other**2).mean(1) + 1)
        ratio = spread[1] / spread[0]
        alike = (
            ((one * other).mean(1) + 1 > _CORRELATION * spread[0] * spread[1])
            & (np.abs(means[1] - means[0])[:, 0] < _BRIGHTNESS)
            & (np.maximum(ratio, 1 / ratio) < _CONTRAST)
        )
        one, other, ratio = one[alike], other[alike], ratio[alike, None]
        fits = _beyond_local(one * ratio, other) < _LOCAL
        rest = ~fits
        fits[rest] = _beyond_local(other[rest] / ratio[rest], one[rest]) < _LOCAL
        agree[start + np.flatnonzero(alike)[fits]] = True
    return agree


def _beyond_local(one: NDArray[np.float32], other: NDArray[np.float32]) -> NDArray[np.float32]:
    """The largest difference of a cell beyond what a small shift makes where `one` has an edge."""
    side = THUMB_SIDE
    high = low = np.pad(one.reshape(-1, side, side), ((0, 0), (1, 1), (1, 1)), mode="edge")
    high = _of_three(np.maximum, _of_three(np.maximum, high, 1), 2)
    low = _of_three(np.minimum, _of_three(np.minimum, low, 1), 2)
    spread = high - low
    beyond: NDArray[np.float32] = (np.abs(one - other) - spread.reshape(one.shape) / 4).max(1)
    return beyond


def _of_three(extreme: np.ufunc, cells: NDArray[np.float32], axis: Literal[1, 2]) -> NDArray[np.float32]:
    """The highest or the lowest of each three cells in a row, or in a column."""
    first, second, third = (
        cells[:, n : n + THUMB_SIDE] if axis == 1 else cells[:, :, n : n + THUMB_SIDE] for n in range(3)
    )
    found: NDArray[np.float32] = extreme(extreme(first, second), third)
    return found


def _as_bytes(rows: NDArray[np.uint8]) -> NDArray[np.void]:
    rows = np.ascontiguousarray(rows)
    return rows.view(np.dtype((np.void, rows.shape[1]))).ravel()


def _grey(pixels: NDArray[np.uint8]) -> NDArray[np.float64]:
    if pixels.shape != (SIDE, SIDE, 3):
        raise ValueError(f"A signature is taken of {SIDE} x {SIDE} RGB pixels, not of {pixels.shape}.")
    grey: NDArray[np.float64] = pixels @ _RED_GREEN_BLUE
    return grey
