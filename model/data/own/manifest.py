"""Pictures that a table lists, CSV or Parquet: `image` and `label`, and where there are `split` and `group`."""

from typing import Final

MANIFESTS: Final = {".csv", ".parquet"}


class Manifest:
    pass
