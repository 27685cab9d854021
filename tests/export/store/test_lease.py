"""A lease keeps two apart and outlives no holder."""

import subprocess
import sys
import threading
from collections.abc import Callable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor

import pytest
from machine import wait_until

from export.errors import LeaseHeldError, LeaseLostError, UnreachableError
from export.store.blobs import Blob, Blobs
from export.store.lease import Lease, lease_state


class Aged:
    """Blobs whose clock runs ahead by `seconds`: what is written looks that much older at once."""

    def __init__(self, blobs: Blobs, seconds: float) -> None:
        self._blobs, self._seconds = blobs, seconds

    def __getattr__(self, name: str) -> object:
        return getattr(self._blobs, name)

    def read(self, key: str) -> Blob:
        blob = self._blobs.read(key)
        return Blob(blob.data, blob.tag, blob.age + self._seconds)


class Told(BaseException):
    """What a signal's handler raises."""


class Interrupted:
    """Blobs of which a write is done, and then a signal comes before its caller hears of it."""

    def __init__(self, blobs: Blobs) -> None:
        self._blobs = blobs

    def __getattr__(self, name: str) -> object:
        if name not in {"put_if_absent", "replace"}:
            return getattr(self._blobs, name)

        def write(*arguments: object) -> str:
            getattr(self._blobs, name)(*arguments)
            self.__class__ = Whole  # type: ignore[assignment] # one signal
            raise Told

        return write


class Whole(Interrupted):
    """The same after the signal."""

    def __getattr__(self, name: str) -> object:
        return getattr(self._blobs, name)


@pytest.mark.parametrize("held_before", [False, True])
def test_a_signal_in_the_moment_of_taking_it_leaves_it_free(blobs: Blobs, held_before: bool) -> None:
    if held_before:
        with Lease(blobs, "retrain", holder="ann"):
            pass
    with pytest.raises(Told), Lease(Interrupted(blobs), "retrain", holder="bob"):  # type: ignore[arg-type]
        raise AssertionError("it was not told")
    assert lease_state(blobs, "retrain") is None
    with Lease(blobs, "retrain", holder="carl"):
        pass


def test_two_do_not_hold_it_at_once(blobs: Blobs) -> None:
    with Lease(blobs, "retrain", holder="ann"):
        with pytest.raises(LeaseHeldError, match=r"ann has held 'retrain' since .* UTC; wait for it to end"):
            Lease(blobs, "retrain", holder="bob").acquire()
        Lease(blobs, "another", holder="bob").acquire()
    with Lease(blobs, "retrain", holder="bob"):
        state = lease_state(blobs, "retrain")
        assert state is not None
        assert state.holder == "bob"
    assert lease_state(blobs, "retrain") is None
    assert lease_state(blobs, "never-held") is None


def test_of_many_at_once_one_gets_it(blobs: Blobs) -> None:
    for free in (True, False):  # a first acquisition, and one of a lease that was given back

        def acquire(number: int) -> Lease | None:
            lease = Lease(blobs, "retrain", holder=str(number))
            try:
                lease.acquire()
            except LeaseHeldError:
                return None
            return lease

        with ThreadPoolExecutor(8) as pool:
            held = [lease for lease in pool.map(acquire, range(8)) if lease]
        assert len(held) == 1, free
        held[0].check()
        held[0].release()


class Watched(Aged):
    """Tells when it was read for the second time: by then the patient have begun to wait."""

    def __init__(self, blobs: Blobs) -> None:
        super().__init__(blobs, 0)
        self._reads = 0
        self.waited_on = threading.Event()

    def read(self, key: str) -> Blob:
        self._reads += 1
        if self._reads == 2:
            self.waited_on.set()
        return super().read(key)

    def grow_old(self, seconds: float) -> None:
        """From now on what was written is older by so much."""
        self._seconds = seconds


@pytest.fixture
def patient(monkeypatch: pytest.MonkeyPatch) -> Callable[[Blobs], Future[None]]:
    """Begins to wait for the lease `retrain`, in a thread."""
    monkeypatch.setattr("export.store.lease._LOOK_AGAIN_SECONDS", 0.01)
    return lambda blobs: ThreadPoolExecutor(1).submit(
        Lease(blobs, "retrain", holder="bob", patient=True).acquire
    )


def test_the_patient_learn_that_a_holder_lives(
    blobs: Blobs, patient: Callable[[Blobs], Future[None]]
) -> None:
    ann, watched = Lease(blobs, "retrain", holder="ann"), Watched(blobs)
    ann.acquire()
    waiting = patient(watched)
    assert watched.waited_on.wait(60)
    assert not waiting.done()
    ann.renew()
    with pytest.raises(LeaseHeldError, match="ann has held"):
        waiting.result(60)
    ann.check()


def test_the_patient_follow_a_holder_that_died(
    blobs: Blobs, patient: Callable[[Blobs], Future[None]]
) -> None:
    Lease(blobs, "retrain", holder="dead").acquire()
    watched = Watched(blobs)
    waiting = patient(watched)
    assert watched.waited_on.wait(60)
    assert not waiting.done()
    watched.grow_old(61)
    waiting.result(60)
    state = lease_state(blobs, "retrain")
    assert state is not None
    assert state.holder == "bob"


def test_a_holder_that_died_is_followed_when_its_time_is_up(blobs: Blobs) -> None:
    dead = Lease(blobs, "retrain", holder="dead", seconds=60)
    dead.acquire()
    with pytest.raises(LeaseHeldError):
        Lease(Aged(blobs, 50), "retrain", holder="next").acquire()
    following = Lease(Aged(blobs, 61), "retrain", holder="next", seconds=60)
    following.acquire()
    following.renew()
    following.check()
    # the dead one was only asleep: it finds out, and does the new holder no harm
    with pytest.raises(LeaseLostError, match="'retrain' was not renewed within 60 s and is no longer held"):
        dead.renew()
    with pytest.raises(LeaseLostError):
        dead.check()
    dead.release()
    state = lease_state(blobs, "retrain")
    assert state is not None
    assert state.holder == "next"


@pytest.mark.slow
def test_a_killed_process_gives_it_up(place: str, blobs: Blobs) -> None:
    code = (
        "import sys, time\nfrom export.store.lease import Lease\n"
        "from export.store.versions import open_store\n"
        "with Lease(open_store(sys.argv[1]).blobs, 'retrain', holder='victim', seconds=4):\n"
        "    print('held', flush=True)\n    time.sleep(60)\n"
    )
    with subprocess.Popen([sys.executable, "-c", code, place], stdout=subprocess.PIPE, text=True) as victim:
        assert victim.stdout is not None
        assert victim.stdout.readline() == "held\n"
        lease = Lease(blobs, "retrain", holder="next")

        def acquired() -> bool:
            try:
                lease.acquire()
            except LeaseHeldError:
                return False
            return True

        assert not acquired()
        victim.kill()
        wait_until(acquired, "taking over from the dead")


class Hurried(threading.Event):
    """Waits a moment where it is asked to wait for long, and remembers for how long."""

    def __init__(self) -> None:
        super().__init__()
        self.asked: list[float | None] = []

    def wait(self, timeout: float | None = None) -> bool:
        self.asked.append(timeout)
        return super().wait(0.01)


def test_it_renews_itself_while_the_work_goes_on(blobs: Blobs) -> None:
    lease = Lease(blobs, "retrain", holder="ann", seconds=60)
    lease._stop = hurried = Hurried()
    with lease:

        def renewed() -> bool:
            state = lease_state(blobs, "retrain")
            return state is not None and state.renewals >= 3

        wait_until(renewed, "three renewals")
        lease.check()
    assert set(hurried.asked) == {20}, "three times in its life"
    assert not [thread for thread in threading.enumerate() if thread.name == "lease-retrain"]


def test_a_renewal_whose_answer_was_lost_is_recognized(blobs: Blobs, monkeypatch: pytest.MonkeyPatch) -> None:
    lease = Lease(blobs, "retrain", holder="ann")
    lease.acquire()
    replace = blobs.replace

    def deaf(key: str, data: bytes, tag: str) -> str:
        replace(key, data, tag)
        raise UnreachableError("the answer was lost")

    monkeypatch.setattr(blobs, "replace", deaf)
    with pytest.raises(UnreachableError):
        lease.renew()
    monkeypatch.undo()
    lease.renew()
    lease.check()
    assert not lease.lost.is_set()


@pytest.fixture
def unreachable(blobs: Blobs, monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    def fail(key: str, data: bytes, tag: str) -> str:
        raise UnreachableError("the store is away")

    monkeypatch.setattr(blobs, "replace", fail)
    yield
    monkeypatch.undo()


def test_a_store_that_stays_away_loses_it(blobs: Blobs, unreachable: None) -> None:
    with Lease(blobs, "retrain", holder="ann", seconds=0.3) as lease:
        wait_until(lease.lost.is_set, "noticing the loss")
        with pytest.raises(LeaseLostError):
            lease.check()


def test_what_is_no_lease_is_taken(blobs: Blobs) -> None:
    blobs.put_if_absent("leases/retrain.json", b"\x80\x04not json")
    with Lease(blobs, "retrain", holder="ann") as lease:
        lease.check()
