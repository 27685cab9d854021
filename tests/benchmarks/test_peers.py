"""Beside other servers: the environments, the envelope and the tables."""

import re
from pathlib import Path

import pytest

from benchmarks.competitors.model import images
from benchmarks.peers import environments, report
from benchmarks.peers.rounds import Measured
from benchmarks.peers.settings import NAMES, SETUPS
from benchmarks.serving.payloads import length_prefixed
from benchmarks.serving.photographs import small_images

REQUIREMENTS = Path("benchmarks/peers/requirements")


def pins(path: Path) -> dict[str, str]:
    return dict(re.findall(r"^([\w.-]+)==([\w.+]+)", path.read_text(), re.MULTILINE))


@pytest.mark.parametrize("peer", environments.PEERS)
def test_a_peers_pins_have_what_our_decoder_and_the_network_need(peer: str) -> None:
    asked, all_of_it = pins(REQUIREMENTS / f"{peer}.in"), pins(REQUIREMENTS / f"{peer}.txt")
    assert {"onnxruntime", "numpy", "pillow", "simplejpeg"} <= asked.keys()
    assert asked.items() <= all_of_it.items()
    assert environments.version(peer) == all_of_it[peer]


def test_pins_of_other_versions_than_the_products_are_told(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "mosec.in").write_text("mosec\nnumpy==1.0\n")
    monkeypatch.setattr(environments, "_REQUIREMENTS", tmp_path)
    with pytest.raises(environments.InstallError, match=r"mosec\.in pins numpy 1\.0, this product has "):
        environments.python("mosec")


def test_every_peer_has_a_setup_and_each_its_own_words() -> None:
    assert set(SETUPS) == set(NAMES) == {"fastapi", *environments.PEERS}
    for setups in SETUPS.values():
        assert len({setup.title for setup in setups}) == len(setups)


def test_a_request_carries_one_image_as_it_is_or_several_after_their_lengths() -> None:
    pictures = small_images(3)
    assert images(pictures[0]) == pictures[:1]
    assert images(length_prefixed(pictures)) == pictures


def test_who_came_later_is_held_against_ours_of_the_same_rounds(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def measured(contender: str, number: int, rate: float, cpu: float) -> Measured:
        return Measured(contender, contender, "32", number, rate, 1.0, 2.0, cpu)

    monkeypatch.setattr(report, "RESULTS", tmp_path)
    found = [
        measured("ours-int8", 0, 1000, 100),
        measured("ours-int8", 1, 400, 200),
        measured("mosec", 0, 500, 300),
        measured("ray", 1, 100, 1000),
    ]
    report.keep("small", {"32": "many"}, found, "Small. About it.")
    assert report.kept("small") == found
    rows = [row for row in (tmp_path / "peers.md").read_text().splitlines() if row.startswith("| ")]
    assert rows[1:] == [
        "| ours-int8 | 700 | – | 150 | – | 1.0 | 2.0 | 2 |",
        "| mosec | 500 | 2.00 (2.00–2.00) | 300 | 3.00 (3.00–3.00) | 1.0 | 2.0 | 1 |",
        "| ray | 100 | 4.00 (4.00–4.00) | 1,000 | 5.00 (5.00–5.00) | 1.0 | 2.0 | 1 |",
    ]
