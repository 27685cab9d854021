"""Ports of a service: the default's stay, another model finds its own and finds it again."""

import contextlib
import os
import socket
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest
from machine import free_port

from jobs.errors import MistakeError
from jobs.laptop import ports, processes
from jobs.laptop.serving_folder import ServingFolder, Status
from jobs.settings import Settings, load_settings

pytestmark = pytest.mark.usefixtures("home")


@pytest.fixture
def first(monkeypatch: pytest.MonkeyPatch) -> int:
    """What stands in for 8002, which may be in use here: the first of eight free ports."""
    port = free_port(8)
    monkeypatch.setattr(ports, "DEFAULT_HTTP_PORT", port)
    return port


@contextlib.contextmanager
def listening(port: int) -> Iterator[None]:
    with socket.create_server(("127.0.0.1", port)):
        yield


@contextlib.contextmanager
def announced(settings: Settings) -> Iterator[Settings]:
    """A service that has its ports, and does not listen on them yet."""
    folder = ServingFolder(settings.serving, settings.model)
    with folder.claim():
        with ports.taken(settings) as chosen:
            folder.write_status(
                Status(
                    pid=os.getpid(),
                    url=chosen.url,
                    triton_url="http://127.0.0.1:1",
                    variant="cpu-2",
                    grpc_port=chosen.transformer_grpc_port,
                )
            )
        yield chosen


def pair(settings: Settings) -> tuple[int, int]:
    with ports.taken(settings) as chosen:
        return chosen.port, chosen.transformer_grpc_port


def test_another_model_takes_the_next_pair_that_is_free(first: int) -> None:
    photos = load_settings(model="photos")
    assert pair(photos) == (first, first + 1)
    with listening(first + 1):  # gRPC's
        assert pair(load_settings(model="birds")) == (first + 2, first + 3)
        with listening(first + 2):
            assert pair(load_settings(model="signs")) == (first + 4, first + 5)


@pytest.mark.parametrize("made", ["store", "runs", "serving"])
def test_the_defaults_port_is_left_to_it_where_it_is_here(made: str, first: int, home: Path) -> None:
    photos = load_settings(model="photos")
    assert pair(photos) == (first, first + 1)
    (home / "var" / made).mkdir()  # it may be in training
    assert pair(photos) == (first + 2, first + 3)


def test_a_model_is_served_where_it_was_as_long_as_that_is_free(first: int) -> None:
    photos = load_settings(model="photos")
    with listening(first):
        assert pair(photos) == (first + 2, first + 3)
    assert pair(photos) == (first + 2, first + 3)
    with listening(first + 2):
        assert pair(photos) == (first, first + 1)
    assert pair(photos) == (first, first + 1)


def test_what_starts_beside_it_has_its_ports_already(first: int) -> None:
    with announced(load_settings(model="photos")), announced(load_settings(model="birds")) as birds:
        assert birds.port == first + 2
        assert pair(load_settings(model="signs")) == (first + 4, first + 5)
        assert ports.services(load_settings())["birds"].ports == {first + 2, first + 3}
    assert ports.services(load_settings()) == {}


def test_two_that_start_at_once_take_two_pairs(first: int) -> None:
    models = ("photos", "birds", "signs")
    chosen: list[int] = []
    ready, done = threading.Barrier(len(models)), threading.Barrier(len(models))

    def start(model: str) -> None:
        ready.wait(30)
        with announced(load_settings(model=model)) as settings:
            chosen.append(settings.port)
            done.wait(30)

    threads = [threading.Thread(target=start, args=(model,)) for model in models]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(60)
    assert sorted(chosen) == [first, first + 2, first + 4]


@pytest.mark.parametrize("model", ["cnn-image", "photos"])
def test_a_port_that_was_given_is_never_replaced(model: str, first: int) -> None:
    settings = load_settings(model=model, port=first)
    assert pair(settings) == (first, first + 1)
    with announced(load_settings(model="birds")):
        for refused in (lambda: pair(settings), lambda: ports.require_free_ports(settings)):
            with pytest.raises(MistakeError, match=f"{first}, for HTTP, is taken by .* model birds .*PORT=…"):
                refused()
    with (
        listening(first),
        pytest.raises(MistakeError, match=f"Port {first}, for HTTP, is in use .*PORT=…"),
    ):
        pair(settings)


def test_the_variable_counts_as_given(first: int, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PORT", str(first + 6))
    assert pair(load_settings(model="photos")) == (first + 6, first + 7)


def test_in_a_container_the_port_is_the_one_that_leads_there(first: int) -> None:
    settings = load_settings(model="photos", in_container=True)
    assert not ports.chooses(settings)


def test_a_port_of_grpc_that_was_given_stays(first: int) -> None:
    with listening(first):
        assert pair(load_settings(model="photos", grpc_port=first + 7)) == (first + 2, first + 7)
    with (
        listening(first + 7),
        pytest.raises(MistakeError, match=f"{first + 7}, for gRPC, is in use .*CNN_IMAGE_GRPC_PORT=…"),
    ):
        pair(load_settings(model="photos", grpc_port=first + 7))


def test_where_no_pair_is_free_the_sentence_says_what_to_do(
    first: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(ports, "_MODELS", 1)
    told = f"No pair of ports from {first} to {first + 1} is free: choose one with PORT=…"
    with listening(first), pytest.raises(MistakeError, match=told):
        pair(load_settings(model="photos"))


def test_an_address_that_is_none_of_this_machine_is_said_at_once(
    first: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    looked_up: list[str] = []
    listen = processes.listen
    monkeypatch.setattr(processes, "listen", lambda host, port: looked_up.append(host) or listen(host, port))
    with pytest.raises(MistakeError, match=r"CNN_IMAGE_HOST names 192\.0\.2\.1"):
        pair(load_settings(model="photos", host="192.0.2.1"))
    assert len(looked_up) == 1  # a name may take seconds each time
