"""Heads of JPEGs that were met before: a program writes the same one in front of picture after picture."""

from typing import Final

from model.images.header import Header

FRAME_BYTES: Final = 19
"""Of a frame's segment of three components what is read, its marker included."""

SCAN_BYTES: Final = 5
"""Of a scan's segment what is read, its marker included."""

_HEADS: Final = 256
# Of so few bytes nobody can make more parts than any file may have (`limits.most_parts`).
_HEAD_BYTES: Final = 900


class Heads:
    """What was read from heads, found again by all of their bytes and so exactly what another reading finds.

    Programs write them equally long as long as their Huffman tables are the usual ones, so that the length of
    the one that was kept last finds most.
    """

    def __init__(self) -> None:
        self._known: dict[bytes, Header] = {}
        self._length = 0

    def find(self, data: bytes) -> Header | None:
        """Returns what is known of a file that begins like one before, else None."""
        return self._known.get(data[: self._length])

    def keep(self, data: bytes, frame: int, scan: int, header: Header) -> None:
        """Keeps what was read from a head of three components, where it is short and nothing lies elsewhere.

        Args:
            data: The file.
            frame: Where its frame begins.
            scan: Where its first scan begins.
            header: What was read, which nobody changes any more.
        """
        length = scan + SCAN_BYTES
        if frame + FRAME_BYTES <= scan and length <= min(_HEAD_BYTES, len(data)):
            head = data[:length]
            if len(self._known) >= _HEADS and head not in self._known:
                self._known.clear()
            self._known[head] = header
            self._length = length
