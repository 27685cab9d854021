"""kserve is imported without pandas and the Kubernetes client, and both are there for who wants them."""

import subprocess
import sys

_PROGRAM = """
import sys
from image_transformer.kserve_parts import import_kserve
sys.argv[1:] = []
import_kserve()
import image_transformer.server
for name in ("pandas", "pyarrow", "kubernetes", "kserve.api.kserve_client"):
    assert name not in sys.modules, name

import kserve
try:
    kserve.NothingOfTheKind
except AttributeError as error:
    assert "NothingOfTheKind" in str(error)
frame = kserve.InferRequest("m", [kserve.InferInput("a", [2], "INT32", [1, 2])]).as_dataframe()
import pandas
assert isinstance(frame, pandas.DataFrame) and frame["a"].tolist() == [1, 2]
from kserve import KServeClient
import kserve.api.kserve_client
assert KServeClient is kserve.api.kserve_client.KServeClient and callable(KServeClient.create)
print("all there")
"""


def test_what_a_server_does_not_use_is_imported_by_who_does() -> None:
    line = [sys.executable, "-P", "-c", _PROGRAM]
    done = subprocess.run(line, capture_output=True, text=True, check=False)
    assert done.stdout == "all there\n", done.stderr
