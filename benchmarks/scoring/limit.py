"""What the cores can do at most: `python -m benchmarks.scoring.limit GRAPH PICTURES PROCESSES`.

Each process has its share of the encoded pictures in memory before the clock runs, decodes them with the
product's decoder and answers them in batches of 64 with one thread; nothing is fetched and nothing written.
Prints seconds and processor seconds, without the start.
"""

import json
import multiprocessing
import resource
import sys
import time
from pathlib import Path
from typing import Any

import numpy as np
import onnxruntime as ort

from jobs.scoring.graph import BATCH
from model.contract import INPUT_NAME, OUTPUT_NAME
from model.images.decode import decode_image


def main() -> None:
    graph, folder, processes = sys.argv[1], Path(sys.argv[2]), int(sys.argv[3])
    files = sorted(path for path in folder.rglob("*") if path.is_file())
    context = multiprocessing.get_context("spawn")
    barrier = context.Barrier(processes + 1)
    told = context.SimpleQueue()
    workers = [
        context.Process(target=_work, args=(graph, files[number::processes], barrier, told))
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


def _work(graph: str, files: list[Path], barrier: Any, told: Any) -> None:
    options = ort.SessionOptions()
    options.intra_op_num_threads = 1
    session = ort.InferenceSession(graph, options, providers=["CPUExecutionProvider"])
    size = session.get_inputs()[0].shape[1]
    pixels = np.zeros((BATCH, size, size, 3), np.uint8)
    session.run([OUTPUT_NAME], {INPUT_NAME: pixels})
    encoded = [file.read_bytes() for file in files]
    barrier.wait()
    began = _processor_seconds()
    for start in range(0, len(encoded), BATCH):
        for place, data in enumerate(encoded[start : start + BATCH]):
            pixels[place] = decode_image(data, size=size)
        session.run([OUTPUT_NAME], {INPUT_NAME: pixels[: len(encoded) - start]})
    told.put(_processor_seconds() - began)


def _processor_seconds() -> float:
    used = resource.getrusage(resource.RUSAGE_SELF)
    return used.ru_utime + used.ru_stime


if __name__ == "__main__":
    main()
