"""What fetching alone takes: `python -m benchmarks.scoring.fetching URL PROCESSES`.

The objects below the `s3://` prefix are brought by the client that scoring has, by as many threads of as many
processes, and thrown away. Prints seconds and processor seconds, without the start and the listing.
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
    url, processes = sys.argv[1], int(sys.argv[2])
    with tempfile.TemporaryDirectory() as scratch:
        pictures = list_source(url, Path(scratch)).pictures
    context = multiprocessing.get_context("spawn")
    barrier = context.Barrier(processes + 1)
    told = context.SimpleQueue()
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
    reader.read(pictures[:1])
    barrier.wait()
    began = _processor_seconds()
    with ThreadPoolExecutor(reader.threads) as pool:
        for (data,) in pool.map(lambda picture: reader.read([picture]), pictures):
            if not isinstance(data, bytes):
                raise TypeError(data.sentence)
    told.put(_processor_seconds() - began)


def _processor_seconds() -> float:
    used = resource.getrusage(resource.RUSAGE_SELF)
    return used.ru_utime + used.ru_stime


if __name__ == "__main__":
    main()
