"""Kubernetes where nothing answers, or where the proxy on the way to it does not."""

import re

import pytest
from kubernetes import client

from jobs.cluster.client import Kubernetes, through_proxy
from jobs.errors import FaultError, MistakeError


def cluster(address: str) -> Kubernetes:
    return Kubernetes("default", through_proxy(client.Configuration(host=address)), model="cnn-image")


@pytest.mark.parametrize("scheme", ["http", "https"])
@pytest.mark.parametrize(
    "proxy", ["http://me:secret@127.0.0.1:9", "127.0.0.1:9", "socks5h://127.0.0.1:9", "socks://127.0.0.1:9"]
)
def test_a_proxy_that_is_away_is_a_mistake(scheme: str, proxy: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(f"{scheme}_proxy", proxy)
    monkeypatch.delenv("NO_PROXY", raising=False)
    monkeypatch.delenv("no_proxy", raising=False)
    with pytest.raises(MistakeError) as raised:
        cluster(f"{scheme}://k8s.example:6443").get("jobs", "train")
    given = re.split(r"[.:]", proxy)[0]
    kind = {"127": "http", "socks": "socks5"}.get(given, given)
    assert re.fullmatch(
        rf"The proxy {kind}://127\.0\.0\.1:9 on the way to Kubernetes at {scheme}://k8s\.example:6443 "
        r"cannot be used \(.*Connection refused\): correct or unset .*, or add k8s\.example to NO_PROXY\.",
        str(raised.value),
    )


def test_a_cluster_that_is_away_is_a_fault_though_others_have_a_proxy(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setenv("http_proxy", "http://127.0.0.1:9")
    monkeypatch.setenv("no_proxy", "127.0.0.0/8")
    with pytest.raises(
        FaultError, match=r"at http://127.0.0.1:9 does not answer \(Failed to .* refused\); check"
    ):
        cluster("http://127.0.0.1:9").get("jobs", "train")


def test_a_proxy_of_an_unknown_kind_is_a_mistake(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("http_proxy", "ftp://127.0.0.1:9")
    with pytest.raises(MistakeError, match=r"names no proxy that can be used on the way to Kubernetes at"):
        cluster("http://k8s.example:6443")
