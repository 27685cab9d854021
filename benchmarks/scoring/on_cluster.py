"""Scoring by pods side by side: `python -m benchmarks.scoring.on_cluster SOURCE OUT PODS …`.

For each number of PODS it starts `cnn-image score SOURCE --out OUT/PODS --on-cluster`, waits for the Job and
reads from the bucket when each shard came. The product is installed in CNN_IMAGE_NAMESPACE, with as much CPU
a pod as is to be measured; its MinIO is what AWS_ENDPOINT_URL says, for this machine. Places that hold a
result are read and not scored again. A row for each: the rate from the first shard to the last, the sum of
what the pods came to each between its own first shard and its last, which leaves their starts out, and the
seconds from the plan to the last shard.
"""

import subprocess
import sys
from collections import defaultdict
from collections.abc import Sequence
from datetime import datetime
from pathlib import Path
from typing import Any, NamedTuple
from urllib.parse import urlsplit

import boto3

from jobs.scoring.destination import shard_key
from jobs.scoring.plan import Plan
from jobs.scoring.score import shards_of


class Shard(NamedTuple):
    """A part of the table.

    Attributes:
        pod: Index of the pod whose it is.
        pictures: Rows.
        at: When it was written.
    """

    pod: int
    pictures: int
    at: datetime


def main() -> None:
    if len(sys.argv) < 4:
        sys.exit(__doc__)
    source, out = sys.argv[1], sys.argv[2].rstrip("/")
    s3 = boto3.client("s3")
    print("| pods | pictures a second, first to last shard | the pods' own, in all | plan to last shard, s |")
    print("|--:|--:|--:|--:|")
    for pods in map(int, sys.argv[3:]):
        where = f"{out}/{pods}"
        if not _objects(s3, f"{where}/_summary.json"):
            started = _run("score", source, "--out", where, "--on-cluster", "--workers", str(pods))
            _run("jobs", "wait", started.strip())
        shards, planned = _written(s3, where, pods)
        print(
            f"| {pods} | {_rate(shards):,.0f} | {_own(shards):,.0f} | {_seconds(planned, shards)} |",
            flush=True,
        )


def _run(*words: str) -> str:
    command = [str(Path(sys.executable).with_name("cnn-image")), *words]
    return subprocess.run(command, check=True, stdout=subprocess.PIPE, text=True).stdout


def _objects(s3: Any, url: str) -> dict[str, datetime]:
    """When each object whose address begins so was written."""
    parts = urlsplit(url)
    pages = s3.get_paginator("list_objects_v2").paginate(Bucket=parts.netloc, Prefix=parts.path.lstrip("/"))
    return {item["Key"]: item["LastModified"] for page in pages for item in page.get("Contents", ())}


def _written(s3: Any, where: str, pods: int) -> tuple[list[Shard], datetime]:
    """The shards of a result in the order in which they came, and when its plan was there."""
    ((key, planned),) = _objects(s3, f"{where}/_plan.json").items()
    data = s3.get_object(Bucket=urlsplit(where).netloc, Key=key)["Body"].read()
    plan = Plan.from_json(data, where)
    pod_of = {shard: pod for pod in range(pods) for shard in shards_of(plan, (pod, pods))}
    folder = key.removesuffix("_plan.json")
    written = _objects(s3, f"{where}/part-")
    shards = [
        Shard(pod_of[number], pictures, written[f"{folder}{shard_key(number)}"])
        for number, pictures in enumerate(plan.shards)
    ]
    return sorted(shards, key=lambda shard: shard.at), planned


def _rate(shards: Sequence[Shard]) -> float:
    """Pictures a second from the first shard to the last; the first one's were made before."""
    seconds = (shards[-1].at - shards[0].at).total_seconds()
    return sum(shard.pictures for shard in shards[1:]) / seconds if seconds else 0.0


def _own(shards: Sequence[Shard]) -> float:
    """The sum of each pod's rate, between its own first shard and its last."""
    pods = defaultdict(list)
    for shard in shards:
        pods[shard.pod].append(shard)
    return sum(map(_rate, pods.values()))


def _seconds(planned: datetime, shards: Sequence[Shard]) -> str:
    return f"{(shards[-1].at - planned).total_seconds():,.0f}"


if __name__ == "__main__":
    main()
