"""What torch itself wrote is read without it; whatever is no tensor is refused."""

import zipfile
from pathlib import Path

import numpy as np
import pytest

from model.network.pretrained.errors import WeightsError
from model.network.pretrained.torch_file import read_torch_file

FILES = Path(__file__).parent / "files"

# Opcodes of pickle's protocol 0: MARK, GLOBAL, UNICODE, INT, TUPLE, BINPERSID, REDUCE, DICT, STOP.
STORAGE = "(Vstorage\nctorch\nFloatStorage\nV0\nVcpu\nI6\ntQ"
TENSOR = "ctorch._utils\n_rebuild_tensor_v2\n(" + STORAGE + "I0\n(I2\nI3\nt(I3\nI1\ntI00\nNtR"


def zipped(folder: Path, content: str, *, values: int = 6, **more: bytes) -> Path:
    """A file in torch's zip layout with a pickle of our own and one storage."""
    path = folder / "weights.pth"
    with zipfile.ZipFile(path, "w") as archive:
        archive.writestr("weights/data.pkl", content)
        archive.writestr("weights/data/0", np.arange(values, dtype="<f4").tobytes())
        for name, data in more.items():
            archive.writestr(f"weights/{name}", data)
    return path


@pytest.mark.parametrize("layout", ["legacy", "zip"])
def test_what_torch_wrote_is_read(layout: str) -> None:
    found = read_torch_file(FILES / f"{layout}.pth")
    due = {
        "matrix": np.asarray([[0, 1, 2], [3, 4, 5]], np.float32),
        "transposed": np.asarray([[6, 9], [7, 10], [8, 11]], np.float32),
        "number": np.asarray(1 << 40),
        "half": np.asarray([0.5, -2], np.float16),
        "double": np.asarray([1 / 3]),
        "empty": np.zeros((0, 4), np.float32),
    }
    assert found.keys() == due.keys()
    for name, value in due.items():
        assert (found[name].dtype, found[name].shape) == (value.dtype, value.shape), name
        assert np.array_equal(found[name], value), name


def test_what_later_releases_of_torch_lay_beside_the_tensors_is_passed_over(tmp_path: Path) -> None:
    path = zipped(tmp_path, f"(Vweight\n{TENSOR}d.", byteorder=b"little", version=b"3\n")
    assert read_torch_file(path)["weight"].tolist() == [[0, 1, 2], [3, 4, 5]]


@pytest.mark.parametrize(
    ("content", "says"),
    [
        ("(Vweight\ncbuiltins\nlen\n(Vabc\ntRd.", "it asks for builtins.len, and tensors alone are taken"),
        ("ctorch\nload\n.", "it asks for torch.load"),
        ("ccollections\nCounter\n.", "it asks for collections.Counter"),
        ("ctorch._utils\n_rebuild_parameter\n.", "it asks for torch._utils._rebuild_parameter"),
        # attributes of what has been made stay as they are
        (f"(Vweight\n{STORAGE}(Vlength\nI600\ndbd.", "it changes what it has made"),
        (f"(Vweight\n{TENSOR}(Voffset\nI600\ndbd.", "it changes what it has made"),
        ("ctorch._utils\n_rebuild_tensor_v2\n(Va\nI1\ndb.", "it changes what it has made"),
        # a tensor beyond its values, by its shape, its strides, where it begins
        (f"(Vweight\n{TENSOR}d.".replace("I2\nI3\nt", "I3\nI3\nt"), "is larger than its values"),
        (f"(Vweight\n{TENSOR}d.".replace("I3\nI1\nt", "I4\nI1\nt"), "is larger than its values"),
        (f"(Vweight\n{TENSOR}d.".replace("I0\n", "I1\n"), "is larger than its values"),
        (f"(Vweight\n{TENSOR}d.".replace("I0\n", "I-1\n"), "describes a tensor as torch does not"),
        (f"(Vweight\n{TENSOR}d.".replace("FloatStorage", "CharStorage"), "asks for torch.CharStorage"),
        ("(Vmodel\nNd.", "'model' in it is no tensor; save network.state_dict() alone"),
        (f"(I1\n{TENSOR}d.", "1 in it is no tensor"),
        (f"{TENSOR}.", "holds no dictionary of tensors"),
        ("(d.", "holds no dictionary of tensors"),
    ],
)
def test_what_is_no_tensor_is_refused(tmp_path: Path, content: str, says: str) -> None:
    with pytest.raises(WeightsError) as refused:
        read_torch_file(zipped(tmp_path, content))
    assert "weights.pth is refused: " in str(refused.value)
    assert says in str(refused.value)
    assert str(refused.value).endswith(".")


def test_the_older_layout_refuses_the_same(tmp_path: Path) -> None:
    path = tmp_path / "weights.pth"
    header = (FILES / "legacy.pth").read_bytes()[:15]
    path.write_bytes(header + b"cbuiltins\nlen\n.")
    with pytest.raises(WeightsError, match=r"is refused: it asks for builtins\.len, and tensors"):
        read_torch_file(path)


def test_another_machines_order_of_bytes_is_refused(tmp_path: Path) -> None:
    with pytest.raises(WeightsError, match="written on a big-endian machine"):
        read_torch_file(zipped(tmp_path, f"(Vweight\n{TENSOR}d.", byteorder=b"big"))


@pytest.mark.parametrize("layout", ["legacy", "zip"])
def test_a_file_that_is_cut_short_is_said_to_be_damaged(tmp_path: Path, layout: str) -> None:
    whole = (FILES / f"{layout}.pth").read_bytes()
    path = tmp_path / "weights.pth"
    for length in range(0, len(whole), 7):
        path.write_bytes(whole[:length])
        with pytest.raises(WeightsError, match="is damaged, or no file of torch"):
            read_torch_file(path)


def test_values_that_are_missing_are_said(tmp_path: Path) -> None:
    with pytest.raises(WeightsError, match=r"damaged.*EOFError: a tensor's values are cut short"):
        read_torch_file(zipped(tmp_path, f"(Vweight\n{TENSOR}d.", values=5))


@pytest.mark.parametrize("content", [b"", b"Not weights at all.\n", b"\x89PNG\r\n\x1a\n", b"PK\x03\x04"])
def test_what_torch_did_not_write_is_said(tmp_path: Path, content: bytes) -> None:
    path = tmp_path / "weights.pth"
    path.write_bytes(content)
    with pytest.raises(WeightsError, match="is damaged, or no file of torch") as refused:
        read_torch_file(path)
    assert "\n" not in str(refused.value)


def test_a_file_that_is_not_there_is_said(tmp_path: Path) -> None:
    with pytest.raises(WeightsError, match=r"cannot be read \(No such file or directory\)"):
        read_torch_file(tmp_path / "none.pth")
    with pytest.raises(WeightsError, match=r"cannot be read \(Is a directory\)"):
        read_torch_file(tmp_path)
