"""Versions in a folder: whole or not there, never changed, checked when read."""

import json
import logging
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest

from export.errors import AbsentError, ExistsError, IntegrityError, StoreError
from export.store.manifest import Manifest
from export.store.versions import KNOWN, SPLITS, Store, open_store

BuildOf = Callable[[bytes], Callable[[int, Path], Manifest]]


def test_a_version_is_a_whole_triton_repository(store: Store, build_of: BuildOf, tmp_path: Path) -> None:
    manifest = store.publish(build_of(b"weights"))
    assert manifest.version == 1
    folder = store.fetch(1, tmp_path / "fetched")
    assert folder == tmp_path / "fetched" / "000001"
    files = {path.relative_to(folder).as_posix() for path in folder.rglob("*") if path.is_file()}
    configs = {
        "config.pbtxt",
        *(f"configs/{variant}.pbtxt" for variant in ("cpu-1", "cpu-2", "cpu-4", "gpu")),
    }
    assert files == {
        "manifest.json",
        *(f"cnn-image/{name}" for name in configs | {"labels.txt", "1/model.onnx"}),
        *(f"cnn-image-filters/{name}" for name in configs | {"1/model.onnx"}),
    }
    assert (folder / "cnn-image/1/model.onnx").read_bytes() == b"weights"
    assert (folder / "cnn-image/labels.txt").read_text() == "airplane\nautomobile\nbird\ncat\ndog\n"
    assert (folder / "cnn-image/config.pbtxt").read_text() == (
        folder / "cnn-image/configs/cpu-2.pbtxt"
    ).read_text()


def test_a_version_has_an_address(store: Store, place: str) -> None:
    assert store.uri(7) == f"{place}/versions/000007"


def test_a_version_in_a_folder_can_be_served_where_it_lies(tmp_path: Path, build_of: BuildOf) -> None:
    store = open_store(str(tmp_path / "store"))
    store.publish(build_of(b"weights"))
    assert (Path(store.uri(1)) / "cnn-image/1/model.onnx").read_bytes() == b"weights"


def test_numbers_count_up_and_are_never_used_again(store: Store, build_of: BuildOf) -> None:
    assert [store.publish(build_of(b"x")).version for _ in range(3)] == [1, 2, 3]
    store.delete(3)
    assert store.numbers() == [1, 2]
    assert store.publish(build_of(b"x")).version == 4
    assert [manifest.version for manifest in store.versions()] == [1, 2, 4]


def test_publishers_at_once_share_no_number(store: Store, build_of: BuildOf) -> None:
    build = build_of(b"same")
    with ThreadPoolExecutor(8) as pool:
        numbers = list(pool.map(lambda _: store.publish(build).version, range(8)))
    assert sorted(numbers) == list(range(1, 9))
    for number in numbers:
        store.verify(number)


def test_a_build_that_fails_leaves_nothing_visible(store: Store, build_of: BuildOf) -> None:
    def build(version: int, folder: Path) -> Manifest:
        raise RuntimeError("no parity")

    with pytest.raises(RuntimeError, match="no parity"):
        store.publish(build)
    assert store.numbers() == []
    assert store.publish(build_of(b"x")).version == 2


def test_a_publish_cut_short_at_any_write_leaves_nothing_visible(
    store: Store, build_of: BuildOf, monkeypatch: pytest.MonkeyPatch
) -> None:
    put = store.blobs.put_if_absent
    for writes in range(14):
        left = writes

        def cut(key: str, data: bytes) -> None:
            nonlocal left
            if not left:
                raise StoreError("cut")
            left -= 1
            put(key, data)

        monkeypatch.setattr(store.blobs, "put_if_absent", cut)
        with pytest.raises(StoreError, match="cut"):
            store.publish(build_of(b"x"))
        assert store.numbers() == []
        monkeypatch.undo()
    number = store.publish(build_of(b"x")).version
    assert store.numbers() == [number]
    store.verify(number)


def test_what_was_fetched_is_used_again_and_repaired(store: Store, build_of: BuildOf, tmp_path: Path) -> None:
    store.publish(build_of(b"weights"))
    graph = store.fetch(1, tmp_path) / "cnn-image/1/model.onnx"
    first = graph.stat().st_ino
    assert (store.fetch(1, tmp_path) / "cnn-image/1/model.onnx").stat().st_ino == first
    graph.write_bytes(b"changed")
    assert (store.fetch(1, tmp_path) / "cnn-image/1/model.onnx").read_bytes() == b"weights"
    (graph.parent / "model.py").write_text("import os")
    store.fetch(1, tmp_path)
    assert not (graph.parent / "model.py").exists()


def rewrite(store: Store, key: str, data: bytes) -> None:
    """Change an object behind the store's back."""
    store.blobs.delete(key)
    store.blobs.put_if_absent(key, data)


def test_a_flipped_byte_in_any_file_is_refused_by_name(
    store: Store, build_of: BuildOf, tmp_path: Path
) -> None:
    store.publish(build_of(b"weights"))
    keys = store.blobs.list("versions/")
    assert len(keys) == 14
    for key in keys:
        good = store.blobs.get(key)
        rewrite(store, key, bytes([*good[:-2], good[-2] ^ 1, good[-1]]))
        for act in (lambda: store.fetch(1, tmp_path / "fetched"), lambda: store.verify(1)):
            with pytest.raises(IntegrityError, match=key):
                act()
        assert not (tmp_path / "fetched").exists() or not list((tmp_path / "fetched").iterdir())
        rewrite(store, key, good)
    store.verify(1)


def test_a_file_cut_short_or_missing_is_refused_by_name(
    store: Store, build_of: BuildOf, tmp_path: Path
) -> None:
    store.publish(build_of(b"weights"))
    for key in store.blobs.list("versions/"):
        good = store.blobs.get(key)
        rewrite(store, key, good[:3])
        with pytest.raises(IntegrityError, match=key):
            store.fetch(1, tmp_path / "fetched")
        store.blobs.delete(key)
        invisible = key.endswith("manifest.json")
        with pytest.raises(
            AbsentError if invisible else IntegrityError,
            match="no version 1" if invisible else f"{key} is missing",
        ):
            store.fetch(1, tmp_path / "fetched")
        rewrite(store, key, good)


def test_a_file_that_does_not_belong_fails_verification(store: Store, build_of: BuildOf) -> None:
    store.publish(build_of(b"weights"))
    store.blobs.put_if_absent("versions/000001/cnn-image/1/model.py", b"import os")
    with pytest.raises(
        IntegrityError, match=r"versions/000001/cnn-image/1/model\.py does not belong to version 1"
    ):
        store.verify(1)


def forge(manifest: Manifest, **changes: Any) -> bytes:
    """A manifest with a right digest of itself but a content that the product would not write."""
    forged = manifest.model_copy(update=changes)
    return forged.to_json()


@pytest.mark.parametrize(
    "path",
    [
        "../../../etc/cron.d/x",
        "/etc/passwd",
        "cnn-image/../../x",
        "cnn-image\\x",
        "cnn-image/1/model.py",
        "cnn-image/1/model.pkl",
        "cnn-image/2/model.onnx",
        "cnn-image/config.pbtxt\n",
        "cnn-image/configs/../../x.pbtxt",
        "other/1/model.onnx",
        "manifest.json",
        "",
    ],
)
def test_a_manifest_that_lists_a_path_of_its_own_is_refused(
    store: Store, build_of: BuildOf, tmp_path: Path, path: str
) -> None:
    manifest = store.publish(build_of(b"weights"))
    any_digest = next(iter(manifest.files.values()))
    rewrite(
        store, "versions/000001/manifest.json", forge(manifest, files={**manifest.files, path: any_digest})
    )
    with pytest.raises(
        IntegrityError, match=r"versions/000001/manifest\.json is refused: .* is no file of version 1"
    ):
        store.fetch(1, tmp_path / "fetched")
    assert not (tmp_path / "fetched").exists()


@pytest.mark.parametrize(
    ("content", "why"),
    [
        (b"", "is not a manifest"),
        (b"[]", "is not a manifest"),
        (b"\x80\x04\x95", "is not a manifest"),
        (b"{}", "is not a manifest"),
        (b'{"sha256": "x"}', "is not what was published"),
    ],
)
def test_what_is_no_manifest_is_refused(store: Store, build_of: BuildOf, content: bytes, why: str) -> None:
    store.publish(build_of(b"weights"))
    rewrite(store, "versions/000001/manifest.json", content)
    with pytest.raises(IntegrityError, match=rf"versions/000001/manifest\.json {why}"):
        store.manifest(1)


def test_a_manifest_of_another_version_or_a_newer_layout_is_refused(store: Store, build_of: BuildOf) -> None:
    manifest = store.publish(build_of(b"weights"))
    store.publish(build_of(b"weights"))
    rewrite(store, "versions/000002/manifest.json", manifest.to_json())
    with pytest.raises(IntegrityError, match="says it is version 1"):
        store.manifest(2)
    rewrite(store, "versions/000001/manifest.json", forge(manifest, layout=3))
    with pytest.raises(IntegrityError, match="layout 3, which this cnn-image does not know; update it"):
        store.manifest(1)


def test_one_broken_manifest_does_not_hide_the_others(
    store: Store, build_of: BuildOf, caplog: pytest.LogCaptureFixture
) -> None:
    for _ in range(3):
        store.publish(build_of(b"x"))
    rewrite(store, "versions/000002/manifest.json", b"{")
    with caplog.at_level(logging.WARNING):
        assert [manifest.version for manifest in store.versions()] == [1, 3]
    assert "versions/000002/manifest.json is not a manifest" in caplog.text


def test_the_manifest_says_where_a_version_comes_from(store: Store, build_of: BuildOf) -> None:
    store.publish(build_of(b"weights"))
    manifest = Store(store.blobs).manifest(1)
    assert manifest.data.kind == "cifar10"
    assert manifest.recipe == {"epochs": 40, "learning_rate": 4e-3}
    assert manifest.files["cnn-image/1/model.onnx"].size == len(b"weights")
    stored = json.loads(store.blobs.get("versions/000001/manifest.json"))
    assert stored["created"] == "2026-11-03T12:30:00Z"
    assert stored["metrics"]["val_accuracy"] == 0.8


def test_a_file_is_attached_once_and_leaves_the_version_as_it_is(store: Store, build_of: BuildOf) -> None:
    store.publish(build_of(b"weights"))
    store.attach(1, "verdict.json", b"{}")
    with pytest.raises(ExistsError):
        store.attach(1, "verdict.json", b"[]")
    assert store.attachment(1, "verdict.json") == b"{}"
    assert store.attachments(1) == ["verdict.json"]
    store.verify(1)
    with pytest.raises(AbsentError, match="no version 2"):
        store.attach(2, "verdict.json", b"{}")
    with pytest.raises(AbsentError):
        store.attachment(1, "report.html")


EVIDENCE = {SPLITS: b"which picture is where", KNOWN: b"a zip"}


def test_evidence_is_beside_the_version_and_in_its_manifest(
    store: Store, build_of: BuildOf, tmp_path: Path
) -> None:
    assert store.publish(build_of(b"weights")).evidence == {}
    manifest = store.publish(build_of(b"weights"), EVIDENCE)
    assert manifest == Store(store.blobs).manifest(2)
    assert {name: digest.size for name, digest in manifest.evidence.items()} == {SPLITS: 22, KNOWN: 5}
    assert store.evidence(2, SPLITS) == b"which picture is where"
    assert store.attachments(2) == [KNOWN, SPLITS]
    # whoever serves the version does not download it
    fetched = store.fetch(2, tmp_path)
    assert not {path.name for path in fetched.rglob("*")} & EVIDENCE.keys()
    assert store.verify(2) == manifest
    with pytest.raises(AbsentError, match=r"Version 1 was published without known\.zip"):
        store.evidence(1, KNOWN)
    with pytest.raises(AbsentError, match="no version 3"):
        store.evidence(3, KNOWN)
    store.delete(2)
    assert store.blobs.list("attachments/") == []


def test_evidence_that_changed_or_is_gone_is_refused_by_name(store: Store, build_of: BuildOf) -> None:
    store.publish(build_of(b"weights"), EVIDENCE)
    key = "attachments/000001/splits.bin"
    rewrite(store, key, b"which picture was where")
    for act in (lambda: store.evidence(1, SPLITS), lambda: store.verify(1)):
        with pytest.raises(IntegrityError, match=f"{key} is not what was published"):
            act()
    store.blobs.delete(key)
    with pytest.raises(IntegrityError, match=f"{key} is missing"):
        store.verify(1)
    assert store.evidence(1, KNOWN) == b"a zip"


def test_a_version_is_not_there_before_its_evidence(
    store: Store, build_of: BuildOf, monkeypatch: pytest.MonkeyPatch
) -> None:
    written: list[str] = []
    put = store.blobs.put_if_absent
    monkeypatch.setattr(store.blobs, "put_if_absent", lambda key, data: written.append(key) or put(key, data))
    store.publish(build_of(b"weights"), EVIDENCE)
    assert written[-1] == "versions/000001/manifest.json"
    assert {f"attachments/000001/{name}" for name in EVIDENCE} < set(written)
    with pytest.raises(ValueError, match="evidence"):
        store.publish(build_of(b"weights"), {"../manifest.json": b""})
    assert store.numbers() == [1]


def test_deleting_takes_the_manifest_first(
    store: Store, build_of: BuildOf, monkeypatch: pytest.MonkeyPatch
) -> None:
    store.publish(build_of(b"weights"))
    store.attach(1, "verdict.json", b"{}")
    deleted: list[str] = []
    delete = store.blobs.delete
    monkeypatch.setattr(store.blobs, "delete", lambda key: deleted.append(key) or delete(key))
    store.delete(1)
    assert deleted[0] == "versions/000001/manifest.json"
    assert store.blobs.list("versions/") == store.blobs.list("attachments/") == []
    with pytest.raises(AbsentError):
        store.manifest(1)


def test_what_is_no_store_is_refused() -> None:
    with pytest.raises(
        StoreError, match=r"'ftp://x/y' is no store; give a folder's path or s3://BUCKET/PREFIX"
    ):
        open_store("ftp://x/y")
