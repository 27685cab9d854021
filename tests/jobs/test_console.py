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


def test_a_command_to_copy_names_the_model(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    for model in ("", "cnn-image", "hands"):
        monkeypatch.setenv("CNN_IMAGE_MODEL", model)
        say("Look: `cnn-image versions` or `cnn-image --model hands info 1`.")
    assert capsys.readouterr().err.splitlines() == [
        *["Look: `cnn-image versions` or `cnn-image --model hands info 1`."] * 2,
        "Look: `cnn-image --model hands versions` or `cnn-image --model hands info 1`.",
    ]
