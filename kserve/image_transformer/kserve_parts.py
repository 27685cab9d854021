"""kserve without its two largest imports, which nothing here uses: pandas, and the client of Kubernetes' API.

Any module of kserve imports its whole package. Of pandas that needs one name, `DataFrame`, for annotations
and functions that make one; of its Kubernetes half a name to hand on. Both are private affairs of kserve's,
whose version is locked.
"""

import importlib
import sys
from types import ModuleType
from typing import Any, Final

_CLIENT: Final = "kserve.api.kserve_client"
# What kserve takes from each while it is imported.
_NEEDED: Final = {"pandas": "DataFrame", _CLIENT: "KServeClient"}


class _Later(ModuleType):
    """Stands for a module that is imported once somebody asks it for anything."""

    def __getattr__(self, name: str) -> Any:
        if name.startswith("__") or sys.modules.get(self.__name__) is self:
            raise AttributeError(f"module {self.__name__!r} is not imported yet and has no {name!r}")
        return getattr(importlib.import_module(self.__name__), name)


def import_kserve() -> None:
    """Imports kserve, and pandas and the Kubernetes client only when they are first used.

    While it is imported, a stand-in takes the place of each. Afterwards `import pandas` is pandas, kserve's
    own functions find it, and `kserve.KServeClient` is the client. Nothing is done where kserve is imported
    already.
    """
    if "kserve" in sys.modules:
        return
    names = {name: only for name, only in _NEEDED.items() if name not in sys.modules}
    stand_ins = {name: _Later(name) for name in names}
    for name, only in names.items():
        setattr(stand_ins[name], only, object)
    sys.modules.update(stand_ins)
    try:
        package = importlib.import_module("kserve")
    finally:
        for name, only in names.items():
            del sys.modules[name]
            delattr(stand_ins[name], only)
    if _CLIENT in names:
        del package.KServeClient
        package.__getattr__ = _of_package  # type: ignore[method-assign] # PEP 562


def _of_package(name: str) -> Any:
    if name == "KServeClient":
        return importlib.import_module(_CLIENT).KServeClient
    raise AttributeError(f"module 'kserve' has no attribute {name!r}")
