#!/usr/bin/env bash
# Keras 3.15.1: RandomSaturation leaves the range of values that it is told.
#
# Expected: a picture of 0 to 255 and the same one of 0 to 1, each with its `value_range`, are given the same colour by the same
#           factor, and it lies in that range.
# Seen: the layer limits the S of HSV, which is 0 to 1 whatever the picture's range, to `value_range`. So with (0, 255), which
#       is the default, S becomes as large as 255, and the pixels negative: (200, 100, 100) by the factor 0.9 becomes
#       (200, -700, -700), where (0, 1) gives (200, 0, 0). Who casts such a picture back to uint8 gets other colours.
#       RandomColorJitter uses the layer. Below 0.5, where colour is taken away, both agree; with factors above it, scale
#       to 0 to 1 before the layer.
set -euo pipefail
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
python3.11 -m venv "$work/venv"
"$work/venv/bin/pip" install -q --disable-pip-version-check keras==3.15.1 tensorflow-cpu==2.21.0
TF_CPP_MIN_LOG_LEVEL=3 "$work/venv/bin/python" - 2>/dev/null <<'PY'
import keras
import numpy as np

colour = np.full((1, 2, 2, 3), (200, 100, 100), np.float32)


def saturated(factor: float, top: int) -> list[int]:
    layer = keras.layers.RandomSaturation((factor, factor), value_range=(0, top))
    return np.rint(np.asarray(layer(colour / 255 * top, training=True))[0, 0, 0] / top * 255).astype(int).tolist()


print(f"Keras {keras.__version__}, RandomSaturation of (200, 100, 100), in 0 to 255:")
for factor in (0.25, 0.75, 0.9):
    print(f"factor {factor}: value_range (0, 255) {saturated(factor, 255)}, (0, 1) {saturated(factor, 1)}")
as_seen = saturated(0.25, 255) == saturated(0.25, 1) == [200, 167, 167]
as_seen = as_seen and saturated(0.9, 255) == [200, -700, -700] and saturated(0.9, 1) == [200, 0, 0]
raise SystemExit(0 if as_seen else "CHANGED")
PY
echo "As seen before."
