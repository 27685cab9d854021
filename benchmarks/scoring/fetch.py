"""What an S3 gives at most: `python -m benchmarks.scoring.fetch s3://BUCKET/PREFIX PROCESSES`.

Each process fetches its share of the objects by the product's own client, as many side by side as a worker
of `cnn-image score` does, and throws them away: nothing is decoded and nothing written. Prints seconds and
processor seconds, without the start and the listing.
"""

import json
import multiprocessing
import resource
import sys
import tempfile
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

from jobs.scoring.source.listing import list_source
from jobs.scoring.source.picture import Picture
from jobs.scoring.source.readers import Files


def main() -> None:
    source, processes = sys.argv[1], int(sys.argv[2])
    with tempfile.TemporaryDirectory() as scratch:
        pictures = list_source(source, Path(scratch)).pictures
    context = multiprocessing.get_context("spawn")
    barrier, told = context.Barrier(processes + 1), context.SimpleQueue()
    workers = [
        context.Process(target=_work, args=(pictures[number::processes], barrier, told))
        for number in range(processes)
    ]
    for worker in workers:
        worker.start()
    barrier.wait()
    began = time.perf_counter()
    processor = sum(told.get() for _ in workers)
    print(json.dumps({"seconds": time.perf_counter() - began, "processor_seconds": processor}))
    for worker in workers:
        worker.join()


def _work(pictures: list[Picture], barrier: Any, told: Any) -> None:
    reader = Files(remote=True)
    with ThreadPoolExecutor(reader.threads) as pool:
        list(pool.map(lambda picture: reader.read([picture]), pictures[: reader.threads]))
        barrier.wait()
        began = _processor_seconds()
        for (data,) in pool.map(lambda picture: reader.read([picture]), pictures):
            if not isinstance(data, bytes):
                raise TypeError(data)
        told.put(_processor_seconds() - began)


def _processor_seconds() -> float:
    used = resource.getrusage(resource.RUSAGE_SELF)
    return used.ru_utime + used.ru_stime


if __name__ == "__main__":
    main()
