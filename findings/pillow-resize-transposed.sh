#!/usr/bin/env bash
# Pillow 13.0.0: shrinking a picture, and the same picture with rows and columns exchanged.
#
# Expected: a bicubic filter is separable, so the two answers are each other's transposes, to a level at most.
# Seen: at sharp edges they are many levels apart. `Image.resize` shrinks across first and rounds to 8 bits, cutting off what
#       the filter throws below 0 and above 255, before it shrinks down; so which axis comes first shows. In floats (mode F)
#       nothing is cut off between, and the two agree.
set -euo pipefail
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
python3.11 -m venv "$work/venv"
"$work/venv/bin/pip" install -q --disable-pip-version-check pillow==13.0.0 numpy==2.4.6
"$work/venv/bin/python" - <<'PY'
import numpy as np
import PIL
from PIL import Image

# Black and white squares of three sizes: what a drawing, a scan or a screenshot has.
rng = np.random.default_rng(0)
squares = np.kron(rng.integers(0, 2, (40, 40)), np.ones((5, 5), int)) * 255


def apart(mode: str, kind: type) -> float:
    picture = Image.fromarray(squares.astype(kind), mode)
    turned = Image.fromarray(np.ascontiguousarray(squares.T).astype(kind), mode)
    small, other = (np.asarray(one.resize((64, 64), Image.Resampling.BICUBIC), float) for one in (picture, turned))
    return float(np.abs(small - other.T).max())


bytes_apart, floats_apart = apart("L", np.uint8), apart("F", np.float32)
print(f"Pillow {PIL.__version__}: 8 bits {bytes_apart:g} levels apart, floats {floats_apart:.2g}")
raise SystemExit(not (bytes_apart > 2 and floats_apart < 0.01))
PY
echo "As seen before."
