"""What atheris runs, in a process of its own: `python tests/fuzz_targets.py decode|routes FOLDER -max_…`.

A target takes any bytes and raises only what it promises; everything else is a find, and libFuzzer writes the
bytes that caused it beside `-artifact_prefix`. Finds belong into the corpus folders; tests go through them.

The limit on memory is checked here: libFuzzer's own reads a peak that a process inherits from its parent, and
a pytest that has trained networks is large.
"""

import re
import sys
from pathlib import Path

import atheris

sys.path[:0] = [str(Path(__file__).parent.parent), str(Path(__file__).parent.parent / "kserve")]

with atheris.instrument_imports(include=["model", "image_transformer"]):
    from image_transformer.codecs.predict import uploaded
    from image_transformer.codecs.v1 import v1_request
    from image_transformer.codecs.v2 import parse_json, parse_request
    from image_transformer.errors import ServiceError
    from model.images.decode import decode_image
    from model.images.errors import ImageError
    from model.images.limits import LIMITS, Limit


MEMORY_LIMIT_KB = 512 * 1024
PEAK = re.compile(r"VmHWM:\s+(\d+) kB")


def within_memory() -> None:
    peak = PEAK.search(Path("/proc/self/status").read_text())
    if peak and int(peak[1]) > MEMORY_LIMIT_KB:
        raise AssertionError(f"the process grew to {int(peak[1]) // 1024} MiB")


def decode(data: bytes) -> None:
    """The decoder gives pixels, or says what is wrong."""
    try:
        pixels = decode_image(data, limits=dict.fromkeys(LIMITS, Limit(1_000_000, 1_000_000)))
    except ImageError:
        within_memory()
        return
    within_memory()
    if pixels.shape != (32, 32, 3):
        raise AssertionError(f"pixels of shape {pixels.shape}")


def routes(data: bytes) -> None:
    """The codecs give images, or say what is wrong; the first byte chooses the route."""
    kind, body = data[:1], data[1:]
    try:
        if kind < b"\x40":
            uploaded("multipart/form-data; boundary=b", body, 8)
        elif kind < b"\x80":
            v1_request(parse_json(body), 8)
        elif kind < b"\xc0":
            parse_request(body, None, None, 8)
        else:
            head = body.find(b"}]}") + 3
            parse_request(body, str(head), None, 8)
    except ServiceError as error:
        if error.failure.http >= 500:
            raise
    within_memory()


def main() -> None:
    target = {"decode": decode, "routes": routes}[sys.argv.pop(1)]
    atheris.Setup(sys.argv, target)
    atheris.Fuzz()


if __name__ == "__main__":
    main()
