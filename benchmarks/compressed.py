"""What a compressed body costs: 32 pictures a request, plain and in gzip, in turns.

    .venv/bin/python -m benchmarks.compressed http://127.0.0.1:8002

The time of a whole request at one connection, as the client sees it, without compressing; the median of each,
and of the rounds' ratios.
"""

import base64
import gzip
import json
import statistics
import sys
import time

import httpx

from benchmarks.serving.photographs import small_images

ROUNDS = 300


def bodies() -> dict[str, tuple[bytes, dict[str, str]]]:
    """32 pictures as v2 has them, by name: in JSON, and with the binary extension."""
    pictures = small_images(32)
    tensor = {"name": "image", "datatype": "BYTES", "shape": [32]}
    texts = [base64.b64encode(picture).decode() for picture in pictures]
    raw = b"".join(len(picture).to_bytes(4, "little") + picture for picture in pictures)
    head = json.dumps({"inputs": [tensor | {"parameters": {"binary_data_size": len(raw)}}]}).encode()
    length = {"Inference-Header-Content-Length": str(len(head))}
    return {
        "JSON": (json.dumps({"inputs": [tensor | {"data": texts}]}).encode(), {}),
        "binary": (head + raw, length),
    }


def main(address: str) -> None:
    with httpx.Client(base_url=address, timeout=60) as client:
        (model,) = client.get("/v1/models").json()["models"]
        for name, (plain, headers) in bodies().items():
            folded = gzip.compress(plain)
            sent = ((plain, headers), (folded, headers | {"Content-Encoding": "gzip"}))
            times: list[tuple[float, float]] = []
            for _ in range(ROUNDS):
                took = []
                for content, more in sent:
                    started = time.perf_counter()
                    client.post(f"/v2/models/{model}/infer", content=content, headers=more).raise_for_status()
                    took.append(time.perf_counter() - started)
                times.append((took[0], took[1]))
            ordinary, compressed = (statistics.median(each) * 1000 for each in zip(*times, strict=True))
            ratio = statistics.median(after / before for before, after in times)
            print(
                f"{name}: {len(plain):,} bytes {ordinary:.2f} ms, in gzip {len(folded):,} bytes "
                f"{compressed:.2f} ms; {ratio:.2f} times as long"
            )


if __name__ == "__main__":
    main(sys.argv[1])
