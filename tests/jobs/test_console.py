import pytest

from jobs.console import err, say, table

NAMES = ("[red]", "[/b] :cat:", "犬 ñ")


def test_names_are_printed_as_they_are(capsys: pytest.CaptureFixture[str]) -> None:
    table(("class",), [(name,) for name in NAMES], title="[i] :dog:")
    table(("class",), [(name,) for name in NAMES], console=err)
    say("[/b] :cat:")
    printed = capsys.readouterr()
    assert [line.rstrip() for line in printed.out.splitlines()] == ["[i] :dog:", "class", *NAMES]
    assert [line.rstrip() for line in printed.err.splitlines()] == ["class", *NAMES, "[/b] :cat:"]
