"""HEIC and AVIF: upright and whole; decoders see the picture alone; no file costs more than it says."""

import builtins
import struct
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from container_files import (
    avif,
    cropped_file,
    deep_heic,
    fine,
    grid,
    heic,
    items_of,
    libtiff,
    size_property,
    together,
    turned_file,
    with_exif,
    with_properties,
)
from goldens import GOLDEN, MAKE, PINNED, at_most, encoded
from icc import rgb_profile
from PIL import Image

from model.images.decode import decode_image, is_cheap, read_header
from model.images.errors import ImageError
from model.images.formats import av1, heif
from model.images.formats.heif_items import Property, read_items
from model.images.formats.isobmff import Walk, box, full_box
from model.images.limits import MAX_DECODING_MEMORY

SCENE = MAKE.scene()
FORMS: dict[str, Callable[..., bytes]] = {"heic": heic, "avif": avif}
both = pytest.mark.parametrize("form", FORMS)


def encode(form: str, side: int = 48, **options: Any) -> bytes:
    return FORMS[form](Image.fromarray(MAKE.scene(side, side)), **options)


def refusal(data: bytes) -> tuple[str, str]:
    with pytest.raises(ImageError) as raised:
        decode_image(data)
    assert str(raised.value).endswith(".")
    return raised.value.code, str(raised.value)


@both
@pytest.mark.parametrize("orientation", range(1, 9))
def test_the_containers_turning_is_told_and_applied_once(form: str, orientation: int) -> None:
    data = (GOLDEN / f"{form}-{orientation}.{form}").read_bytes()
    header = read_header(data)
    assert header.orientation == orientation
    assert np.abs(PINNED[f"{form}-{orientation}.{form}"].astype(int) - PINNED["24-bit.bmp"]).mean() < 1


@both
def test_exifs_orientation_counts_for_nothing(form: str) -> None:
    """ISO/IEC 23008-12, A.2.4: the container's own properties turn a picture, whatever EXIF says."""
    assert read_header((GOLDEN / f"exif-says-turned.{form}").read_bytes()).orientation == 1
    assert np.abs(PINNED[f"exif-says-turned.{form}"].astype(int) - PINNED["24-bit.bmp"]).mean() < 1


@both
@pytest.mark.parametrize(
    ("name", "due", "mean"),
    [
        ("clear", "rgba-1.png", 1),
        ("grey", "grey-1.jpeg", 2),
        ("display-p3", "24-bit.bmp", 2),
        ("sampling-420", "24-bit.bmp", 4),
        ("cropped", "24-bit.bmp", 1),
    ],
)
def test_every_kind_shows_what_was_drawn(form: str, name: str, due: str, mean: float) -> None:
    assert np.abs(PINNED[f"{name}.{form}"].astype(int) - PINNED[due]).mean() < mean


def test_ten_bits_are_scaled_and_not_clipped() -> None:
    assert np.abs(PINNED["10-bit-rgb.heic"].astype(int) - PINNED["24-bit.bmp"]).mean() < 1
    red = decode_image(encoded(Image.fromarray(SCENE[..., 0]), "PNG"))
    assert np.abs(PINNED["10-bit-grey.heic"].astype(int) - red).mean() < 1


@both
def test_tiles_make_one_picture(form: str) -> None:
    tile = encode(form, 64)
    shown = read_and_open(tile)
    due = np.tile(shown, (2, 2, 1))[:100, :120]
    np.testing.assert_array_equal(read_and_open(grid(tile, 2, 2, 120, 100)), due)


def read_and_open(data: bytes) -> Any:
    header = read_header(data)
    return np.asarray({"heic": heif.open_heic, "avif": heif.open_avif}[header.format](data, header))


@both
def test_cropping_is_of_the_picture_as_it_is_stored(form: str) -> None:
    whole = read_and_open(encode(form, 64))
    data = cropped_file(encode(form, 64), 30, 20, 6, -8)
    np.testing.assert_array_equal(read_and_open(data), whole[18:38, 20:50])
    turned = turned_file(data, 6)
    assert read_header(turned).orientation == 6
    np.testing.assert_array_equal(read_and_open(turned), whole[18:38, 20:50])


def test_premultiplied_alpha_is_divided_out() -> None:
    clear = Image.fromarray(np.dstack([SCENE // 2, np.full(SCENE.shape[:2], 128, np.uint8)]))
    data = heic(clear)
    items = items_of(data)
    straight = together(data, items, [(b"auxl", 1, (0,))])
    multiplied = together(data, items, [(b"auxl", 1, (0,)), (b"prem", 0, (1,))])
    assert np.abs(read_and_open(straight)[..., :3].astype(int) - SCENE // 2).mean() < 3
    assert np.abs(read_and_open(multiplied)[..., :3].astype(int) - SCENE).mean() < 3


@both
def test_decoders_see_the_picture_alone(form: str) -> None:
    profile = rgb_profile("display-p3") + bytes(5000)
    own = encode(form, icc_profile=profile)
    assert read_header(own).profile == profile
    metadata = with_exif(own, b"Exif\0\0MM\0*" + bytes(50_000))
    data = metadata + box(b"moov", bytes(10_000)) + box(b"free", bytes(10_000))
    header = read_header(data)
    written = heif._picture_alone(data, header)  # type: ignore[arg-type]
    assert len(written) < len(encode(form)) + 200
    assert not any(name in written for name in (b"Exif", b"moov", b"free", b"prof"))
    np.testing.assert_array_equal(decode_image(data), decode_image(own))


def test_a_brand_of_heif_in_general_is_told_by_the_others() -> None:
    for form in FORMS:
        data = encode(form)
        assert read_header(data[:8] + b"mif1" + data[12:]).format == form


@pytest.mark.parametrize(
    ("kind", "words"),
    [(b"unci", "uncompressed samples"), (b"jpeg", "JPEG"), (b"av01", "AV1"), (b"xxxx", "another kind")],
)
def test_another_codec_is_refused_by_name(kind: bytes, words: str) -> None:
    data = encode("heic").replace(b"hvc1", kind)
    assert refusal(data) == (
        "unsupported_format",
        f"HEIC files of {words} are not accepted; send a usual HEIC or a JPEG.",
    )


def test_what_the_picture_needs_and_nobody_knows_is_refused() -> None:
    data = with_properties(encode("heic"), Property(b"abcd", b""))
    decode_image(data)
    place = data.index(b"ipma")
    count = data[place + 14]
    changed = bytearray(data)
    changed[place + 15 + 2 * (count - 1)] |= 0x80
    assert refusal(bytes(changed)) == (
        "unsupported_format",
        "The HEIC needs 'abcd', which is not known here; send a JPEG.",
    )


def test_a_film_is_no_picture() -> None:
    film = box(b"ftyp", b"heic", bytes(4), b"heicmif1") + box(b"moov", bytes(100))
    assert refusal(film) == ("unsupported_format", "The HEIC holds a film and no picture; send a picture.")


def test_turned_before_it_is_cropped_is_refused() -> None:
    crop = Property(b"clap", struct.pack(">IIIIiIiI", 20, 1, 20, 1, 0, 1, 0, 1))
    data = with_properties(encode("avif"), Property(b"irot", b"\1"), crop)
    assert refusal(data)[0] == "unsupported_format"


@both
def test_too_many_pixels_are_refused_by_the_header(form: str) -> None:
    data = FORMS[form](Image.new("RGB", (320, 200)))
    decode_image(data, limits=at_most(pixels=64_000))
    for cut in (data, data[: data.index(b"mdat") + 20]):
        with pytest.raises(ImageError, match=f"The {form.upper()} image has 320 x 200 pixels"):
            decode_image(cut, limits=at_most(pixels=63_999))


@both
def test_what_is_larger_than_usual_in_memory_has_fewer_pixels(form: str) -> None:
    clear = FORMS[form](Image.fromarray(np.dstack([SCENE, MAKE.alpha()])))
    large = clear.replace(struct.pack(">II", 64, 64), struct.pack(">II", 6500, 6500))
    large = large.replace(struct.pack(">II", 48, 36), struct.pack(">II", 6500, 6500))
    assert large != clear
    code, sentence = refusal(large)
    assert code == "too_many_pixels"
    assert "6500 x 6500 pixels with transparency; send one of at most" in sentence


@both
def test_48_megapixels_of_tiles_are_taken(form: str) -> None:
    data = grid(encode(form, 512), 16, 12, 8064, 6048)
    header = read_header(data)
    assert (header.width, header.height) == (8064, 6048)
    assert header.decoding_bytes < MAX_DECODING_MEMORY


@both
def test_a_frame_larger_than_it_says_is_never_allocated(form: str) -> None:
    """AV1 and HEVC have a size of their own, which a container's header may deny."""
    data = FORMS[form](Image.new("RGB", (640, 640), (200, 100, 50)))
    said = data.replace(struct.pack(">II", 640, 640), struct.pack(">II", 16, 16))
    assert read_header(said).width == 16
    with pytest.raises(ImageError) as raised:
        decode_image(said)
    assert raised.value.code == "broken_image"
    reason = {"heic": "exceeds the maximum image size", "avif": "a frame larger than the picture"}[form]
    assert reason in str(raised.value.__cause__)


def test_libheif_keeps_its_limits() -> None:
    """It compares a frame with the size that the container tells before it allocates one; see also above."""
    import pillow_heif

    assert pillow_heif.options.DISABLE_SECURITY_LIMITS is False


@both
def test_tiles_must_make_up_the_picture(form: str) -> None:
    tile = encode(form, 64)
    for shape in ((2, 2, 120, 129), (2, 2, 64, 120), (1, 1, 10, 65)):
        assert refusal(grid(tile, *shape))[0] == "broken_image", shape
    one_missing = items_of(grid(tile, 2, 2, 120, 100))[:-1]
    assert refusal(together(tile, one_missing, [(b"dimg", 0, (1, 2, 3))]))[0] == "broken_image"


@both
def test_data_may_not_be_counted_twice(form: str) -> None:
    """Extents that lie over one another would make a file many times as long as it is."""
    long = grid(encode(form, 64), 4, 4, 256, 256)
    header = read_header(long)
    assert isinstance(header, heif.HeifHeader)
    header.items[1].extents = header.items[1].extents * 100_000
    with pytest.raises(ImageError) as raised:
        decode_image(long, header)
    assert raised.value.code == "broken_image"


def flood(kind: str) -> bytes:
    brands = box(b"ftyp", b"heic", bytes(4), b"heicmif1")
    match kind:
        case "boxes":
            return brands + box(b"free") * 200_000
        case "items":
            entry = full_box(b"infe", struct.pack(">HH4s", 1, 0, b"hvc1"), version=2)
            inner = full_box(b"iinf", struct.pack(">H", 60_000), entry * 60_000)
        case "references":
            inner = full_box(b"iref", box(b"dimg", struct.pack(">HH", 1, 60_000) + bytes(120_000)))
        case _:
            places = struct.pack(">HHHH", 1, 0, 0, 60_000) + struct.pack(">II", 0, 1) * 60_000
            inner = full_box(b"iloc", b"\x44\0", places)
    others = [
        full_box(b"pitm", bytes(2)),
        full_box(b"iinf", bytes(2)),
        full_box(b"iloc", bytes(4)),
        box(b"iprp"),
    ]
    kept = [other for other in others if other[4:8] != inner[4:8]]
    return brands + full_box(b"meta", *kept, inner)


@pytest.mark.parametrize("kind", ["boxes", "items", "references", "extents"])
def test_a_flood_of_tiny_parts_is_refused(kind: str) -> None:
    assert refusal(flood(kind)) == (
        "unsupported_format",
        "The HEIC has too many parts; save it again with usual settings.",
    )


@both
def test_a_file_cut_short_anywhere_is_never_half_a_picture(form: str) -> None:
    whole = encode(form)
    for end in range(24, len(whole), max(1, len(whole) // 50)):
        code, _ = refusal(whole[:end])
        assert code == "broken_image", end


@both
def test_none_is_decoded_in_the_loop_of_events(form: str) -> None:
    data = encode(form, 32)
    assert not is_cheap(data, read_header(data))


def test_without_its_library_heic_is_switched_off(monkeypatch: pytest.MonkeyPatch) -> None:
    real = builtins.__import__

    def absent(name: str, *arguments: Any) -> Any:
        if name == "pillow_heif":
            raise ImportError(name)
        return real(name, *arguments)

    data = encode("heic")
    monkeypatch.setattr(builtins, "__import__", absent)
    assert refusal(data) == ("unsupported_format", "HEIC is switched off here; send a JPEG.")


def test_the_size_in_a_sequence_header_is_av1s_own() -> None:
    for width, height in ((1, 1), (48, 36), (300, 17), (1024, 768)):
        data = avif(Image.new("RGB", (width, height)))
        ((_, _, content),) = items_of(data)
        assert av1.largest_frame(content, lambda: None) == (width, height)
    with pytest.raises(ValueError, match="longer than"):
        av1.largest_frame(content[:-5], lambda: None)


def test_an_encoders_own_grid_is_read() -> None:
    """Its layout lies inside the box of metadata, where ours lies with the tiles."""
    data = heic(Image.fromarray(MAKE.scene(300, 200)), tile_size=128)
    assert b"idat" in data
    due = decode_image(encoded(Image.fromarray(MAKE.scene(300, 200)), "PNG")).astype(int)
    assert np.abs(decode_image(data) - due).mean() < 1


def test_a_64_bit_size_is_read() -> None:
    data = (GOLDEN / "tiles.heic").read_bytes()
    walk = Walk(data, "HEIC")
    meta = walk.child(b"meta", 0, len(data))
    assert meta is not None
    start, end = meta
    wide = struct.pack(">I4sQ", 1, b"meta", 16 + end - start) + data[start:end]
    moved = data[: start - 8] + wide + data[end:]
    again = Walk(moved, "HEIC")
    found = again.child(b"meta", 0, len(moved))
    assert found is not None
    assert read_items(again, *found)[1].size() == (120, 100)


def test_a_picture_of_no_size_is_broken() -> None:
    ((kind, properties, content),) = items_of(encode("heic"))
    changed = [one for one in properties if one.kind != b"ispe"]
    assert refusal(together(encode("heic"), [(kind, changed, content)]))[0] == "broken_image"
    nothing = [*changed, size_property(0, 48)]
    assert refusal(together(encode("heic"), [(kind, nothing, content)]))[0] == "broken_image"


MEASURE = """
import re, sys
from pathlib import Path
from model.images.decode import decode_image

def peak():
    return int(re.search(r"VmHWM:\\s+(\\d+)", Path("/proc/self/status").read_text())[1]) * 1024

decode_image(Path(sys.argv[1]).read_bytes())
before = peak()
decode_image(Path(sys.argv[2]).read_bytes())
print(peak() - before)
"""


@pytest.mark.slow
@pytest.mark.parametrize("name", ["grey.heic", "grey.avif", "10-bit-rgb.heic", "display-p3.tif"])
def test_decoding_takes_no_more_memory_than_the_header_promises(tmp_path: Path, name: str) -> None:
    """12 megapixels, in tiles as telephones write them; the small one of a name has its library loaded."""
    picture = Image.fromarray(MAKE.scene(512, 512))
    match name:
        case "10-bit-rgb.heic":
            data = grid(deep_heic(fine(np.asarray(picture))), 8, 6, 4032, 3024)
        case "display-p3.tif":
            data = libtiff(picture.resize((4032, 3024)), compression="tiff_lzw")
        case _:
            data = grid(FORMS[name.rpartition(".")[2]](picture), 8, 6, 4032, 3024)
    (tmp_path / "large").write_bytes(data)
    command = [sys.executable, "-c", MEASURE, str(GOLDEN / name), str(tmp_path / "large")]
    run = subprocess.run(command, capture_output=True, text=True, check=True, cwd=GOLDEN.parents[3])
    taken = int(run.stdout) - len(data)  # the file itself belongs to whoever sent it
    promised = read_header(data).decoding_bytes
    assert 0.4 * promised < taken <= promised
