"""What becomes of memory that a request needed: the allocator's and the garbage collector's settings."""

import contextlib
import ctypes
import gc
from typing import Final

_M_MMAP_THRESHOLD: Final = -3  # malloc.h of glibc
_LARGE_BYTES: Final = 2 * 2**20
_COLLECT_AFTER: Final = 20_000


def give_back_large_blocks() -> None:
    """Has blocks of the size of a decoded photograph given back to the system as soon as they are free.

    By itself glibc raises this limit to the largest block that was ever freed (mallopt(3), M_MMAP_THRESHOLD),
    and keeps photographs among small things in each thread's arena: 320 MB after a minute of all sizes of
    images at once, where this has 206.
    """
    with contextlib.suppress(AttributeError):  # another C library
        ctypes.CDLL(None).mallopt(_M_MMAP_THRESHOLD, _LARGE_BYTES)


def collect_rarely() -> None:
    """Has the garbage collector leave alone what is there by now, and look at the rest less often.

    With thousands of connections open the default of 700 objects takes a quarter of the processor's time, and
    finds nothing: what a request or a connection leaves behind is in no cycle, which a test looks after.
    """
    gc.collect()
    gc.freeze()
    gc.set_threshold(_COLLECT_AFTER)
