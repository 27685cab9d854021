import sys
from pathlib import Path

import pytest

from triton_server.environment import EnvironmentIncompleteError, find_environment
from triton_server.launch import command, process_environment
from triton_server.leftovers import sweep_shared_memory
from triton_server.settings import Settings


@pytest.fixture
def venv(tmp_path: Path) -> Path:
    """A folder that looks like the environment, with an interpreter that has its shared library."""
    packages = tmp_path / "venv" / "lib" / "python3.11" / "site-packages"
    home = packages / "pytriton" / "tritonserver"
    for folder in ("bin", "backends/python", "python_backend_stubs/3.11"):
        (home / folder).mkdir(parents=True)
    (home / "bin" / "tritonserver").write_text("")
    (home / "backends" / "python" / "libtriton_python.so").write_text("")
    (home / "python_backend_stubs" / "3.11" / "triton_python_backend_stub").write_text("stub")
    for package in ("numpy", "onnxruntime"):
        (packages / package).mkdir()
    python = tmp_path / "python" / "bin" / "python3.11"
    python.parent.mkdir(parents=True)
    python.write_text("")
    (tmp_path / "python" / "lib").mkdir()
    (tmp_path / "python" / "lib" / "libpython3.11.so.1.0").write_text("")
    (tmp_path / "venv" / "bin").mkdir()
    (tmp_path / "venv" / "bin" / "python").symlink_to(python)
    return tmp_path / "venv"


def settings(monkeypatch: pytest.MonkeyPatch, *flags: str) -> Settings:
    monkeypatch.setattr(sys, "argv", ["triton_server", *flags])
    return Settings()


@pytest.mark.parametrize(
    ("address", "http", "grpc"),
    [("127.0.0.1", "127.0.0.1", "127.0.0.1"), ("::", "ipv6:[::]", "[::]"), ("[::1]", "ipv6:[::1]", "[::1]")],
)
def test_an_address_of_ipv6_is_written_as_each_of_tritons_servers_reads_it(
    venv: Path, monkeypatch: pytest.MonkeyPatch, address: str, http: str, grpc: str
) -> None:
    asked = settings(monkeypatch, "--model-repository", "/models", "--address", address)
    line = command(asked.model_repository, asked, find_environment(venv), 42)
    for flag in (f"--http-address={http}", f"--metrics-address={http}", f"--grpc-address={grpc}"):
        assert flag in line


def test_the_command_line_says_what_was_asked_for(venv: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    asked = settings(
        monkeypatch,
        *(
            "--model-repository",
            "/models",
            "--http-port",
            "9000",
            "--grpc-port",
            "9001",
            "--metrics-port",
            "9002",
        ),
        *("--config-variant", "cpu-2", "--model-control-mode", "explicit", "--load-model", "cnn-image"),
        *("--load-model", "cnn-image-filters"),
    )
    line = command(asked.model_repository, asked, find_environment(venv), 42)
    assert line[0] == str(venv / "lib/python3.11/site-packages/pytriton/tritonserver/bin/tritonserver")
    for flag in (
        "--model-repository=/models",
        "--http-port=9000",
        "--grpc-port=9001",
        "--metrics-port=9002",
        "--http-address=127.0.0.1",
        "--model-config-name=cpu-2",
        "--model-control-mode=explicit",
        "--load-model=cnn-image",
        "--load-model=cnn-image-filters",
        "--backend-config=python,shm-region-prefix-name=cnn-image-triton-42-",
        "--backend-config=python,stub-timeout-seconds=300",
    ):
        assert flag in line


def test_backends_hold_the_stub_and_our_backend_and_are_made_once(venv: Path) -> None:
    environment = find_environment(venv)
    folder = environment.backends()
    assert (folder / "python" / "triton_python_backend_stub").read_text() == "stub"
    assert "TritonPythonModel" in (folder / "onnxruntime" / "model.py").read_text()
    made = (folder / "python" / "triton_python_backend_stub").stat().st_ino
    assert environment.backends() == folder
    assert (folder / "python" / "triton_python_backend_stub").stat().st_ino == made
    assert not list(environment.home.glob(".backends-*"))


def test_an_environment_without_triton_says_how_to_install_it(tmp_path: Path) -> None:
    with pytest.raises(EnvironmentIncompleteError, match=r"no Triton in .*requirements\.txt"):
        find_environment(tmp_path)


def test_an_environment_without_onnxruntime_is_named(venv: Path) -> None:
    (venv / "lib/python3.11/site-packages/onnxruntime").rmdir()
    with pytest.raises(EnvironmentIncompleteError, match="lacks onnxruntime"):
        find_environment(venv)


def test_the_servers_own_python_comes_first_and_ours_stays_out(venv: Path, tmp_path: Path) -> None:
    environment = find_environment(venv)
    made = process_environment(
        environment, {"PATH": "/usr/bin", "PYTHONPATH": "/ours", "VIRTUAL_ENV": "/ours", "AWS_REGION": "x"}
    )
    assert made == {
        "PATH": f"{venv}/bin:/usr/bin",
        "LD_LIBRARY_PATH": str(tmp_path / "python" / "lib"),
        "AWS_REGION": "x",
        "ORT_DISABLE_TELEMETRY": "1",
    }


def test_only_dead_servers_shared_memory_is_swept(tmp_path: Path) -> None:
    mine, dead, other = "cnn-image-triton-1-a", "cnn-image-triton-99999999-b", "somebody-else"
    for name in (mine, dead, other):
        (tmp_path / name).write_text("")
    sweep_shared_memory(tmp_path)
    assert sorted(path.name for path in tmp_path.iterdir()) == [mine, other]
