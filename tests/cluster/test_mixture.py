"""Pods of two contracts beside one another in the cluster, while clients ask in every way.

`MIXTURE_SECONDS=300` lets two of each live side by side for as long, and has 256 images a request asked too.
"""

import asyncio
import json
import os
from collections import Counter
from pathlib import Path
from typing import Any

import pytest
from cluster.kube import Namespace, run, say
from cluster.release import TWO, Release, write_values
from cluster.store import Stored, TrialStore, made_larger
from mixed_load import Due, Living, Load, few_clients, load, many_clients, until
from ways_in import BY_BYTES

from jobs.cluster.serving.rollout import SOURCE

pytestmark = [pytest.mark.cluster, pytest.mark.timeout(1200)]

MIXTURE_SECONDS = float(os.environ.get("MIXTURE_SECONDS", "0"))


def stands_beside(namespace: Namespace, version: int) -> Any:
    """A Deployment whose pods are those of the predictor, but for the version, and found as they are."""
    made = namespace.get("deployment", "cnn-image-predictor")
    pod = made["spec"]["template"]
    uri = f"{pod['metadata']['annotations'][SOURCE].rpartition('/')[0]}/{version:06d}"
    pod["metadata"]["annotations"][SOURCE] = uri
    pod["metadata"]["labels"]["beside"] = "yes"
    made["spec"]["selector"]["matchLabels"]["beside"] = "yes"
    return {
        "apiVersion": "apps/v1",
        "kind": "Deployment",
        "metadata": {"name": "beside"},
        "spec": {name: made["spec"][name] for name in ("replicas", "selector", "template")},
    }


def known_to_all(namespace: Namespace, versions: list[str]) -> bool:
    """Whether each transformer names these versions: one may find a pod seconds after the other."""
    found = []
    for pod in namespace.pods("transformer"):
        at = f"/api/v1/namespaces/{namespace.name}/pods/{pod['metadata']['name']}:8080/proxy"
        found.append(json.loads(run("kubectl", "get", "--raw", f"{at}/v2/models/cnn-image"))["versions"])
    return found == [versions] * 2


def shown(asking: Load) -> str:
    """What was answered, by way and number of images, and by version."""
    requests, images, versions = Counter[str](), Counter[int](), Counter[str]()
    for (way, count, version), right in asking.right.items():
        requests[way] += right
        images[count] += right
        versions[version] += right
    return f"{dict(requests)}, by images a request {dict(images)}, by version {dict(versions)}"


async def test_no_answer_is_wrong_while_pods_of_another_contract_take_over_and_go(
    namespace: Namespace, versions: Path, tmp_path: Path
) -> None:
    """32 pixels and five classes become 64 and ten, and back, under a load of every kind."""
    larger = made_larger(versions, tmp_path)
    serving = Release(namespace, write_values(tmp_path, TWO))
    serving.install()
    with pytest.MonkeyPatch.context() as patch:
        store = TrialStore(namespace, patch)
        store.upload(larger)
        store.promote(1)
    say("deploying version 1")
    namespace.job("first", "deploy")
    due = Due(tmp_path / "due", [Stored(larger, number) for number in (1, 3)])
    one, both = frozenset("1"), frozenset("13")
    address = namespace.outside("cnn-image", port=1)
    ways = {(way.__name__, version) for way in BY_BYTES for version in both}
    clients = many_clients if MIXTURE_SECONDS else few_clients
    async with load(serving.url, address, due, Living(one, one), ["1", "3"], clients) as asking:
        await until(lambda: asking.right_now >= {(way, "1") for way, _ in ways})
        say("two pods of version 3 beside the two of version 1")
        asking.living = Living(both, one)
        beside = json.dumps(stands_beside(namespace, 3))
        await asyncio.to_thread(namespace.kubectl, "apply", "-f", "-", stdin=beside)
        await asyncio.to_thread(namespace.kubectl, "rollout", "status", "deployment/beside", "--timeout=180s")
        await until(lambda: asyncio.to_thread(known_to_all, namespace, ["1", "3"]))
        asking.living = Living(both, both)
        await until(lambda: asking.right_now >= ways)
        asking.images.clear()
        await asyncio.sleep(MIXTURE_SECONDS)
        say(f"side by side {dict(asking.images)} images: {shown(asking)}")
        asking.living = Living(both, one)
        await asyncio.to_thread(namespace.kubectl, "delete", "deployment", "beside", "--cascade=foreground")
        asking.living = Living(both)
        asking.right_now.clear()
        say("a promotion of version 3, and back")
        await asyncio.to_thread(namespace.job, "larger", "promote", "3", "--override-gate", "a test")
        await until(lambda: asking.right_now >= ways)
        await asyncio.to_thread(namespace.job, "smaller", "rollback")
        asking.right_now.clear()
        await until(lambda: asking.right_now >= {(way, "1") for way, _ in ways})
    say(f"{asking.right.total()} answers of two contracts: {shown(asking)}; refused {dict(asking.refused)}")
    assert serving.ask().headers["X-Model-Version"] == "1"
