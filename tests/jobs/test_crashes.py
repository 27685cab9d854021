"""A promotion and a rollback that are cut off at any point, by a kill or a store that goes away, are finished
by doing them again, and nothing is promoted twice or half."""

from collections.abc import Callable
from typing import Any

import pytest

from export.errors import UnreachableError
from export.ledger import Ledger
from export.store import Store
from jobs.promotion import promote, roll_back


class KilledError(BaseException):
    """As SIGKILL: nothing that catches errors sees it."""


class Fuse:
    """Lets some calls through, then blows: at every one from there on, or once."""

    def __init__(self, calls: int, error: Callable[[], BaseException], *, once: bool) -> None:
        self.left = calls
        self.error = error
        self.once = once
        self.blown = False

    def check(self) -> None:
        if self.left == 0 and not (self.once and self.blown):
            self.blown = True
            raise self.error()
        self.left = max(0, self.left - 1)


class Fused:
    """Any object, each of whose methods may blow: before it does its work, or after."""

    def __init__(self, inner: Any, fuse: Fuse, *, after: bool) -> None:
        self._inner, self._fuse, self._after = inner, fuse, after

    def __getattr__(self, name: str) -> Any:
        value = getattr(self._inner, name)
        if not callable(value):
            return value

        def call(*arguments: Any, **named: Any) -> Any:
            if not self._after:
                self._fuse.check()
            result = value(*arguments, **named)
            if self._after:
                self._fuse.check()
            return result

        return call


def fused_store(store: Store, fuse: Fuse, *, after: bool) -> Store:
    fused = Store(Fused(store.blobs, fuse, after=after))  # type: ignore[arg-type]
    fused.ledger = Ledger(fused.blobs)
    return fused


def promote_2(store: Store, deployer: Any) -> None:
    promote(store, deployer, 2, judged_against=1, decoder="1", by="me", reason="why")


def back_to_1(store: Store, deployer: Any) -> None:
    if store.ledger.served() != 1 or deployer.served() != 1:
        if store.ledger.served() == 1:  # cut off after the ledger: as `cnn-image deploy` does
            deployer.deploy(1)
            deployer.verify(1)
        else:
            roll_back(store, deployer, 1, by="me", reason="why")


def unreachable() -> BaseException:
    return UnreachableError("The store does not answer; try again.")


@pytest.mark.parametrize(
    ("error", "once"),
    [(KilledError, False), (unreachable, False), (unreachable, True)],
    ids=["killed", "store away", "store away for a moment"],
)
@pytest.mark.parametrize("after", [False, True], ids=["before the call", "after the call"])
@pytest.mark.parametrize(("change", "start", "end"), [(promote_2, 1, 2), (back_to_1, 2, 1)])
def test_cut_off_anywhere_then_done_again(
    change: Callable[[Store, Any], None],
    start: int,
    end: int,
    error: Callable[[], BaseException],
    once: bool,
    after: bool,
    store: Store,
    publish: Any,
    deployer: Any,
) -> None:
    publish(), publish()
    base = [("promote", 1)] if start == 1 else [("promote", 1), ("promote", 2)]
    for calls in range(200):
        for key in store.blobs.list("ledger/"):
            store.blobs.delete(key)
        store.ledger = Ledger(store.blobs)
        for number, (_, version) in enumerate(base):
            store.ledger.record("promote", version, by="me", reason="base", after=number)
        deployer.live = start

        fuse = Fuse(calls, error, once=once)
        try:
            change(fused_store(store, fuse, after=after), Fused(deployer, fuse, after=after))
        except (KilledError, UnreachableError):
            assert fuse.blown
        assert deployer.live in {start, end}
        store.ledger = Ledger(store.blobs)
        change(store, deployer)

        assert deployer.live == end
        added = [(entry.action, entry.version) for entry in store.ledger.entries()][len(base) :]
        assert added == [("promote" if end == 2 else "rollback", end)]
        if not fuse.blown:
            return
    pytest.fail("the change never ran to its end")
