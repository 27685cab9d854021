"""Keeps two of something apart, however each was started, and lets go of a holder that died.

A lease is one object in the store, replaced only by whoever has read its latest state (`If-Match`). Its
holder renews it; one that was not renewed for its time to live, by the store's own clock, may be taken over.
A holder that stalls can find that it lost the lease, so what it decides must be safe without it too (the
ledger's `append` is): the lease spares work, it does not replace that check.
"""

import contextlib
import logging
import threading
import time
import uuid
from datetime import UTC, datetime
from types import TracebackType
from typing import Annotated, Self

from pydantic import AwareDatetime, BaseModel, ConfigDict, Field, ValidationError

from export.errors import (
    AbsentError,
    ChangedError,
    ExistsError,
    LeaseHeldError,
    LeaseLostError,
    SessionError,
    StoreError,
)
from export.store.blobs import Blob, Blobs

_log = logging.getLogger(__name__)

_LOOK_AGAIN_SECONDS = 1.0


class LeaseState(BaseModel):
    """What the object says.

    Attributes:
        holder: Who, in words for people; None when it is free.
        token: Of this acquisition and no other.
        since: When it was acquired, by the holder's clock.
        seconds: Time to live without a renewal.
        renewals: How often it was renewed.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    holder: str | None
    token: str
    since: AwareDatetime
    seconds: Annotated[float, Field(gt=0)]
    renewals: int = 0


class Lease:
    """A lease of a name in a place for objects; a context manager that renews itself while it is held.

    Attributes:
        lost: Set when the lease could not be kept; the work it guards should stop.
    """

    def __init__(
        self, blobs: Blobs, name: str, *, holder: str, seconds: float = 60, patient: bool = False
    ) -> None:
        """Nothing is asked of the place yet.

        Args:
            blobs: Where the lease lies.
            name: What it is for, for example `retrain`.
            holder: Who asks, in words that help another person to find them.
            seconds: Time to live; renewed three times in it.
            patient: Where someone holds it, wait until they renew it, so live, or until it runs out: what
                takes the place of a killed process comes sooner than that.
        """
        self._blobs = blobs
        self._key = f"leases/{name}.json"
        self._name = name
        self._holder = holder
        self._seconds = seconds
        self._patient = patient
        self._state: LeaseState | None = None
        self._tag = ""
        self._renewed = 0.0
        self._failure: StoreError | None = None
        self._stop = threading.Event()
        self._renewer: threading.Thread | None = None
        self.lost = threading.Event()

    def acquire(self) -> None:
        """Take the lease, if it is free or its holder has not renewed it in time.

        Raises:
            LeaseHeldError: Someone holds it; the sentence says who, since when, and when it would run out.
        """
        state = LeaseState(
            holder=self._holder, token=uuid.uuid4().hex, since=datetime.now(UTC), seconds=self._seconds
        )
        asked = time.monotonic()
        try:
            try:
                tag = self._blobs.put_if_absent(self._key, _dump(state))
            except ExistsError:
                tag = self._take_over(state)
        except BaseException as error:
            if not isinstance(error, Exception):  # a signal: it may have come once the lease was written
                self._give_back(state)
            raise
        self._state, self._tag, self._renewed = state, tag, asked
        self._failure = None
        self.lost.clear()

    def renew(self) -> None:
        """Start the time to live afresh.

        Raises:
            LeaseLostError: It ran out and someone else took it.
        """
        if self._state is None:
            raise LeaseLostError(f"The lease {self._name!r} is not held.")
        state = self._state.model_copy(update={"renewals": self._state.renewals + 1})
        asked = time.monotonic()
        try:
            self._tag = self._replace(state)
        except (ChangedError, AbsentError):
            self.lost.set()
            raise LeaseLostError(self._lost_sentence()) from None
        self._state, self._renewed, self._failure = state, asked, None

    def check(self) -> None:
        """Make sure that the lease is still held; to be called before a step that should not happen twice.

        Raises:
            LeaseLostError: It was lost, or was not renewed in time.
            SessionError: It was not, because the session with the store had ended.
        """
        if self._state is None or self.lost.is_set() or time.monotonic() - self._renewed > self._seconds:
            self.lost.set()
            # Nobody was first: a renewed session is what it takes.
            if isinstance(self._failure, SessionError):
                raise self._failure
            raise LeaseLostError(self._lost_sentence())

    def release(self) -> None:
        """Let go, so that the next one need not wait; that it was lost meanwhile is no error."""
        if self._state is None:
            return
        state = self._state.model_copy(update={"holder": None, "renewals": self._state.renewals + 1})
        self._state = None
        try:
            self._replace(state)
        except (ChangedError, AbsentError):
            _log.warning("%s", self._lost_sentence())

    def __enter__(self) -> Self:
        self.acquire()
        try:
            self._stop.clear()
            self._renewer = threading.Thread(target=self._keep, name=f"lease-{self._name}", daemon=True)
            self._renewer.start()
        except BaseException:  # a signal, before there is a block whose end would let go
            self._stop.set()
            self.release()
            raise
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._stop.set()
        if self._renewer is not None:
            self._renewer.join()
        try:
            self.release()
        except StoreError as failure:  # it runs out by itself, and the work's own error matters more
            _log.warning("the lease %r could not be given back: %s", self._name, failure)

    def _keep(self) -> None:
        while not self._stop.wait(self._seconds / 3):
            try:
                self.renew()
            except LeaseLostError as error:
                _log.error("%s", error)
                return
            except StoreError as error:  # the store may come back before the time is up
                self._failure = error
                _log.warning("the lease %r could not be renewed: %s", self._name, error)
                if time.monotonic() - self._renewed > self._seconds:
                    self.lost.set()

    def _give_back(self, state: LeaseState) -> None:
        """Let go of a lease of which nobody knows whether it was written."""
        with contextlib.suppress(StoreError):  # then it runs out by itself
            blob = self._blobs.read(self._key)
            held = _held(blob)
            if held is not None and held.token == state.token:
                self._state, self._tag = held, blob.tag
                self.release()

    def _take_over(self, state: LeaseState) -> str:
        try:
            blob = self._blobs.read(self._key)
            current = _held(blob)
            if current and self._patient:
                _log.warning(
                    "%s holds the lease %r; waiting to see if they live …", current.holder, self._name
                )
                first = blob.tag
                while current and blob.tag == first:
                    time.sleep(_LOOK_AGAIN_SECONDS)
                    blob = self._blobs.read(self._key)
                    current = _held(blob)
            if current:
                raise LeaseHeldError(
                    f"{current.holder} has held {self._name!r} since {current.since:%Y-%m-%d %H:%M:%S} UTC;"
                    f" wait for it to end, or for {current.seconds - blob.age:.0f} s if it has died."
                )
            return self._blobs.replace(self._key, _dump(state), blob.tag)
        except (ChangedError, AbsentError):
            raise LeaseHeldError(
                f"Someone else took {self._name!r} this moment; wait for it to end."
            ) from None

    def _replace(self, state: LeaseState) -> str:
        try:
            return self._blobs.replace(self._key, _dump(state), self._tag)
        except ChangedError:
            # A renewal that seemed to fail may have arrived all the same: then the object is still ours.
            blob = self._blobs.read(self._key)
            current = _parse(blob.data)
            if current is None or current.token != state.token:
                raise
            return self._blobs.replace(self._key, _dump(state), blob.tag)

    def _lost_sentence(self) -> str:
        return (
            f"The lease {self._name!r} was not renewed within {self._seconds:.0f} s and is no longer held;"
            " nothing more is done, start again."
        )


def lease_state(blobs: Blobs, name: str) -> LeaseState | None:
    """Who holds a lease; None when nobody does."""
    try:
        blob = blobs.read(f"leases/{name}.json")
    except AbsentError:
        return None
    return _held(blob)


def _held(blob: Blob) -> LeaseState | None:
    """What a lease's object says; None when it is free or has run out."""
    state = _parse(blob.data)
    held = state is not None and state.holder is not None and blob.age <= state.seconds
    return state if held else None


def _dump(state: LeaseState) -> bytes:
    return state.model_dump_json(indent=2).encode() + b"\n"


def _parse(data: bytes) -> LeaseState | None:
    """The state, or None for an object that is none: such a lease is free."""
    try:
        return LeaseState.model_validate_json(data)
    except ValidationError:
        return None
