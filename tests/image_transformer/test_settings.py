"""What of formats and their limits can be told."""

import pytest
from pydantic import ValidationError

from image_transformer.settings import Settings
from model.images.limits import LIMITS, Limit


def told(monkeypatch: pytest.MonkeyPatch, **variables: str) -> Settings:
    for name, value in variables.items():
        monkeypatch.setenv(f"CNN_IMAGE_{name.upper()}", value)
    return Settings(_cli_parse_args=[])  # type: ignore[call-arg]


def test_all_formats_are_taken_unless_told_otherwise(monkeypatch: pytest.MonkeyPatch) -> None:
    assert told(monkeypatch).limits == LIMITS


def test_one_setting_lists_the_formats_that_are_taken(monkeypatch: pytest.MonkeyPatch) -> None:
    assert list(told(monkeypatch, formats="JPEG, heic").limits) == ["jpeg", "heic"]
    by_flag = Settings(_cli_parse_args=["--formats", "png,tiff"])  # type: ignore[call-arg]
    assert list(by_flag.limits) == ["png", "tiff"]


def test_a_format_that_does_not_exist_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(ValidationError, match=r"formats\.1\n  Input should be 'jpeg', 'png'"):
        told(monkeypatch, formats="jpeg,jpg")


def test_a_limit_for_all_images_holds_for_every_format(monkeypatch: pytest.MonkeyPatch) -> None:
    settings = told(monkeypatch, max_pixels="1000", max_image_bytes="2000")
    assert settings.limits == dict.fromkeys(LIMITS, Limit(1000, 2000))
