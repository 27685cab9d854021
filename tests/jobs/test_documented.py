"""docs/cli.md names every command, every setting, every exit code and all that `data` finds."""

from pathlib import Path

import typer.main

from jobs.cli import app
from jobs.errors import Exit
from jobs.settings import Settings
from model.data.findings import KINDS

TEXT = (Path(__file__).parents[2] / "docs" / "cli.md").read_text()


def test_every_command_is_there() -> None:
    missing = [name for name in typer.main.get_group(app).commands if f"`{name}" not in TEXT]
    assert [name for name in missing if f"cnn-image {name}" not in TEXT] == []


def test_every_exit_code_is_there() -> None:
    rows = [line.split("|")[1] for line in TEXT.splitlines() if line.startswith("|")]
    documented = {int(code) for row in rows for code in row.split(",") if code.strip().isdigit()}
    assert documented == set(Exit)


def test_everything_that_data_finds_is_there() -> None:
    assert [kind for kind in KINDS if f"| `{kind}` |" not in TEXT] == []


def test_every_setting_is_there() -> None:
    plain = {"data": "CIFAR10_DIR", "epochs": "EPOCHS", "batch_size": "BATCH_SIZE", "port": "PORT"}
    plain["mlflow_tracking_uri"] = "MLFLOW_TRACKING_URI"
    names = [plain.get(name, f"CNN_IMAGE_{name.upper()}") for name in Settings.model_fields]
    assert [name for name in names if f"`{name}`" not in TEXT] == []
