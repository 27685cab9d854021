#!/usr/bin/env bash
# TensorFlow 2.21.0: what becomes of Ctrl-C while `DType.min` or `DType.max` is read.
#
# Expected: KeyboardInterrupt passes through, as through any library's code.
# Seen: both properties have a bare `except:` around NumPy's lookups, so an interrupt that arrives in them comes out as
#       "TypeError: Cannot find maximum value of <dtype: 'float32'>.". Converting or quantizing a graph reads them often; a
#       program that wants to end by Ctrl-C or SIGTERM has to remember the signal itself.
set -euo pipefail
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
python3.11 -m venv "$work/venv"
"$work/venv/bin/pip" install -q --disable-pip-version-check tensorflow-cpu==2.21.0
TF_CPP_MIN_LOG_LEVEL=3 "$work/venv/bin/python" - 2>/dev/null <<'PY'
import collections
import signal

import tensorflow as tf


def interrupt(*_: object) -> None:
    raise KeyboardInterrupt


signal.signal(signal.SIGALRM, interrupt)
seen = collections.Counter()
while seen["TypeError"] == 0 and sum(seen.values()) < 2000:
    signal.setitimer(signal.ITIMER_REAL, 0.01)
    try:
        while True:
            tf.float32.max
    except (KeyboardInterrupt, TypeError) as error:
        seen[type(error).__name__] += 1
print(f"TensorFlow {tf.__version__}, {sum(seen.values())} interrupts while DType.max is read: {dict(seen)}")
raise SystemExit(0 if seen["TypeError"] else "CHANGED: every interrupt came through")
PY
echo "As seen before."
