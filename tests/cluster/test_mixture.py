"""Two pods of one contract become two of another in the cluster, while clients ask in every way."""

import asyncio
from pathlib import Path

import pytest
from cluster.kube import Namespace, say
from cluster.release import TWO, Release, write_values
from cluster.store import Stored, TrialStore, made_larger
from mixed_load import Due, Living, few_clients, load, until
from ways_in import BY_BYTES

pytestmark = [pytest.mark.cluster, pytest.mark.timeout(900)]


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
    async with load(serving.url, address, due, Living(one, one), ["1", "3"], few_clients) as asking:
        await until(lambda: asking.right_now >= {(way, "1") for way, _ in ways})
        asking.living = Living(both)
        await asyncio.to_thread(namespace.job, "larger", "promote", "3", "--override-gate", "a test")
        await until(lambda: asking.right_now >= ways)
        await asyncio.to_thread(namespace.job, "smaller", "rollback")
        asking.right_now.clear()
        await until(lambda: asking.right_now >= {(way, "1") for way, _ in ways})
    say(f"{asking.right.total()} answers of two contracts, refused {dict(asking.refused)}")
    assert serving.ask().headers["X-Model-Version"] == "1"
