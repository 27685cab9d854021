"""Scoring speed, side by side: `python -m benchmarks.scoring KIND STORE FOLDER [--peers PYTHON] …`.

KIND of pictures is 900-bytes, 100-kB or 12-megapixels; STORE has a promoted version; FOLDER gets the
pictures as files, in a Parquet and in a tar, and the tables. With `--remote s3://BUCKET/PREFIX` they are
put there, too, and scored from there (AWS_ENDPOINT_URL and credentials in the environment). Of each
contender: pictures a second and processor time a picture of all its processes, which other work on the
machine disturbs less, once from its start to its table and once without its start, which a run of few
pictures tells; and whether it answers as ours does. In turns, `--rounds` times; the table is printed for
`benchmarks/results/scoring.md`.
"""

import argparse
import contextlib
import os
import shutil
import sys
from collections.abc import Iterator
from pathlib import Path

import psutil  # type: ignore[import-untyped] # its stubs are a package of their own

from benchmarks.scoring.answers import Answers, compare, read_answers
from benchmarks.scoring.contenders import FETCH, LIMIT, OURS, Stage, line_up
from benchmarks.scoring.pictures import KINDS, make, upload
from benchmarks.scoring.report import Found, table
from benchmarks.scoring.watched import FailedError
from benchmarks.serving.services import Service, free_ports
from export.store.versions import open_store


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("kind", choices=KINDS)
    parser.add_argument("store")
    parser.add_argument("folder", type=Path)
    parser.add_argument("--peers", help="a Python that has ray[data], daft, onnxruntime and Pillow")
    parser.add_argument(
        "--torch", help="a Python that has torch, onnxruntime, Pillow, simplejpeg, s3torchconnector"
    )
    parser.add_argument("--remote", help="an s3:// prefix for the same pictures")
    parser.add_argument("--service", action="store_true", help="a loop over /predict, too")
    parser.add_argument("--only", action="append", help="contenders whose names have this in them")
    parser.add_argument("--count", type=int, help="so many pictures in place of the kind's own number")
    parser.add_argument("--rounds", type=int, default=3)
    asked = parser.parse_args()
    folder = asked.folder.absolute() / asked.kind
    folder.mkdir(parents=True, exist_ok=True)
    kind = KINDS[asked.kind]
    kind = kind._replace(pictures=asked.count or kind.pictures)
    if kind.pictures <= kind.few:
        sys.exit(f"--count must be more than {kind.few}, the pictures whose run tells what a start takes.")
    names = make(kind, folder)
    if asked.remote:
        asked.remote = f"{asked.remote}/{asked.kind}"
        upload(folder, kind.few, names, asked.remote)
    store = open_store(str(Path(asked.store).absolute()))
    number = store.ledger.served()
    if number is None:
        sys.exit(f"{store.url} has no promoted version")
    shutil.rmtree(folder / "version", ignore_errors=True)
    version = store.fetch(number, folder / "version")
    model = store.manifest(number).contract.model
    graph = version / store.manifest(number).classifier_file
    with contextlib.ExitStack() as stack:
        stage = Stage(
            folder,
            store.url,
            model,
            graph,
            len(os.sched_getaffinity(0)),
            asked.peers,
            asked.torch,
            asked.remote,
            stack.enter_context(served(version, model, folder / "log")) if asked.service else None,
        )
        found = measure(stage, kind.few, names, asked.rounds, asked.only or [""])
    print(table(found, len(names)))


def measure(
    stage: Stage, few_pictures: int, names: list[str], rounds: int, only: list[str]
) -> dict[str, Found]:
    """Have everyone run in turns."""
    contenders = {
        name: run
        for name, run in line_up(stage).items()
        if name == f"{OURS}, files" or any(part in name for part in only)
    }
    found = {name: Found(few_pictures) for name in contenders}
    ours: Answers = {}
    for round_number in range(rounds):
        for name in sorted(
            contenders, key=lambda name: name != f"{OURS}, files"
        ):  # all others are held against it
            if found[name].failed:
                continue
            try:
                few, whole = contenders[name]("few"), contenders[name]("pictures")
            except FailedError as error:
                found[name].failed = str(error)
                print(f"round {round_number + 1}: {name}: {error}", flush=True)
                continue
            found[name].runs.append((few, whole))
            if name == f"{OURS}, files":
                ours = ours or read_answers(stage.out, names)
            if name not in {LIMIT, FETCH}:
                found[name].compared = compare(ours, read_answers(stage.out, names))
            print(f"round {round_number + 1}: {name}: {found[name].said(len(names))}", flush=True)
    return found


@contextlib.contextmanager
def served(version: Path, model: str, logs: Path) -> Iterator[tuple[str, list[psutil.Process]]]:
    """A service of a version as `cnn-image serve` starts it; gives its address and its processes."""
    http, grpc, metrics, front, front_grpc = free_ports(5)
    triton = [sys.executable, "-m", "triton_server", "--model-repository", str(version)]
    triton += ["--http-port", str(http), "--grpc-port", str(grpc), "--metrics-port", str(metrics)]
    triton += ["--config-variant", f"cpu-{min(2, len(os.sched_getaffinity(0)))}"]
    transformer = [sys.executable, "-m", "image_transformer", "--predictor_host", f"127.0.0.1:{http}"]
    transformer += ["--model_name", model]
    transformer += ["--http_port", str(front), "--grpc_port", str(front_grpc)]
    at = f"http://127.0.0.1:{front}"
    with (
        Service("triton", triton, f"http://127.0.0.1:{http}/v2/health/ready", logs / "triton.log") as one,
        Service("transformer", transformer, f"{at}/health", logs / "transformer.log") as other,
    ):
        tops = [psutil.Process(service.pid) for service in (one, other)]
        yield at, [process for top in tops for process in (top, *top.children(recursive=True))]


if __name__ == "__main__":
    main()
