"""Profiles: the picture looks as it was meant, and one that cannot be used counts for nothing."""

import numpy as np
import pytest
from goldens import MAKE, PINNED, encoded
from icc import curved, from_srgb, rgb_profile
from numpy.typing import NDArray
from PIL import Image

from model.images import colour
from model.images.decode import decode_image, is_cheap, read_header


def meant() -> NDArray[np.int64]:
    """The scene in sRGB, as the network's input."""
    return decode_image(encoded(Image.fromarray(MAKE.scene()), "PNG")).astype(int)


@pytest.mark.parametrize(
    ("name", "mean"),
    [
        ("display-p3.png", 1),
        ("display-p3.webp", 1),
        ("display-p3-16-bit.png", 1),
        ("display-p3.jpg", 1.5),
        ("display-p3-in-pieces.jpg", 1.5),
        ("adobe-rgb.png", 1),
        ("prophoto.png", 2),
    ],
)
def test_colours_of_another_space_are_those_that_were_meant(name: str, mean: float) -> None:
    """But at the scene's sharpest edges, where averaging in another space is not the same."""
    difference = np.abs(PINNED[name] - meant())
    assert difference.mean() < mean
    assert np.percentile(difference, 90) <= 4
    space = name.partition(".")[0].removesuffix("-16-bit").removesuffix("-in-pieces")
    ignored = decode_image(encoded(Image.fromarray(from_srgb(space, MAKE.scene())), "PNG"))
    assert np.abs(ignored - meant()).mean() > 10, "without its profile it looks another"


def test_a_palettes_colours_are_corrected_too() -> None:
    palette = Image.fromarray(from_srgb("display-p3", MAKE.scene())).quantize(64)
    plain = encoded(palette.convert("RGB"), "PNG", icc_profile=rgb_profile("display-p3"))
    np.testing.assert_array_equal(PINNED["display-p3-palette.png"], decode_image(plain))


def test_a_large_jpeg_is_corrected_after_it_was_scaled() -> None:
    due = decode_image(encoded(Image.fromarray(MAKE.scene(700, 520)), "PNG")).astype(int)
    assert np.abs(PINNED["display-p3-scaled.jpg"] - due).mean() < 3


def test_alpha_is_over_white_in_srgb() -> None:
    difference = np.abs(PINNED["display-p3-clear.png"].astype(int) - PINNED["rgba-1.png"])
    assert difference.mean() < 1
    assert np.percentile(difference, 95) <= 4


@pytest.mark.parametrize("name", ["grey-gamma.png", "grey-gamma.jpg"])
def test_grey_with_a_curve_of_its_own(name: str) -> None:
    grey = np.asarray(Image.fromarray(MAKE.scene()).convert("L")) / 255
    shown = np.rint(curved("srgb", grey**1.8) * 255).astype(np.uint8)
    due = decode_image(encoded(Image.fromarray(shown), "PNG")).astype(int)
    assert np.abs(PINNED[name] - due).mean() < 2


def test_inks_look_as_the_press_says() -> None:
    inks = np.asarray(Image.fromarray(MAKE.scene()).convert("CMYK")) / 255
    paper = np.rint(MAKE.multiplied(inks) * 255).astype(np.uint8)
    due = decode_image(encoded(Image.fromarray(paper), "PNG")).astype(int)
    assert np.abs(PINNED["press.jpg"] - due).mean() < 3
    assert np.abs(meant() - due).mean() > 15, "without its profile it looks another"


@pytest.mark.parametrize("name", ["srgb.png", "broken-profile.png", "grey-profile-in-colour.png"])
def test_what_changes_nothing(name: str) -> None:
    np.testing.assert_array_equal(PINNED[name], meant())


def test_a_profile_of_grey_says_nothing_of_a_palettes_numbers() -> None:
    plain = encoded(Image.fromarray(MAKE.scene()).quantize(24), "PNG")
    np.testing.assert_array_equal(PINNED["grey-profile-in-palette.png"], decode_image(plain))


def test_a_profile_cut_short_or_damaged_anywhere_is_no_reason_to_refuse_a_picture() -> None:
    profile = rgb_profile("display-p3")
    image = Image.fromarray(MAKE.scene())
    for end in range(0, len(profile), 7):
        damaged = bytearray(profile)
        damaged[end] ^= 0xFF
        for broken in (profile[:end], bytes(damaged)):
            assert decode_image(encoded(image, "PNG", icc_profile=broken)).shape == (32, 32, 3)


def test_few_profiles_are_remembered() -> None:
    profile = rgb_profile("display-p3")
    for number in range(40):
        colour.to_srgb(profile + bytes((number,)), "RGB")
    assert len(colour._known) <= 16
    assert colour.is_known(profile + bytes((39,)))
    assert not colour.is_known(profile + bytes((1,)))
    colour.to_srgb(profile + bytes(3_999_000), "RGB")
    assert sum(size for _, size in colour._known.values()) <= 4_000_000
    assert colour.to_srgb(profile, "L") is None, "of another space"


def test_a_small_picture_with_a_profile_nobody_knows_goes_to_a_thread() -> None:
    profile = rgb_profile("adobe-rgb") + b"for this test"
    data = encoded(Image.fromarray(MAKE.scene()), "PNG", icc_profile=profile)
    header = read_header(data)
    assert header.profile == profile
    assert not is_cheap(data, header)
    decode_image(data, header)
    assert is_cheap(data, header)
