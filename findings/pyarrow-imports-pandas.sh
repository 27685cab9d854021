#!/usr/bin/env bash
# pyarrow 25.0.1 beside pandas 2.3.3: what making and reading columns without pandas costs where it is installed.
#
# Expected: nothing; pandas is imported for what is pandas' own.
# Seen: `pyarrow.array` of a numpy array or of a plain list, and `to_numpy` of a column with a null, import pandas to ask whether they
#       were given one of its objects: some tenths of a second of CPU and tens of MB in each process that writes one Parquet file.
#       Arrays made of buffers do not.
set -euo pipefail
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
python3.11 -m venv "$work/venv"
"$work/venv/bin/pip" install -q pyarrow==25.0.1 pandas==2.3.3 numpy==2.2.6
cat >"$work/look.py" <<'PYTHON'
import resource
import subprocess
import sys
import time

WAYS = {
    "array of a list": "pa.array([1, 2, None], pa.int32())",
    "array of a list of texts": "pa.array(['a', None], pa.string())",
    "array of a numpy array": "pa.array(np.arange(3))",
    "numpy of a column with a null": "pa.Array.from_buffers(pa.int64(), 2, [pa.py_buffer(b'\\x01'), pa.py_buffer(bytes(16))]).to_numpy(False)",
    "array of buffers": "pa.Array.from_buffers(pa.int64(), 2, [None, pa.py_buffer(bytes(16))])",
}
if len(sys.argv) > 1:
    import numpy as np  # noqa: F401
    import pyarrow as pa  # noqa: F401

    memory, began = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss, time.process_time()
    eval(WAYS[sys.argv[1]])
    took = time.process_time() - began
    grown = (resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - memory) / 1024
    print("pandas" in sys.modules, f"{took:.2f} s of CPU, {grown:.0f} MiB more")
else:
    seen = {}
    for way in WAYS:
        done = subprocess.run([sys.executable, __file__, way], capture_output=True, text=True, check=True)
        imported, rest = done.stdout.split(" ", 1)
        seen[way] = imported == "True"
        print(f"{way}: pandas {'is imported' if seen[way] else 'is not imported'}; {rest.strip()}")
    if seen != {way: way != "array of buffers" for way in WAYS}:
        sys.exit("CHANGED")
PYTHON
"$work/venv/bin/python" "$work/look.py"
echo "As seen before."
