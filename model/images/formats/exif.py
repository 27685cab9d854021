"""Which way up a picture is, by its metadata."""

import re
from typing import Final

from PIL import Image

_ORIENTATION: Final = 0x0112
_IN_XMP: Final = re.compile(rb'tiff:Orientation(?:="|>)([0-9])')


def orientation(exif: bytes | None, xmp: bytes | None = None) -> int:
    """Reads the orientation, 1 to 8; 1 where nothing that can be read says otherwise.

    Args:
        exif: A TIFF structure, with or without `Exif` and two zeros in front.
        xmp: Adobe's XML, asked where EXIF does not say it.
    """
    if exif is not None:
        read = Image.Exif()
        try:
            read.load(exif)
            if _ORIENTATION in read:
                return int(read[_ORIENTATION])
        except Exception:  # a picture with broken metadata is still a picture; viewers show it upright
            return 1
    found = _IN_XMP.search(xmp) if xmp is not None else None
    return int(found[1]) if found else 1
