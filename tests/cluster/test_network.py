"""The NetworkPolicies against the connections that pods really make.

The test cluster does not enforce policies, so what they allow is compared with what the node tracked.
"""

import os
import shutil

import pytest
from cluster.kube import CLUSTER, say
from cluster.load import Load
from cluster.network import Connection, Watch, allowed, policies
from cluster.release import EXAMPLES, Release

pytestmark = [
    pytest.mark.cluster,
    pytest.mark.timeout(900),
    pytest.mark.skipif(
        not CLUSTER.exists() or os.geteuid() != 0 or shutil.which("conntrack") is None,
        reason="needs to be root on the node, with conntrack",
    ),
]

RULES = ("minio.enabled=true", "training.enabled=false")
MADE = {
    Connection("transformer", "predictor", 8000),
    Connection("predictor", "minio", 9000),
    Connection("command", "minio", 9000),
    Connection("command", "transformer", 8080),
    Connection("command", "kubernetes", 6443),
    Connection("transformer", "dns", 53),
    Connection("predictor", "dns", 53),
    Connection("command", "dns", 53),
}


def test_pods_make_the_connections_that_the_policies_allow_and_no_others(serving: Release) -> None:
    namespace = serving.namespace
    with Watch(namespace) as watch, Load(serving.url, (EXAMPLES / "cat.jpg").read_bytes()):
        pod = namespace.pods("predictor")[0]["metadata"]["name"]
        namespace.kubectl("delete", "pod", pod)
        namespace.kubectl("rollout", "status", "deployment/cnn-image-predictor", "--timeout=180s")
        # A promotion is a Job of the template of commands.
        namespace.job("edges", "verify")
        namespace.job("edges-deploy", "deploy")
    say(f"{len(watch.seen)} kinds of connections")
    rules = policies(*RULES)
    assert [each for each in sorted(watch.seen) if not allowed(each, rules)] == []
    assert watch.seen >= MADE


def test_what_no_policy_allows_is_refused() -> None:
    rules = policies(*RULES)
    for source, target, port in (
        ("predictor", "kubernetes", 6443),
        ("transformer", "minio", 9000),
        ("command", "predictor", 8000),
        ("predictor", "transformer", 8080),
        ("minio", "elsewhere", 443),
    ):
        assert not allowed(Connection(source, target, port), rules), (source, target, port)


def test_a_scoring_reaches_the_store_and_is_reached_by_nobody() -> None:
    rules = policies(*RULES)
    assert allowed(Connection("scoring", "minio", 9000), rules)
    assert allowed(Connection("scoring", "dns", 53), rules)
    assert not allowed(Connection("transformer", "scoring", 8080), rules)
