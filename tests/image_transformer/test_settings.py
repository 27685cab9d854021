"""Limits by format: what was told for all images before holds for JPEG too, where it has none of its own."""

import os
from typing import Any

import pytest
from pydantic import ValidationError

from image_transformer.settings import Settings
from model.images.limits import LIMITS, Limit


@pytest.fixture
def told(monkeypatch: pytest.MonkeyPatch) -> Any:
    """Makes settings of environment variables."""
    monkeypatch.setattr("sys.argv", ["image_transformer"])

    def make(**variables: int | str) -> Settings:
        for name, value in variables.items():
            monkeypatch.setitem(os.environ, f"CNN_IMAGE_{name}", str(value))
        return Settings()

    return make


def test_by_default_every_format_has_its_own(told: Any) -> None:
    settings = told()
    assert settings.limits == LIMITS
    assert settings.limits["jpeg"] == Limit(pixels=250_000_000, bytes=60_000_000)
    assert settings.max_body_bytes > settings.max_jpeg_bytes, "a form is a little longer than its picture"
    assert settings.max_held_bytes > settings.max_body_bytes


def test_what_is_told_for_all_images_holds_for_jpeg(told: Any) -> None:
    settings = told(MAX_PIXELS=1_000, MAX_IMAGE_BYTES=2_000)
    assert set(settings.limits.values()) == {Limit(1_000, 2_000)}


def test_but_where_jpeg_has_its_own(told: Any) -> None:
    limits = told(MAX_PIXELS=1_000, MAX_JPEG_PIXELS=5_000, MAX_JPEG_BYTES=6_000).limits
    assert limits["jpeg"] == Limit(5_000, 6_000)
    assert limits["png"] == Limit(1_000, LIMITS["png"].bytes)


def test_room_for_decoding_may_be_told_in_pixels_as_before(told: Any) -> None:
    assert told().max_decoding_bytes == 450_000_000
    assert told(MAX_DECODING_PIXELS=1_000).max_decoding_bytes == 18_000


def test_the_models_name_has_two_variables_and_a_flag(told: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    assert told().model_name == "cnn-image"
    assert told(MODEL="photos").model_name == "photos"
    assert told(MODEL_NAME="birds").model_name == "birds"
    monkeypatch.setattr("sys.argv", ["image_transformer", "--model_name=signs"])
    assert Settings().model_name == "signs"


def test_one_setting_lists_the_formats_that_are_taken(told: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    assert list(told(FORMATS="JPEG, heic").limits) == ["jpeg", "heic"]
    monkeypatch.setattr("sys.argv", ["image_transformer", "--formats", "png,tiff"])
    assert list(Settings().limits) == ["png", "tiff"]


def test_a_format_that_does_not_exist_is_refused(told: Any) -> None:
    with pytest.raises(ValidationError, match=r"formats\.1\n  Input should be 'jpeg', 'png'"):
        told(FORMATS="jpeg,jpg")
