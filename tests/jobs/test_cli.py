"""The command line as scripts meet it: exit codes, one sentence on stderr, results on stdout."""

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from command_line import run, said
from machine import wait_until

from export.errors import (
    AbsentError,
    CredentialsError,
    LeaseHeldError,
    LostRaceError,
    ParityError,
    TlsError,
    UnreachableError,
)
from export.store.blobs import FolderBlobs
from export.store.lease import lease_state
from export.store.lineage import DataLineage
from export.store.versions import Store
from jobs.cli import exit_code
from jobs.errors import Exit, FaultError, LostError, MistakeError, RefusedError, ReturnedError
from jobs.gate.attached import attach_verdict
from model.contract import CLASSES
from model.data.errors import DataError

pytestmark = pytest.mark.usefixtures("home")


@pytest.mark.parametrize(
    ("error", "code"),
    [
        (MistakeError("x"), 2),
        (DataError("x"), 2),
        (AbsentError("x"), 2),
        (CredentialsError("x"), 2),
        (RefusedError("x"), 3),
        (ParityError("x"), 3),
        (LostError("x"), 4),
        (LostRaceError("x"), 4),
        (LeaseHeldError("x"), 4),
        (ReturnedError("x"), 5),
        (FaultError("x"), 69),
        (UnreachableError("x"), 69),
        (TlsError("x"), 2),
        (ValueError("x"), None),
    ],
)
def test_mistakes_and_faults_have_codes_of_their_own(error: Exception, code: int | None) -> None:
    assert exit_code(error) == code


def test_an_empty_store_is_said_and_no_error() -> None:
    for command in ("versions", "history", "deploy", "drill"):
        result = run(command)
        assert result.exit_code == 0
        assert result.stdout == ""
        assert "." in result.stderr


@pytest.mark.parametrize("command", ["info", "verify", "promote", "judge", "preflight"])
def test_an_unknown_version_is_a_mistake(command: str) -> None:
    assert "no version 7" in said(run(command, "7"), Exit.MISTAKE)


def test_a_rollback_without_a_way_back_is_a_mistake() -> None:
    assert "no way back" in said(run("rollback"), Exit.MISTAKE)


@pytest.mark.parametrize(
    ("variable", "value"), [("PORT", "http"), ("EPOCHS", "0"), ("BATCH_SIZE", "-1"), ("PORT", "70000")]
)
def test_a_variable_that_cannot_be_used_is_named(
    variable: str, value: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv(variable, value)
    sentence = said(run("retrain"), Exit.MISTAKE)
    assert variable in sentence
    assert value in sentence


def test_an_unknown_recipe_is_a_mistake() -> None:
    sentence = said(run("train", "--recipe", "fast"), Exit.MISTAKE)
    assert "--recipe is 'fast': input should be 'quick' or 'best'" in sentence


def test_a_size_that_is_not_offered_is_told_with_those_that_are() -> None:
    sentence = said(run("train", "--size", "100"), Exit.MISTAKE)
    assert sentence.startswith("--size is 100: it must be one of 32, 48, 64, 96, 128")


def test_a_sentence_names_the_values_as_they_are_written(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("CNN_IMAGE_STORE_ENCRYPTION", "aes256")
    assert "input should be 'AES256' or 'aws:kms'" in said(run("versions"), Exit.MISTAKE)


def test_data_that_is_not_there_is_a_mistake() -> None:
    assert "/nowhere" in said(run("data", "--data", "/nowhere"), Exit.MISTAKE)


def test_export_and_publish_need_a_run() -> None:
    assert "cnn-image train" in said(run("export"), Exit.MISTAKE)
    assert "'../x'" in said(run("publish", "--run", "../x"), Exit.MISTAKE)


def test_a_store_that_is_none_is_a_mistake() -> None:
    assert "ftp://x" in said(run("versions", "--store", "ftp://x"), Exit.MISTAKE)


def test_own_images_have_to_be_named_before_anything_is_downloaded(store: Store, publish: Any) -> None:
    publish(data=DataLineage(digest="d" * 64, source="photos", kind="images"))
    told = said(run("quantize", "1", "--store", store.url), Exit.MISTAKE)
    assert told == "Version 1 was made of photos: name the data with --data."


def test_a_wrong_flag_is_a_mistake() -> None:
    assert run("versions", "--no-such-flag").exit_code == Exit.MISTAKE


def test_versions_history_and_info_show_what_is_served(home: Path, store: Store, publish: Any) -> None:
    publish(), publish(precision="int8", quantized_from=1)
    store.ledger.record("promote", 1, by="ann", reason="first", after=0)
    store.ledger.record(
        "promote", 2, by="bob", reason="better than the first one, which is long to say", after=1
    )
    there = ("--store", store.url)
    lines = run("versions", *there).stdout.splitlines()
    assert [line.split()[:2] for line in lines[1:]] == [["1", "before"], ["2", "champion"]]
    assert ("float32" in lines[1], "int8 of 1" in lines[2]) == (True, True)
    listed = json.loads(run("versions", *there, "--json").stdout)
    assert [(entry["version"], entry["champion"]) for entry in listed] == [(1, False), (2, True)]
    # Where nobody looks at a terminal a row is a line, however long.
    assert run("history", *there).stdout.splitlines()[2].split(maxsplit=7)[6:] == [
        "bob",
        "better than the first one, which is long to say",
    ]
    assert json.loads(run("history", *there, "--json").stdout)[1]["previous"] == 1
    info = json.loads(run("info", "2", *there, "--json").stdout)
    assert (info["commit"], info["promotions"][0]["by"]) == ("c" * 40, "bob")
    assert info["classes"] == info["contract"]["classes"] == list(CLASSES)
    assert "served      yes" in run("info", "2", *there).stdout
    store.attach(2, "report.html", b"a page")
    assert f"attached    report.html in {store.url}/attachments/000002" in run("info", "2", *there).stdout


def test_a_version_is_found_by_what_it_was_made_from(home: Path, store: Store, publish: Any) -> None:
    publish(commit="abc" + "0" * 37, mlflow_run="5f" * 16)
    publish(commit="abc" + "1" * 37, mlflow_run=None)

    def found(origin: str) -> list[int]:
        listed = json.loads(run("versions", "--from", origin, "--store", store.url, "--json").stdout)
        return [entry["version"] for entry in listed]

    assert found("5f" * 16) == [1]
    assert found("abc") == [1, 2]
    assert found("abc1") == [2]
    assert found("d" * 64) == [1, 2]  # the data's digest
    assert found("e") == []
    assert "made by" in run("versions", "--from", "e", "--store", store.url).stderr


def test_a_version_that_was_never_judged_is_not_promoted(home: Path, store: Store, publish: Any) -> None:
    publish()
    assert "never judged" in said(run("promote", "1", "--store", store.url), Exit.MISTAKE)
    assert store.ledger.served() is None


def test_an_older_version_goes_against_the_gate_once_it_was_judged_with_the_new_decoder(
    home: Path, store: Store, publish: Any, verdict: Any, deployer: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    publish()
    deployer.live_decoder = "2"
    monkeypatch.setattr("jobs.places.open_deployer", lambda *_, **__: deployer)
    monkeypatch.setattr("jobs.pipeline.mlflow.registry.follow", lambda *_: None)
    command = ("promote", "1", "--override-gate", "why", "--store", store.url)
    refused = run(*command)
    assert refused.exit_code == Exit.MISTAKE
    assert "judged with decoder 1 and the live transformer has 2" in refused.stderr
    judged_again = verdict(1, passed=False).model_copy(update={"decoder_version": "2"})
    attach_verdict(store, judged_again, {})
    assert run(*command).exit_code == Exit.OK
    assert store.ledger.served() == 1


def test_verify_of_the_service_says_what_is_missing(home: Path, store: Store, publish: Any) -> None:
    there = ("--store", store.url)
    assert "`cnn-image retrain` makes one" in said(run("verify", *there), Exit.MISTAKE)
    publish()
    store.ledger.record("promote", 1, by="ann", reason="first", after=0)
    assert "serve version 1; `cnn-image serve` starts one" in said(run("verify", *there), Exit.MISTAKE)


def test_verify_says_what_is_broken(home: Path, store: Store, publish: Any) -> None:
    publish()
    assert "whole" in run("verify", "1", "--store", store.url).stdout
    next(Path(store.url).rglob("model.onnx")).write_bytes(b"changed")
    assert "not what was published" in said(run("verify", "1", "--store", store.url), Exit.MISTAKE)


def test_serving_and_looking_import_no_tensorflow() -> None:
    """What `cnn-image run` needs to serve a promoted version at once."""
    code = "import sys, jobs.cli, jobs.laptop.run; print([m for m in sys.modules if m in BAD])"
    heavy = {"tensorflow", "keras", "mlflow", "onnxruntime", "scipy", "boto3"}
    done = subprocess.run(
        [sys.executable, "-c", code.replace("BAD", repr(heavy))], capture_output=True, text=True, check=True
    )
    assert done.stdout.strip() == "[]"


@pytest.mark.slow  # it takes a renewal of the lease to see that its holder lives
def test_hold_keeps_a_retrain_away_until_it_is_ended(home: Path, store: Store) -> None:
    ready = home / "held"
    command = [sys.executable, "-m", "jobs.cli", "hold", "--store", store.url, "--ready", str(ready)]
    holder = subprocess.Popen(command, env={**os.environ, "PYTHONPATH": str(Path(__file__).parents[2])})
    try:
        wait_until(ready.exists, "holding the lease")
        sentence = said(run("retrain", "--data", "sample", "--store", store.url), Exit.LOST_RACE)
        assert "wait for it to end" in sentence
    finally:
        holder.terminate()
    assert holder.wait(60) == Exit.TERMINATED
    assert lease_state(store.blobs, "retrain") is None


@pytest.mark.parametrize(("flag", "resumed"), [("--promote", 1), ("--no-promote", 0)])
def test_a_first_promotion_is_resumed_but_not_where_nothing_is_to_be_served(
    flag: str, resumed: int, home: Path, publish: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    store = Store(FolderBlobs(home / "store"))
    publish()
    store.ledger.record("promote", 1, by="me", reason="why", after=0)
    calls: list[object] = []
    monkeypatch.setattr("jobs.promotion.promote.resume", lambda *places: calls.append(places))
    result = run("retrain", "--unless-promoted", flag, "--store", str(home / "store"))
    assert result.exit_code == 0, result.output
    assert "Version 1 is promoted" in result.stderr
    assert len(calls) == resumed
