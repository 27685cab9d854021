"""The machine and the versions a result belongs to."""

import os
import platform
import subprocess
from datetime import UTC, datetime
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path

import psutil  # type: ignore[import-untyped] # its stubs are a package of their own

PACKAGES = (
    "kserve",
    "fastapi",
    "uvicorn",
    "onnxruntime",
    "tensorflow-cpu",
    "tensorflow",
    "keras",
    "simplejpeg",
    "pillow",
)


def describe() -> dict[str, str]:
    """Returns what a reader needs to judge the figures by, name → text."""
    described = {
        "date": datetime.now(UTC).date().isoformat(),
        "commit": _output("git", "rev-parse", "--short", "HEAD"),
        "processor": f"{_processor()}, {os.cpu_count()} cores",
        "memory": f"{psutil.virtual_memory().total / 2**30:.0f} GiB",
        "system": f"{platform.system()} {platform.release()}, Python {platform.python_version()}",
        "other work at the start": f"load average {os.getloadavg()[0]:.1f}",
        "load generators": ", ".join(
            filter(None, (_output("wrk", "--version").split(" [")[0], _output("h2load", "--version")))
        ),
    }
    versions = []
    for package in PACKAGES:
        try:
            versions.append(f"{package} {version(package)}")
        except PackageNotFoundError:
            continue
    described["packages"] = ", ".join(versions)
    return described


def _processor() -> str:
    for line in Path("/proc/cpuinfo").read_text().splitlines():
        if line.startswith("model name"):
            return line.partition(":")[2].strip()
    return platform.processor()


def _output(*command: str) -> str:
    try:
        done = subprocess.run(command, capture_output=True, text=True, check=False, timeout=10)
    except OSError:
        return ""
    return done.stdout.strip().splitlines()[0] if done.stdout.strip() else ""
