"""Two pods of each of two versions side by side under a load of every kind, then those of one go.

`MIXTURE_SECONDS=300` lets each pair live for as long, and `--log-cli-level=INFO` says what was seen.
"""

import asyncio
import itertools
import logging
import os
import time
from collections import Counter
from pathlib import Path

import pytest
from kserve.protocol.grpc import grpc_predict_v2_pb2 as pb
from machine import free_port
from mixed_load import COUNTS, Due, Living, Load, load, until
from named_pods import Pods, asked, told_to_end
from other_contracts import CROPPED, SEVEN, STRETCHED
from prometheus_client.parser import text_string_to_metric_families
from serving import RunningTriton, SmallModel, StartTransformer, StartTriton
from ways_in import BY_BYTES

pytestmark = pytest.mark.slow

log = logging.getLogger(__name__)

MIXTURE_SECONDS = float(os.environ.get("MIXTURE_SECONDS", "0"))
EVERY_WAY = [way.__name__ for way in BY_BYTES]


async def listed(asking: Load) -> list[str]:
    """The versions that v2 says are served, over REST and gRPC, and /info."""
    over_rest = (await asking.clients.http.get("/v2/models/cnn-image")).json()["versions"]
    metadata = await asking.clients.grpc.ModelMetadata(pb.ModelMetadataRequest(name="cnn-image"))
    info = (await asking.clients.http.get("/info")).json()["versions"]
    return over_rest if over_rest == list(metadata.versions) == info else []


async def lives(asking: Load, *models: SmallModel, seconds: float = 0) -> None:
    """Waits until these are served, and each has answered by every way, and every number of images."""
    versions = frozenset(str(model.version) for model in models)

    async def alone() -> bool:
        return await listed(asking) == sorted(versions)

    await until(alone)
    asking.living = Living(versions, versions)
    asking.images.clear()
    asking.right_now.clear()
    ends = time.monotonic() + seconds
    due = {(kind, version) for version in versions for kind in (*EVERY_WAY, *COUNTS)}
    await until(lambda: asking.right_now >= due)
    await asyncio.sleep(ends - time.monotonic())


async def counted(asking: Load) -> None:
    """Prometheus is told the same: images by version, and no request failed but those that had to."""
    right = Counter(dict.fromkeys(asking.due.models, 0))
    for (_, count, version), requests in asking.right.items():
        right[version] += count * requests
    text = (await asking.clients.http.get("/metrics")).text
    images: dict[str, float] = {}
    for family in text_string_to_metric_families(text):
        for sample in family.samples:
            if sample.name == "cnn_image_images_total":
                images[sample.labels["version"]] = sample.value
            if sample.name == "cnn_image_requests_total" and sample.labels["route"] != "/health":
                assert sample.labels["status"] in {"200", "404", "422"}, sample
    assert all(images.get(version, 0) >= right[version] for version in right), (images, right)


async def replaced(
    asking: Load, pods: Pods, old: list[RunningTriton], *models: SmallModel
) -> list[RunningTriton]:
    """Two pods of another version come, live beside those of the one, and the first two go; what came."""
    before, after = models
    gone, come = str(before.version), str(after.version)
    asking.living = Living(frozenset({gone, come}), frozenset({gone}))
    new = await asyncio.to_thread(pods.start, after, after)
    await lives(asking, before, after, seconds=MIXTURE_SECONDS)
    log.info("side by side: %s", dict(asking.images))
    share = asking.images[come] / asking.images.total()
    assert 0.25 < share < 0.75, f"two pods of each share {asking.images} images"
    asking.living = Living(frozenset({gone, come}), frozenset({come}))
    drained, crashed = old
    pods.leave(drained)
    await until(lambda: not asked(drained))
    told_to_end(drained)
    crashed.process.kill()
    await asyncio.to_thread(crashed.process.wait)
    pods.leave(crashed)
    await lives(asking, after)
    return new


async def test_versions_of_other_contracts_side_by_side(
    start_triton: StartTriton, start_transformer: StartTransformer, tmp_path: Path
) -> None:
    """32 pixels and five classes, 64 and ten, another fit and another order of the classes, and back."""
    due = Due(tmp_path / "graphs", (SEVEN, STRETCHED, CROPPED))
    pods = Pods(tmp_path, start_triton, free_port())
    now = pods.start(SEVEN, SEVEN)
    # However slow the machine is that has all this to do: nothing may fail, for whatever reason.
    transformer = pods.transformer(start_transformer, queue_seconds=60, triton_seconds=60)
    walk = (SEVEN, STRETCHED, CROPPED, SEVEN)
    seven = frozenset({"7"})
    async with load(
        transformer.url, transformer.grpc_address, due, Living(seven, seven), sorted(due.models)
    ) as asking:
        await lives(asking, SEVEN)
        for before, after in itertools.pairwise(walk):
            now = await replaced(asking, pods, now, before, after)
        await counted(asking)
    log.info(
        "%d requests of %d images; by version %s; refused as they have to be %s",
        *(asking.right.total(), sum(count * right for (_, count, _), right in asking.right.items())),
        *(
            {
                version: sum(n for (_, _, v), n in asking.right.items() if v == version)
                for version in due.models
            },
        ),
        dict(asking.refused),
    )


async def test_switches_that_meet(
    start_triton: StartTriton, start_transformer: StartTransformer, tmp_path: Path
) -> None:
    """Two pods whose versions are replaced in place, one by one, before the one before has been noticed."""
    due = Due(tmp_path / "graphs", (SEVEN, STRETCHED, CROPPED))
    pods = Pods(tmp_path, start_triton, free_port())
    first, second = pods.start(SEVEN, SEVEN)
    transformer = pods.transformer(start_transformer, queue_seconds=60, triton_seconds=60)
    seven = frozenset({"7"})
    async with load(transformer.url, transformer.grpc_address, due, Living(seven, seven), ["8"]) as asking:
        await lives(asking, SEVEN)
        asking.living = Living(frozenset(due.models))
        walk = (
            (first, STRETCHED),
            (second, CROPPED),
            (first, SEVEN),
            (first, STRETCHED),
            (second, STRETCHED),
        )
        for pod, model in walk:
            await asyncio.to_thread(pods.change, pod, model)
        await lives(asking, STRETCHED)
        await counted(asking)
