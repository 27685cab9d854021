"""From settings to the running server: its command line, its process."""

import ctypes
import os
import signal
import subprocess
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import NoReturn

from triton_server import leftovers
from triton_server.environment import TritonEnvironment
from triton_server.plain_paths import plain_paths
from triton_server.settings import Settings

_PR_SET_PDEATHSIG = 1


def command(repository: Path, settings: Settings, environment: TritonEnvironment, pid: int) -> list[str]:
    """Returns `tritonserver`'s command line.

    Args:
        repository: The folder of models, by a path that Triton can take.
        settings: What was asked for.
        environment: Where the server lies.
        pid: The process that will run it; its shared memory is named after it.
    """
    http_address, grpc_address = settings.address, settings.address
    if ":" in (bare := settings.address.strip("[]")):
        # Its HTTP server takes any other spelling for 255.255.255.255, without a word.
        http_address, grpc_address = f"ipv6:[{bare}]", f"[{bare}]"
    line = [
        str(environment.server),
        f"--model-repository={repository}",
        f"--backend-directory={environment.backends()}",
        f"--http-address={http_address}",
        f"--http-port={settings.http_port}",
        f"--grpc-address={grpc_address}",
        f"--grpc-port={settings.grpc_port}",
        f"--metrics-address={http_address}",
        f"--metrics-port={settings.metrics_port}",
        f"--model-control-mode={settings.model_control_mode}",
        # Our configurations are complete; guessing would start each model's process one time more.
        "--disable-auto-complete-config",
        "--exit-timeout-secs=10",
        f"--log-verbose={settings.log_verbose}",
        f"--backend-config=python,shm-region-prefix-name={leftovers.region_prefix(pid)}",
        # Two instances whose stubs take longer than the default 30 s, as on a busy machine, end this Triton
        # with a segmentation fault in place of an error.
        "--backend-config=python,stub-timeout-seconds=300",
    ]
    line += [f"--load-model={name}" for name in settings.load_model]
    if settings.config_variant:
        line.append(f"--model-config-name={settings.config_variant}")
    return line


def process_environment(environment: TritonEnvironment, base: Mapping[str, str]) -> dict[str, str]:
    """Returns the environment variables the server runs with: its own Python first, and none of ours."""
    kept = {
        name: value for name, value in base.items() if name not in {"PYTHONPATH", "PYTHONHOME", "VIRTUAL_ENV"}
    }
    kept.setdefault("ORT_DISABLE_TELEMETRY", "1")  # ONNX Runtime would tell its maker of each session
    kept["PATH"] = os.pathsep.join(part for part in (str(environment.root / "bin"), base.get("PATH")) if part)
    kept["LD_LIBRARY_PATH"] = os.pathsep.join(
        part for part in (str(environment.python_libraries), base.get("LD_LIBRARY_PATH")) if part
    )
    return kept


def run(settings: Settings, environment: TritonEnvironment) -> NoReturn:
    """Becomes the server: this process is replaced, so signals reach it, and it ends with its parent."""
    leftovers.sweep_shared_memory()
    parent = os.getppid()
    if ctypes.CDLL(None, use_errno=True).prctl(_PR_SET_PDEATHSIG, signal.SIGTERM) != 0:
        raise OSError(ctypes.get_errno(), "cannot tie Triton to the process that starts it")
    if os.getppid() != parent:  # it ended before the tie was there
        raise SystemExit(1)
    pid = os.getpid()
    repository, environment, links = plain_paths(settings.model_repository.absolute(), environment, pid)
    line = command(repository, settings, environment, pid)
    # A session of its own: what ends the server's group must not end what clears up after it.
    watcher = [sys.executable, "-I", "-S", leftovers.__file__, str(pid), *([str(links)] if links else [])]
    silent = subprocess.DEVNULL
    subprocess.Popen(watcher, start_new_session=True, stdin=silent, stdout=silent, stderr=silent)  # noqa: S603
    # The stub imports its backend by the name `model` and looks in the working folder first: ours has such a
    # package.
    os.chdir(environment.backends() / "onnxruntime")
    os.execve(line[0], line, process_environment(environment, os.environ))  # noqa: S606 - no shell on purpose
