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
from typing import Any, Final

from jobs.scoring.source.listing import list_source
from jobs.scoring.source.picture import Picture
from jobs.scoring.source.readers import Files

_LONGEST_SECONDS: Final = 600


def main() -> None:
    url, processes = sys.argv[1], int(sys.argv[2])
    with tempfile.TemporaryDirectory() as scratch:
        pictures = list_source(url, Path(scratch)).pictures
    context = multiprocessing.get_context("spawn")
    barrier = context.Barrier(processes + 1)
    told = context.Queue()
    workers = [
        context.Process(target=_work, args=(pictures[number::processes], barrier, told))
        for number in range(processes)
    ]
    for worker in workers:
        worker.start()
    barrier.wait(_LONGEST_SECONDS)
    began = time.perf_counter()
    found = [told.get(timeout=_LONGEST_SECONDS) for _ in workers]
    if troubles := [one for one in found if isinstance(one, str)]:
        sys.exit(troubles[0])
    processor = sum(found)
    print(json.dumps({"seconds": time.perf_counter() - began, "processor_seconds": processor}))
    for worker in workers:
        worker.join()


def _work(pictures: list[Picture], barrier: Any, told: Any) -> None:
    reader = Files(remote=True)
    try:
        reader.read(pictures[:1])
        barrier.wait(_LONGEST_SECONDS)
        began = _processor_seconds()
        with ThreadPoolExecutor(reader.threads) as pool:
            for (data,) in pool.map(lambda picture: reader.read([picture]), pictures):
                if not isinstance(data, bytes):
                    raise TypeError(data.sentence)
        told.put(_processor_seconds() - began)
    except Exception as error:  # whatever it is, who waits is told
        told.put(str(error) or type(error).__name__)
        raise


def _processor_seconds() -> float:
    used = resource.getrusage(resource.RUSAGE_SELF)
    return used.ru_utime + used.ru_stime


if __name__ == "__main__":
    main()
