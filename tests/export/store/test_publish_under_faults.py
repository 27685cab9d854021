"""Publishing to S3 with others at once, and over a connection that is cut at every point."""

import contextlib
import subprocess
import sys
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest
from botocore.retries.standard import ExponentialBackoff
from cut_proxy import CutProxy, every_cut
from minio_server import Minio

from export.errors import StoreError, UnreachableError
from export.store.lease import Lease
from export.store.ledger import Entry
from export.store.lineage import Lineage
from export.store.manifest import Manifest
from export.store.versions import Store, open_store
from model.data.remote import s3_client

BuildOf = Callable[[bytes], Callable[[int, Path], Manifest]]

pytestmark = pytest.mark.slow

_PUBLISHER = """
import sys
from pathlib import Path
from export.artifact import assemble
from export.graph.export import Graphs
from export.store.lineage import Lineage
from export.store.versions import open_store

url, folder, lineage = sys.argv[1], Path(sys.argv[2]), Lineage.model_validate_json(sys.argv[3])
graph = folder / "graph.onnx"
graph.write_bytes(b"the same in all")
print("ready", flush=True)
sys.stdin.readline()
store = open_store(url)
for _ in range(5):
    print(store.publish(lambda n, to: assemble(Graphs(graph, graph), lineage, n, to)).version, flush=True)
"""


def test_processes_and_threads_at_once_share_no_number(
    place: str, store: Store, build_of: BuildOf, lineage: Lineage, tmp_path: Path
) -> None:
    build = build_of(b"the same in all")
    processes = []
    for name in ("one", "two"):
        (tmp_path / name).mkdir()
        arguments = [sys.executable, "-c", _PUBLISHER, place, str(tmp_path / name), lineage.model_dump_json()]
        processes.append(
            subprocess.Popen(arguments, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
        )
    for process in processes:
        assert process.stdout is not None
        assert process.stdout.readline() == "ready\n"
    for process in processes:
        assert process.stdin is not None
        process.stdin.write("go\n")
        process.stdin.flush()
    with ThreadPoolExecutor(4) as pool:
        numbers = [*pool.map(lambda _: open_store(place).publish(build).version, range(10))]
    for process in processes:
        numbers += [int(line) for line in process.communicate(timeout=300)[0].split()]
        assert process.returncode == 0
    assert sorted(numbers) == list(range(1, 21))
    assert store.numbers() == sorted(numbers)
    for number in numbers:
        store.verify(number)


@pytest.fixture
def proxy(minio: Minio, monkeypatch: pytest.MonkeyPatch) -> Iterator[CutProxy]:
    """A wire to cut; a second attempt is made at once, since there are hundreds of cuts."""
    monkeypatch.setattr(ExponentialBackoff, "delay_amount", lambda self, context: 0)
    proxy = CutProxy(minio.port)
    yield proxy
    proxy.close()


@pytest.fixture
def through(proxy: CutProxy, bucket: str, monkeypatch: pytest.MonkeyPatch) -> Callable[[], Store]:
    """Opens the bucket's store by a connection through the proxy."""

    def through() -> Store:
        with monkeypatch.context() as patch:
            patch.setenv("AWS_ENDPOINT_URL", f"http://127.0.0.1:{proxy.port}")
            return open_store(bucket)

    return through


@pytest.fixture
def build(build_of: BuildOf) -> Callable[[int, Path], Manifest]:
    """A version of the fewest files there can be: its conversation is short enough to cut everywhere."""

    def build(version: int, folder: Path) -> Manifest:
        whole = build_of(b"weights" * 1000)(version, folder)
        needed = {
            path: file for path, file in whole.files.items() if path.endswith(("/config.pbtxt", ".onnx"))
        }
        return whole.model_copy(update={"files": needed})

    return build


def test_a_publish_cut_for_good_leaves_nothing_visible_and_can_be_tried_again(
    proxy: CutProxy,
    through: Callable[[], Store],
    bucket: str,
    build: Callable[[int, Path], Manifest],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(s3_client, "_ATTEMPTS", 1)
    cut_off, direct = through(), open_store(bucket)
    direct.publish(build)
    cuts = every_cut(proxy, lambda: direct.delete(cut_off.publish(build).version))
    last = cuts[-1].turn
    for cut in cuts:
        proxy.arm(cut, for_good=True)
        with contextlib.suppress(StoreError):  # a cut within the very last answer's headers goes unnoticed
            cut_off.publish(build)
        assert proxy.cuts, cut
        # Nothing half is visible; where the last answer alone was lost the version is there, and whole.
        visible = direct.numbers()
        assert visible[0] == 1
        assert len(visible) == 1 or cut.turn == last, cut
        for number in visible:
            direct.verify(number)
        proxy.arm(None)
        again = cut_off.publish(build).version
        assert direct.numbers() == [*visible, again], cut
        direct.verify(again)
        for number in (*visible[1:], again):
            direct.delete(number)


def test_a_publish_cut_once_goes_on_under_its_own_number(
    proxy: CutProxy, through: Callable[[], Store], bucket: str, build: Callable[[int, Path], Manifest]
) -> None:
    cut_off, direct = through(), open_store(bucket)
    for cut in every_cut(proxy, lambda: direct.delete(cut_off.publish(build).version)):
        due = len(direct.blobs.list("claims/")) + 1
        proxy.arm(cut)
        # Had the writer not known its own claim again, it would have taken a second one.
        assert cut_off.publish(build).version == due, cut
        assert proxy.cuts == 1, cut
        assert len(direct.blobs.list("claims/")) == due, cut
        direct.verify(due)
        direct.delete(due)


def test_a_cut_promotion_is_neither_doubled_nor_taken_for_anothers(
    proxy: CutProxy, through: Callable[[], Store], bucket: str
) -> None:
    cut_off, direct = through(), open_store(bucket)

    def promote() -> Entry:
        after = len(direct.ledger.entries())
        return cut_off.ledger.record("promote", 3, by="ann", reason="better", after=after)

    promote()
    for cut in every_cut(proxy, promote):
        before = direct.ledger.entries()
        proxy.arm(cut)
        entry = promote()
        assert proxy.cuts == 1, cut
        assert direct.ledger.entries() == [*before, entry], cut


def test_a_lease_cut_once_is_still_held(proxy: CutProxy, through: Callable[[], Store]) -> None:
    lease = Lease(through().blobs, "retrain", holder="ann")

    def work() -> None:
        lease.acquire()
        lease.renew()
        lease.release()

    work()
    for cut in every_cut(proxy, work):
        proxy.arm(cut)
        work()
        assert proxy.cuts == 1, cut


def test_a_fetch_cut_at_any_point_is_whole_or_not_there(
    proxy: CutProxy,
    through: Callable[[], Store],
    bucket: str,
    build: Callable[[int, Path], Manifest],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(s3_client, "_ATTEMPTS", 1)
    open_store(bucket).publish(build)
    cut_off = through()
    for number, cut in enumerate(every_cut(proxy, lambda: cut_off.fetch(1, tmp_path / "measured"))):
        proxy.arm(cut, for_good=True)
        with pytest.raises(StoreError) as caught:
            cut_off.fetch(1, tmp_path / str(number))
        assert isinstance(caught.value, UnreachableError), cut
        assert not list((tmp_path / str(number)).glob("*"))
        proxy.arm(None)
        whole = cut_off.fetch(1, tmp_path / str(number))
        assert (whole / "cnn-image/1/model.onnx").read_bytes() == b"weights" * 1000
