"""The manifest's two layouts: what is written now, and what was written before a version had a contract."""

import json
from pathlib import Path
from typing import Any

import pytest

from export.errors import IntegrityError
from export.store.lineage import Lineage, Pretrained, lineage_parameters
from export.store.manifest import Manifest, digest_of, read_manifest
from model.contract import CLASSES, DEFAULT_CONTRACT, Contract

FLOWERS = Contract(
    classes=("Gänseblümchen", "rose, wild", '"tulip"', "木"), size=64, fit="crop", unlearned=(1,)
)


def files(contract: Contract, version: int) -> dict[str, Any]:
    names = (contract.model, contract.filters_model)
    return {
        f"{name}/{file}": digest_of(b"")
        for name in names
        for file in (f"{version}/model.onnx", "config.pbtxt")
    }


def manifest(lineage: Lineage, contract: Contract, **changes: Any) -> Manifest:
    given = dict(lineage) | {"contract": contract, "version": 7, "files": files(contract, 7)}
    return Manifest(**given | changes)


def stored(content: dict[str, Any]) -> bytes:
    """A manifest of that content with a right digest of itself, as another release would have written it."""
    dumped = (json.dumps(content, indent=2, sort_keys=True) + "\n").encode()
    signed = content | {"sha256": digest_of(dumped).sha256}
    return (json.dumps(signed, indent=2, sort_keys=True) + "\n").encode()


def content(of: Manifest) -> dict[str, Any]:
    read: dict[str, Any] = json.loads(of.to_json())
    del read["sha256"]
    return read


def layout_1(lineage: Lineage, **changes: Any) -> dict[str, Any]:
    """What a manifest said before there were contracts."""
    told = content(manifest(lineage, DEFAULT_CONTRACT))
    for newer in ("contract", "class_list", "evidence"):
        del told[newer]
    return told | {"layout": 1, "classes": list(CLASSES)} | changes


def test_the_contract_goes_through_the_manifest_unharmed(lineage: Lineage) -> None:
    made = manifest(lineage, FLOWERS, class_list=3, evidence={"splits.bin": digest_of(b"splits")})
    read = Manifest.from_json(made.to_json(), name="it")
    assert read == made
    assert (read.layout, read.contract, read.class_list) == (2, FLOWERS, 3)
    assert read.classes == FLOWERS.classes
    assert read.evidence["splits.bin"].size == 6
    assert read.to_json() == made.to_json()


def test_weights_of_others_stand_in_the_manifest_and_only_where_there_are_some(lineage: Lineage) -> None:
    """Earlier releases refuse a field that they do not know."""
    assert "pretrained" not in content(manifest(lineage, FLOWERS))
    assert "pretrained" not in json.loads(lineage.model_dump_json())
    source = Pretrained(network="efficientnet-lite0", origin="mine.pth", sha256="a" * 64)
    begun = manifest(lineage.model_copy(update={"pretrained": source}), FLOWERS)
    assert content(begun)["pretrained"] == source.model_dump()
    read = Manifest.from_json(begun.to_json(), name="it")
    assert read.pretrained == source
    assert read.to_json() == begun.to_json()
    assert json.loads(lineage_parameters(read, 7)["pretrained"]) == source.model_dump()
    assert "pretrained" not in lineage_parameters(lineage, 7)


def test_layout_1_is_the_default_contract_and_keeps_its_bytes(lineage: Lineage) -> None:
    data = stored(layout_1(lineage))
    read = Manifest.from_json(data, name="it")
    assert (read.layout, read.contract, read.class_list, read.evidence) == (1, DEFAULT_CONTRACT, 1, {})
    assert read.to_json() == data


@pytest.mark.parametrize("left_out", ["precision", "quantized_from", "classes"])
def test_a_field_that_layout_1_did_not_have_yet_is_not_added(lineage: Lineage, left_out: str) -> None:
    told = layout_1(lineage)
    del told[left_out]
    read = Manifest.from_json(stored(told), name="it")
    assert read.contract == DEFAULT_CONTRACT
    assert read.to_json() == stored(told)


def test_what_layout_1_was_made_of_is_published_in_layout_2(lineage: Lineage) -> None:
    read = Manifest.from_json(stored(layout_1(lineage)), name="it")
    again = Lineage(**{name: getattr(read, name) for name in Lineage.model_fields})
    made = Manifest(**dict(again), version=8, files=files(DEFAULT_CONTRACT, 8))
    assert (made.layout, made.contract) == (2, DEFAULT_CONTRACT)
    assert "classes" not in content(made)


@pytest.mark.parametrize(
    ("changes", "sentence"),
    [
        ({"contract": {"size": 33}}, "contract: .*'classes'.*update it"),
        ({"size": 33}, "contract: The size 33 is not offered; choose one of 32, 48, .*, 224"),
        (
            {"network": "transformer"},
            "contract: The network 'transformer' is not known here; update cnn-image",
        ),
        ({"tomorrow": 1}, "contract: This is no contract that this cnn-image knows .*tomorrow.*; update it"),
        ({"classes": ["a", "../b"]}, "contract: The class name '../b' looks like a path; rename it"),
        ({"model": "Photos!"}, "contract: The model's name 'Photos!' is no DNS label"),
    ],
)
def test_a_contract_that_cannot_be_kept_is_refused_in_its_own_words(
    lineage: Lineage, changes: dict[str, Any], sentence: str
) -> None:
    told = content(manifest(lineage, DEFAULT_CONTRACT))
    told["contract"] = changes.pop("contract", told["contract"] | changes)
    with pytest.raises(IntegrityError, match=rf"^it is refused: {sentence}[^.]*\.$"):
        Manifest.from_json(stored(told), name="it")


def test_a_lineage_from_before_contracts_is_read(lineage: Lineage) -> None:
    told = layout_1(lineage)
    for of_the_manifest in ("layout", "version", "files"):
        del told[of_the_manifest]
    assert Lineage.model_validate_json(json.dumps(told)) == lineage


def test_layout_2_with_bare_classes_is_refused(lineage: Lineage) -> None:
    told = content(manifest(lineage, FLOWERS)) | {"classes": list(CLASSES)}
    with pytest.raises(IntegrityError, match="layout 2 has no classes"):
        Manifest.from_json(stored(told), name="it")


def test_layout_1_with_a_contract_is_refused(lineage: Lineage) -> None:
    told = layout_1(lineage, contract=content(manifest(lineage, FLOWERS))["contract"], evidence={})
    with pytest.raises(IntegrityError, match="layout 1 has no contract, evidence"):
        Manifest.from_json(stored(told), name="it")


def test_the_files_are_those_of_the_contracts_model(lineage: Lineage) -> None:
    photos = Contract(model="photos")
    made = manifest(lineage, photos)
    assert made.classifier_file == "photos/7/model.onnx"
    assert made.filters_file == "photos-filters/7/model.onnx"
    with pytest.raises(ValueError, match=r"'cnn-image/.*' is no file of version 7"):
        manifest(lineage, photos, files=files(DEFAULT_CONTRACT, 7))
    left = {name: digest for name, digest in made.files.items() if name != made.filters_file}
    with pytest.raises(ValueError, match=r"does not list photos-filters/7/model\.onnx"):
        manifest(lineage, photos, files=left)


@pytest.mark.parametrize("name", ["../splits.bin", "a/b", "", ".hidden", "splits.bin\n", "Splits"])
def test_evidence_has_a_plain_name(lineage: Lineage, name: str) -> None:
    with pytest.raises(ValueError, match="evidence"):
        manifest(lineage, FLOWERS, evidence={name: digest_of(b"")})


def test_the_parameters_carry_the_contract(lineage: Lineage) -> None:
    plain = lineage_parameters(lineage, 7)
    assert plain["classes"] == "airplane,automobile,bird,cat,dog"
    assert Contract.from_json(plain["contract"]) == DEFAULT_CONTRACT
    # who splits at commas would read five classes here
    odd = lineage_parameters(lineage.model_copy(update={"contract": FLOWERS}), 7)
    assert "classes" not in odd
    assert Contract.from_json(odd["contract"]) == FLOWERS


def test_a_folder_without_a_manifest_is_told(tmp_path: Path) -> None:
    with pytest.raises(IntegrityError, match=r"There is no manifest\.json in .*; fetch the version again"):
        read_manifest(tmp_path)
