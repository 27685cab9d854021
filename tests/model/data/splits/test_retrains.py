"""A data set that grows through five retrains, of real pictures: none is ever learned and judged by, too."""

import hashlib
import io
from collections import Counter, defaultdict
from dataclasses import dataclass, replace

import numpy as np
import pytest
from PIL import Image

from model.data.pictures import LeftOut, Picture
from model.data.sources import load_dataset
from model.data.splits.decide import Splits, decide
from model.data.splits.duplicates import phash, thumb
from model.images.decode import decode_image

RETRAINS = 5
CLASSES = ("a", "b", "c", "d")


@dataclass(frozen=True)
class File:
    """Bytes of a picture, and which picture they are of, which no code under test is told."""

    truth: int
    label: str
    data: bytes

    def picture(self, name: str, *, grouped: bool) -> Picture:
        pixels = decode_image(self.data)
        return Picture(
            name=name,
            label=self.label,
            given=None,
            group=f"person {self.truth // 4}" if grouped else None,
            digest=hashlib.sha256(self.data).digest(),
            phash=phash(pixels),
            thumb=thumb(pixels),
            width=32,
            height=32,
            format="jpeg",
            length=len(self.data),
        )


def saved(image: Image.Image, way: int) -> bytes:
    out = io.BytesIO()
    if way == 0:
        image.save(out, "PNG")
    elif way == 1:
        image.save(out, "JPEG", quality=95)
    elif way == 2:
        image.save(out, "JPEG", quality=75)
    elif way == 3:
        image.save(out, "WEBP", quality=90)
    else:
        image.resize((64, 64), Image.Resampling.BICUBIC).save(out, "JPEG", quality=85)
    return out.getvalue()


@pytest.fixture(scope="module")
def images() -> list[Image.Image]:
    pixels = load_dataset("sample", allow_sample=False).train.images
    return [Image.fromarray(pixels[row]) for row in np.random.default_rng(1).permutation(len(pixels))[:1000]]


@pytest.mark.parametrize("grouped", [False, True])
def test_no_picture_is_ever_in_two_splits(images: list[Image.Image], grouped: bool) -> None:
    rng = np.random.default_rng(2)
    unused = iter(range(len(images)))
    present: list[File] = []
    removed: list[File] = []
    ever: defaultdict[int, Counter[str]] = defaultdict(Counter)
    splits: bytes | None = None
    for retrain in range(RETRAINS + 1):
        changed = []
        for file in present:
            chance = rng.random()
            if chance < 0.15:
                removed.append(file)
            elif chance < 0.40:  # saved again, half of them beside the old file
                again = saved(images[file.truth], int(rng.integers(5)))
                changed += [replace(file, data=again), *([file] if chance < 0.28 else [])]
            elif chance < 0.45:
                changed.append(replace(file, label=str(rng.choice(CLASSES))))
            else:
                changed.append(file)
        back = [file for file in removed if retrain and rng.random() < 0.3]
        removed = [file for file in removed if file not in back]
        new = [
            File(truth, CLASSES[truth % 4], saved(images[truth], 2))
            for _, truth in zip(range(150), unused, strict=False)
        ]
        present = list(dict.fromkeys([*changed, *back, *new]))
        order = rng.permutation(len(present))
        present = [present[row] for row in order]
        pictures = [
            file.picture(f"retrain {retrain}/{number}", grouped=grouped)
            for number, file in enumerate(present)
        ]
        decision = decide(pictures, None if splits is None else Splits.from_bytes(splits))
        splits = decision.splits.to_bytes()
        for file, outcome in zip(present, decision.outcomes, strict=True):
            if isinstance(outcome, LeftOut):
                assert outcome.reason in {"duplicate", "two classes"}
            else:
                ever[file.truth][outcome] += 1
        assert not decision.leaks
        assert decision.inherited == 0 if retrain == 0 else decision.inherited > 100
    assert len(ever) == 150 * (RETRAINS + 1)
    assert [truth for truth, where in ever.items() if len(where) > 1] == []
    assert Counter(split for where in ever.values() for split in where).keys() == {
        "train",
        "validation",
        "test",
    }
