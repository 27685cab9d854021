"""What a plan of many pictures takes: `python -m benchmarks.scoring.planning FOLDER COUNT`.

FOLDER gets COUNT names in folders of a thousand, hard links to an empty file for each hundred of them (unless
they are there), which are listed; then as many keys of a bucket, a thousand in a folder and a folder each, by
a listing that is made up here, so that neither an S3 nor its client is in it. A row each: processor seconds
of listing and of planning, and the anonymous memory (RssAnon) of the process at its most, after planning, and
when the list is let go as it is before the scoring begins. Each is measured in a process of its own.
"""

import multiprocessing
import os
import resource
import sys
import threading
from collections.abc import Callable
from pathlib import Path
from typing import Any, Final
from unittest import mock

from benchmarks.scoring.watched import anonymous_memory

_A_FOLDER: Final = 1000
_LINKS: Final = 100
_LOOK_SECONDS: Final = 0.02


def main() -> None:
    if len(sys.argv) != 3:
        sys.exit(__doc__)
    folder, count = Path(sys.argv[1]).absolute(), int(sys.argv[2])
    _fill(folder, count)
    print("| | listing, s | planning, s | most, MB | then, MB | as the scoring begins, MB | the list, MB |")
    print("|---|--:|--:|--:|--:|--:|--:|")
    context = multiprocessing.get_context("spawn")
    sources: list[tuple[str, Callable[..., str], tuple[Any, ...]]] = [
        ("files", _files, (str(folder),)),
        ("keys, a thousand in a folder", _keys, (count, _A_FOLDER)),
        ("keys, a folder each", _keys, (count, 1)),
    ]
    for name, row, arguments in sources:
        with context.Pool(1) as pool:
            print(f"| {count:,} {name} | {pool.apply(row, arguments)} |", flush=True)


def _fill(folder: Path, count: int) -> None:
    for number in range(count):
        path = folder / f"{number // _A_FOLDER:03}" / f"{number:07}.jpg"
        if path.exists():
            continue
        path.parent.mkdir(parents=True, exist_ok=True)
        first = number // _LINKS * _LINKS
        if number == first:
            path.touch()
        else:
            os.link(folder / f"{first // _A_FOLDER:03}" / f"{first:07}.jpg", path)


def _files(folder: str) -> str:
    return _planned(folder)


def _keys(count: int, a_folder: int) -> str:
    from model.data.remote import s3_data
    from model.data.remote.s3_listed import Listed

    objects = {
        f"p/{number // a_folder:07}/{number:07}.jpg": Listed(900, f"{number:032x}") for number in range(count)
    }
    address = mock.Mock(is_object=False, bucket="b", prefix="p/", objects=objects)
    del objects
    with mock.patch.object(s3_data, "look", return_value=address):
        return _planned("s3://b/p")


def _planned(source: str) -> str:
    from jobs.scoring.choice import chosen
    from jobs.scoring.plan import Request, cut, write_list
    from jobs.scoring.source.listing import list_source

    most, ended = [0], threading.Event()

    def look() -> None:
        while not ended.wait(_LOOK_SECONDS):
            most[0] = max(most[0], anonymous_memory(os.getpid()))

    threading.Thread(target=look, daemon=True).start()
    began = _processor_seconds()
    listing = list_source(source, Path("/"))
    listed = _processor_seconds()
    pictures = chosen(listing.pictures, Request(source=source))
    content = write_list(pictures, cut(pictures))
    planned, then = _processor_seconds(), anonymous_memory(os.getpid())
    ended.set()
    del listing, pictures
    left = anonymous_memory(os.getpid())
    sizes = (most[0], then, left, len(content))
    return f"{listed - began:.1f} | {planned - listed:.1f} | " + " | ".join(f"{n / 1e6:,.0f}" for n in sizes)


def _processor_seconds() -> float:
    used = resource.getrusage(resource.RUSAGE_SELF)
    return used.ru_utime + used.ru_stime


if __name__ == "__main__":
    main()
