"""`cnn-image` as a script meets it: run in this process, its errors one sentence each."""

from typer.testing import CliRunner, Result

from jobs.cli import app


def run(*arguments: str) -> Result:
    return CliRunner().invoke(app, list(arguments))


def said(result: Result, code: int) -> str:
    """The one sentence a failed command ends with."""
    assert result.exit_code == code, result.output
    assert "Traceback" not in result.output
    lines = result.stderr.strip().splitlines()
    assert len(lines) == 1, lines
    return lines[0]
