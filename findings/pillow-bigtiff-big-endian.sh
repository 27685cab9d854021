#!/usr/bin/env bash
# Pillow 13.0.0: which TIFFs it opens.
#
# Expected: BigTIFF is read in both byte orders, as classic TIFF is.
# Seen: a big-endian BigTIFF is refused ("Missing dimensions" behind UnidentifiedImageError); the other three are read, to
#       the right pixels. The files are valid: tifffile 2026.3.3, which writes them, reads all four.
set -euo pipefail
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
python3.11 -m venv "$work/venv"
"$work/venv/bin/pip" install -q --disable-pip-version-check pillow==13.0.0 tifffile==2026.3.3 numpy
"$work/venv/bin/python" - <<'PY'
import io

import numpy as np
import PIL
import tifffile
from PIL import Image, UnidentifiedImageError

pixels = np.arange(8 * 8 * 3, dtype=np.uint8).reshape(8, 8, 3)
seen = {}
for order in "<>":
    for big in (False, True):
        file = io.BytesIO()
        tifffile.imwrite(file, pixels, byteorder=order, bigtiff=big, photometric="rgb")
        assert np.array_equal(tifffile.imread(io.BytesIO(file.getvalue())), pixels)
        try:
            read = np.asarray(Image.open(io.BytesIO(file.getvalue())))
            seen[order, big] = "right" if np.array_equal(read, pixels) else "other pixels"
        except (UnidentifiedImageError, SyntaxError, OSError) as error:
            seen[order, big] = type(error).__name__
print(f"Pillow {PIL.__version__}, (byte order, BigTIFF): {seen}")
right = dict.fromkeys([("<", False), ("<", True), (">", False)], "right")
raise SystemExit(seen != right | {(">", True): "UnidentifiedImageError"})
PY
echo "As seen before."
