"""A tar's headers, as scoring reads them and as Python's own reader does."""

import io
import subprocess
import tarfile
from pathlib import Path

import pytest

from jobs.scoring.source.tar_headers import QuickHeader

FORMATS = [tarfile.USTAR_FORMAT, tarfile.GNU_FORMAT, tarfile.PAX_FORMAT]
NAMES = ["a/1.jpg", "./b/é.jpg", f"{'f' * 90}/{'n' * 60}.jpg", "last in its name is a full stop.", "x" * 100]
LONG = [f"{'d' * 120}/{'n' * 130}.jpg"]


def seen(path: Path, header: type[tarfile.TarInfo]) -> list[tuple[object, ...]]:
    """What a listing asks of each member: name, length, where its bytes begin, what it is."""
    with tarfile.open(path, "r:", tarinfo=header) as archive:
        return [
            (one.name, one.size, one.offset_data, one.isreg(), one.isdir(), one.issparse())
            for one in archive.getmembers()
        ]


def write(path: Path, form: int, names: list[str]) -> None:
    with tarfile.open(path, "w", format=form) as archive:
        for number, name in enumerate(names):
            info = tarfile.TarInfo(name)
            info.size = number * 700
            info.mtime = 1_700_000_000 + number / 4  # in a pax header of its own, where it is a fraction
            archive.addfile(info, io.BytesIO(bytes(info.size)))
        for kind, name in [(tarfile.DIRTYPE, "folder"), (tarfile.SYMTYPE, "link"), (tarfile.LNKTYPE, "hard")]:
            info = tarfile.TarInfo(name)
            info.type, info.linkname = kind, "a/1.jpg"
            archive.addfile(info)


@pytest.mark.parametrize("form", FORMATS)
def test_each_member_is_what_pythons_own_reader_says(tmp_path: Path, form: int) -> None:
    path = tmp_path / "a.tar"
    write(path, form, NAMES if form == tarfile.USTAR_FORMAT else NAMES + LONG)
    assert seen(path, QuickHeader) == seen(path, tarfile.TarInfo)
    assert [one[0] for one in seen(path, QuickHeader)][1] == NAMES[1]


def test_this_python_asks_for_headers_as_it_is_documented_to(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Where it does not, all is right and listing takes three times as long."""
    asked = []
    quick = QuickHeader.frombuf.__func__  # type: ignore[attr-defined]

    def frombuf(cls: type[QuickHeader], buf: bytes, encoding: str, errors: str) -> tarfile.TarInfo:
        asked.append(buf)
        found: tarfile.TarInfo = quick(cls, buf, encoding, errors)
        return found

    monkeypatch.setattr(QuickHeader, "frombuf", classmethod(frombuf))
    write(tmp_path / "a.tar", tarfile.GNU_FORMAT, NAMES)
    assert len(seen(tmp_path / "a.tar", QuickHeader)) <= len(asked)


def test_what_tar_itself_writes(tmp_path: Path) -> None:
    (tmp_path / "in").mkdir()
    for name in ("1.jpg", "ä ö.jpg", "n" * 200):
        (tmp_path / "in" / name).write_bytes(b"bytes" * 300)
    with (tmp_path / "in" / "sparse").open("wb") as file:
        file.truncate(1 << 20)
    for form in ("v7", "ustar", "gnu", "oldgnu", "posix"):
        path = tmp_path / f"{form}.tar"
        sparse = ["--sparse"] if form in {"gnu", "oldgnu", "posix"} else []
        left_out = ["--exclude", "n" * 200] if form in {"v7", "ustar"} else []
        subprocess.run(
            ["tar", f"--format={form}", *sparse, *left_out, "-cf", path, "in"], cwd=tmp_path, check=True
        )
        assert seen(path, QuickHeader) == seen(path, tarfile.TarInfo)


def test_a_name_that_is_not_in_utf8_comes_through(tmp_path: Path) -> None:
    path = tmp_path / "a.tar"
    with tarfile.open(path, "w", format=tarfile.USTAR_FORMAT, encoding="latin-1") as archive:
        archive.addfile(tarfile.TarInfo("é.jpg"), io.BytesIO())
    assert seen(path, QuickHeader) == seen(path, tarfile.TarInfo)


def test_a_length_beyond_the_octal_digits(tmp_path: Path) -> None:
    info = tarfile.TarInfo("large.jpg")
    info.size = 1 << 40
    (tmp_path / "a.tar").write_bytes(info.tobuf(tarfile.GNU_FORMAT) + bytes(1024))
    with tarfile.open(tmp_path / "a.tar", "r:", tarinfo=QuickHeader) as archive:
        first = archive.next()
    assert first is not None
    assert first.size == 1 << 40


@pytest.mark.parametrize("place", [0, 124, 150, 300])
def test_a_header_that_was_damaged_is_none(tmp_path: Path, place: int) -> None:
    path = tmp_path / "a.tar"
    write(path, tarfile.USTAR_FORMAT, ["1.jpg"])
    data = bytearray(path.read_bytes())
    data[place] ^= 0x11
    path.write_bytes(data)
    with pytest.raises(tarfile.ReadError):
        seen(path, QuickHeader)
