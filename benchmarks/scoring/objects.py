"""obstore beside boto3 on many small objects: `python -m benchmarks.scoring.objects s3://BUCKET/PREFIX`.

The S3 is that of AWS_ENDPOINT_URL, with the credentials of the environment; N objects of 900 bytes are put
below PREFIX/N, which has nothing else whatever else the prefix has, unless they are there. Listing, by one
thread: obstore, boto3, this product, and a bare client that sends ListObjectsV2 over one connection and picks
the keys out of the answer. Fetching: obstore with threads and with asyncio, boto3 with threads, each with
several numbers of requests side by side, of which the best counts. Objects a second, and processor time of
this process an object; in turns, `--rounds` times. The server's own time is not counted, and it takes the
same cores.
"""

import argparse
import asyncio
import http.client
import os
import re
import resource
import statistics
import sys
import tempfile
import time
import urllib.parse
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any, Final

import boto3
import obstore
from botocore.auth import SigV4Auth
from botocore.awsrequest import AWSRequest
from botocore.config import Config
from botocore.credentials import Credentials
from obstore.store import S3Store

_BYTES: Final = 900
_SIDE_BY_SIDE: Final = (8, 16, 32, 64)
_TRIED: Final = 1_000

Job = Callable[[], int]
"""Does something to objects, and tells to how many."""


class Place:
    """A prefix of a bucket, and clients of both libraries for it."""

    def __init__(self, url: str, count: int) -> None:
        self.url = f"{url.rstrip('/')}/{count}"
        self.bucket, _, self.prefix = self.url.removeprefix("s3://").partition("/")
        self.store = S3Store(
            self.bucket,
            endpoint=os.environ["AWS_ENDPOINT_URL"],
            region=os.environ["AWS_REGION"],
            client_options={"allow_http": True},
            virtual_hosted_style_request=False,
        )

    def client(self, connections: int) -> Any:
        """A client of boto3."""
        return boto3.client(
            "s3", config=Config(max_pool_connections=connections, s3={"addressing_style": "path"})
        )

    def fill(self, count: int) -> list[str]:
        """Put objects there, or those that are missing; gives their keys."""
        keys = [f"{self.prefix}/{number // 1000:03}/{number:07}.jpg" for number in range(count)]
        there = {found["path"] for page in obstore.list(self.store, self.prefix) for found in page}
        if foreign := there - set(keys):
            sys.exit(f"{self.url} holds other objects ({min(foreign)}); name another prefix.")
        if missing := [key for key in keys if key not in there]:
            body = os.urandom(_BYTES)
            with ThreadPoolExecutor(32) as pool:
                list(pool.map(lambda key: obstore.put(self.store, key, body), missing))
        return keys

    def by_obstore(self) -> int:
        return sum(len(page) for page in obstore.list(self.store, self.prefix))

    def by_boto3(self) -> int:
        pages = self.client(1).get_paginator("list_objects_v2")
        found = 0
        for page in pages.paginate(Bucket=self.bucket, Prefix=f"{self.prefix}/"):
            found += len([(item["Key"], item["Size"], item["ETag"]) for item in page.get("Contents", ())])
        return found

    def by_product(self) -> int:
        from model.data.remote.s3_data import look

        return len(look(f"{self.url}/").objects)

    def by_product_as_pictures(self) -> int:
        from jobs.scoring.source.listing import list_source

        with tempfile.TemporaryDirectory() as scratch:
            return len(list_source(self.url, Path(scratch)).pictures)

    def bare(self) -> int:
        """ListObjectsV2 as cheaply as Python does it."""
        url = urllib.parse.urlsplit(os.environ["AWS_ENDPOINT_URL"])
        line = http.client.HTTPConnection(str(url.hostname), url.port)
        secret = Credentials(os.environ["AWS_ACCESS_KEY_ID"], os.environ["AWS_SECRET_ACCESS_KEY"])
        signer = SigV4Auth(secret, "s3", os.environ["AWS_REGION"])
        token, found = b"", 0
        while True:
            query = {"list-type": "2", "max-keys": "1000", "prefix": f"{self.prefix}/"}
            if token:
                query["continuation-token"] = token.decode()
            text = urllib.parse.urlencode(sorted(query.items()), quote_via=urllib.parse.quote, safe="")
            request = AWSRequest("GET", f"{url.scheme}://{url.netloc}/{self.bucket}?{text}")
            request.headers["x-amz-content-sha256"] = "UNSIGNED-PAYLOAD"
            signer.add_auth(request)
            line.request("GET", f"/{self.bucket}?{text}", headers=dict(request.headers.items()))
            body = line.getresponse().read()
            found += len(re.findall(rb"<Key>([^<]*)</Key>.*?<ETag>([^<]*)</ETag><Size>(\d+)</Size>", body))
            more = re.search(rb"<NextContinuationToken>([^<]*)<", body)
            if more is None:
                return found
            token = more[1]

    def fetched_by_obstore(self, keys: Sequence[str], side_by_side: int) -> int:
        with ThreadPoolExecutor(side_by_side) as pool:
            return sum(pool.map(lambda key: len(obstore.get(self.store, key).bytes()) == _BYTES, keys))

    def fetched_by_obstore_async(self, keys: Sequence[str], side_by_side: int) -> int:
        async def fetch() -> int:
            left, found = iter(keys), 0

            async def one() -> None:
                nonlocal found
                for key in left:
                    data = await (await obstore.get_async(self.store, key)).bytes_async()
                    found += len(data) == _BYTES

            await asyncio.gather(*(one() for _ in range(side_by_side)))
            return found

        return asyncio.run(fetch())

    def fetched_by_boto3(self, keys: Sequence[str], side_by_side: int) -> int:
        client = self.client(side_by_side)

        def one(key: str) -> bool:
            return len(client.get_object(Bucket=self.bucket, Key=key)["Body"].read()) == _BYTES

        with ThreadPoolExecutor(side_by_side) as pool:
            return sum(pool.map(one, keys))


def timed(job: Job, count: int) -> tuple[float, float]:
    """Objects a second, and processor time of this process an object, µs."""
    began, used = time.perf_counter(), _processor_seconds()
    if (done := job()) != count:
        raise ValueError(f"{done} of {count} objects")
    return count / (time.perf_counter() - began), (_processor_seconds() - used) / count * 1e6


def _processor_seconds() -> float:
    used = resource.getrusage(resource.RUSAGE_SELF)
    return used.ru_utime + used.ru_stime


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("url")
    parser.add_argument("--objects", type=int, default=100_000)
    parser.add_argument("--fetched", type=int, help="fetch so many of them alone")
    parser.add_argument("--only", default="", help="what the names of the lines begin with: list, fetch")
    parser.add_argument("--rounds", type=int, default=3)
    asked = parser.parse_args()
    place = Place(asked.url, asked.objects)
    keys = place.fill(asked.objects)
    some, tried = keys[: asked.fetched], keys[:_TRIED]
    fetchers = {
        "obstore, threads": place.fetched_by_obstore,
        "obstore, asyncio": place.fetched_by_obstore_async,
        "boto3, threads": place.fetched_by_boto3,
    }
    jobs: dict[str, Job] = {
        "list: a bare client": place.bare,
        "list: obstore": place.by_obstore,
        "list: boto3": place.by_boto3,
        "list: the product's `look`": place.by_product,
        "list: `cnn-image score`, as pictures": place.by_product_as_pictures,
    }
    for name, fetch in fetchers.items():
        # Called within this turn (B023); a lambda's defaults have no types.
        if not f"fetch: {name}".startswith(asked.only):
            continue
        best = max(_SIDE_BY_SIDE, key=lambda many: timed(lambda: fetch(tried, many), len(tried))[0])  # noqa: B023
        jobs[f"fetch: {name}, {best} side by side"] = lambda fetch=fetch, best=best: fetch(some, best)  # type: ignore[misc]
    found: dict[str, list[tuple[float, float]]] = {name: [] for name in jobs if name.startswith(asked.only)}
    for _ in range(asked.rounds):
        for name, figures in found.items():
            figures.append(timed(jobs[name], len(some if name.startswith("fetch") else keys)))
            print(f"{name}: {figures[-1][0]:,.0f} a second, {figures[-1][1]:,.1f} µs", flush=True)
    print("| | objects a second | processor time an object, µs |\n|---|--:|--:|")
    for name, figures in found.items():
        rates, costs = zip(*figures, strict=True)
        print(f"| {name} | {_spread(rates, 0)} | {_spread(costs, 1)} |")


def _spread(values: Sequence[float], digits: int) -> str:
    middle, low, high = (
        f"{value:,.{digits}f}" for value in (statistics.median(values), min(values), max(values))
    )
    return f"{middle} ({low}–{high})"


if __name__ == "__main__":
    main()
