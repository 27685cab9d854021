import json
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from own_pictures import lay, paint, painted

from model.data.errors import DataError
from model.data.own.gather import gather
from model.data.own.loading import dataset_of
from model.data.own.wishes import Wishes
from model.data.sources import load_dataset

FILES = painted({"cat": 6, "dog": 6})
IMAGE = pa.struct([("bytes", pa.binary()), ("path", pa.string())])


def manifest(path: Path, text: str, encoding: str = "utf-8") -> str:
    path.write_bytes(text.encode(encoding))
    return str(path)


def parquet(path: Path, names: list[str] | None = None, **columns: Any) -> str:
    """A table as Hugging Face writes it."""
    table = pa.table(columns)
    if names is not None:
        label = {"names": names, "_type": "ClassLabel"}
        features = {"info": {"features": {"image": {"_type": "Image"}, "label": label}}}
        table = table.replace_schema_metadata({"huggingface": json.dumps(features)})
    pq.write_table(table, path, row_group_size=5)
    return str(path)


@pytest.mark.parametrize("separator", [",", ";", "\t"])
def test_a_csv_is_the_folder_that_it_lists(tmp_path: Path, wishes: Wishes, separator: str) -> None:
    folder = lay(tmp_path / "data", FILES)
    there = dataset_of(gather(str(folder), wishes), wishes)
    lines = ["Image", "label"], *([f"data/{name}", name.partition("/")[0]] for name in FILES)
    text = "\ufeff" + "".join(f'"{image}"{separator} {label}\r\n' for image, label in lines)
    here = load_dataset(manifest(tmp_path / "m.csv", text), allow_sample=False, wishes=wishes)
    assert (here.kind, here.digest) == ("images", there.digest)


def test_splits_and_groups_of_a_csv(tmp_path: Path, wishes: Wishes) -> None:
    lay(tmp_path, FILES)
    absolute = tmp_path / "dog" / "0.png"
    text = f"split,group,label,image\nTrain,ann,cat,cat/0.png\nval,bob,dog,dog/1.png\n,,dog,{absolute}\n"
    pictures = gather(manifest(tmp_path / "m.csv", text), wishes).pictures
    assert [(picture.name, picture.given, picture.group) for picture in pictures] == [
        ("cat/0.png", "train", "ann"),
        ("dog/1.png", "validation", "bob"),
        (str(absolute), None, None),
    ]


def test_one_picture_in_two_lines_has_two_names(tmp_path: Path, wishes: Wishes) -> None:
    lay(tmp_path, FILES)
    text = "image,label\ncat/0.png,cat\ncat/0.png,dog\ndog/0.png,dog\ncat/1.png,\n"
    gathered = gather(manifest(tmp_path / "m.csv", text), wishes)
    assert [(picture.name, picture.label) for picture in gathered.pictures] == [
        ("cat/0.png (row 2)", "cat"),
        ("cat/0.png (row 3)", "dog"),
        ("dog/0.png", "dog"),
    ]
    assert [(left.name, left.reason) for left in gathered.left_out] == [("cat/1.png", "no class")]


@pytest.mark.parametrize(
    ("text", "sentence"),
    [
        (
            "image,label\ncat/0.png,cat\ncat/x.png,cat\ncat,dog\n",
            r"lists 2 files that are not there: cat/x.png, cat;",
        ),
        ("image,label\ncat\\0.png,cat\n", r"lists 1 file that is not there: cat\\0.png; correct"),
        (
            'image,label\n"cat/0.png,cat\n' + "dog/0.png,dog\n" * 1000,
            r"lists 1 file that is not there: cat/0.png,cat\\ndog/0.png,dog\\n.{291}…; correct",
        ),
        (
            "image,class\ncat/0.png,cat\n",
            "no column 'label', but 'image', 'class'; a manifest has image and label",
        ),
        ("", "no column 'image', but none at all"),
        ("image,label,Label\na.png,cat,dog\n", "has 2 columns 'label'; keep the one that counts"),
        ("image,group,label,group\na.png,x,cat,y\n", "has 2 columns 'group'; keep the one that counts"),
        ("image,label\n", "lists no pictures"),
        ("image,label,split\ncat/0.png,cat,holdout\n", "has the split 'holdout' in line 2; write train"),
        ("image,label\n,cat\n", "names no image in line 2"),
        (
            "image,label\nhttp://example.org/1.png,cat\n",
            "has the address http://example.org/1.png, which is not",
        ),
    ],
)
def test_mistakes_in_a_csv(tmp_path: Path, wishes: Wishes, text: str, sentence: str) -> None:
    lay(tmp_path, FILES)
    with pytest.raises(DataError, match=sentence) as caught:
        gather(manifest(tmp_path / "m.csv", text), wishes)
    assert str(caught.value).endswith(".")


def test_a_csv_in_another_alphabet(tmp_path: Path, wishes: Wishes) -> None:
    lay(tmp_path, {"1.png": paint(1), "2.png": paint(2)})
    text = "image,label\n1.png,кот\n2.png,собака\n"
    assert gather(manifest(tmp_path / "m.csv", text), wishes).classes == ("кот", "собака")
    with pytest.raises(DataError, match=r"m.csv is no CSV in UTF-8 .*; save it as one"):
        gather(manifest(tmp_path / "m.csv", text, "cp1251"), wishes)


def test_a_parquet_of_hugging_face(tmp_path: Path, wishes: Wishes) -> None:
    """Bytes, numbers of classes, and an absolute path that stands beside the bytes and is not followed."""
    there = dataset_of(gather(str(lay(tmp_path / "data", FILES)), wishes), wishes)
    path = parquet(
        tmp_path / "m.parquet",
        ["cat", "dog", "owl"],
        image=pa.array([{"bytes": data, "path": f"/home/x/{name}"} for name, data in FILES.items()], IMAGE),
        label=pa.array([["cat", "dog"].index(name.partition("/")[0]) for name in FILES], pa.int64()),
        split=["train"] * len(FILES),
    )
    gathered = gather(path, wishes)
    assert gathered.classes == ("cat", "dog")
    assert {picture.given for picture in gathered.pictures} == {"train"}
    mine = {picture.digest: picture.label for picture in gathered.pictures}
    assert mine == {
        picture.digest: picture.label for picture in gather(str(tmp_path / "data"), wishes).pictures
    }
    bare = parquet(
        tmp_path / "bare.parquet",
        image=pa.array(list(FILES.values()), pa.binary()),
        label=[name.partition("/")[0] for name in FILES],
    )
    here = load_dataset(bare, allow_sample=False, wishes=wishes)
    assert here.digest == there.digest
    assert set(here.train.names or ()) <= {f"row {number}" for number in range(1, 13)}


def test_paths_of_another_machine_are_refused_and_never_followed(tmp_path: Path, wishes: Wishes) -> None:
    lay(tmp_path, FILES)
    here = [{"bytes": None, "path": str(tmp_path / name)} for name in FILES]
    labels = [name.partition("/")[0] for name in FILES]
    only = parquet(tmp_path / "m.parquet", image=pa.array(here, IMAGE), label=labels)
    with pytest.raises(DataError, match="holds no pictures, only where they lay on another machine"):
        gather(only, wishes)
    here[0] = {"bytes": FILES["cat/0.png"], "path": None}
    some = parquet(tmp_path / "m.parquet", image=pa.array(here, IMAGE), label=labels)
    gathered = gather(some, wishes)
    assert [picture.name for picture in gathered.pictures] == ["row 1"]
    assert {left.reason for left in gathered.left_out} == {"path only"}


def test_numbers_without_names_and_labels_that_are_kept_from_everyone(tmp_path: Path, wishes: Wishes) -> None:
    lay(tmp_path, FILES)
    path = parquet(tmp_path / "m.parquet", image=list(FILES)[:3], label=pa.array([7, 8, -1], pa.int64()))
    gathered = gather(path, wishes)
    assert [picture.label for picture in gathered.pictures] == ["7", "8"]
    assert [left.reason for left in gathered.left_out] == ["no class"]


@pytest.mark.parametrize(
    ("columns", "sentence"),
    [
        ({"img": ["a"], "label": ["x"]}, "no column 'image', but 'img', 'label'"),
        ({"image": [1.5], "label": ["x"]}, "images of the type double"),
        ({"image": ["cat/0.png"], "label": [1.5]}, "labels of the type double"),
        ({"image": [None, "cat/0.png"], "label": ["x", "y"]}, "has no image in row 1"),
    ],
)
def test_mistakes_in_a_parquet(
    tmp_path: Path, wishes: Wishes, columns: dict[str, list[Any]], sentence: str
) -> None:
    with pytest.raises(DataError, match=sentence):
        gather(parquet(tmp_path / "m.parquet", **columns), wishes)


def test_a_parquet_that_is_cut_short(tmp_path: Path, wishes: Wishes) -> None:
    path = Path(parquet(tmp_path / "m.parquet", image=list(FILES.values()), label=["x"] * len(FILES)))
    path.write_bytes(path.read_bytes()[:-40])
    with pytest.raises(DataError, match=r"m.parquet is truncated or no Parquet \(.*\); fetch it again"):
        gather(str(path), wishes)
