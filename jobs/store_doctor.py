"""The doctor's look at the store: who this is there, and what it may do, tried under a prefix of its own."""

import contextlib
import uuid
from collections.abc import Callable
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Final

from export.errors import AbsentError, AccessError, ExportError, IntegrityError, OtherModelError
from export.store.ledger import champions
from export.store.manifest import Manifest
from export.store.versions import Store
from jobs.errors import FaultError, MistakeError

if TYPE_CHECKING:
    from export.store.s3 import S3Blobs

_FIRST_ACTIONS: Final = frozenset({"promote", "rollback", "return"})
"""What the ledger of every release knows."""

_PROBE = b"written by cnn-image doctor, which removes it again\n"


def store_links(store: Store) -> dict[str, Callable[[], str]]:
    """The checks by name; each returns what it found, or raises with what mends it."""
    links = {"store, reading": lambda: _reading(store), "store, writing": lambda: _writing(store)}
    back = {"store, way back": lambda: way_back(store)}
    s3 = _s3(store)
    if s3 is None:
        return links | back
    return {"store, session": lambda: _session(s3), **links, "store, lock": lambda: _lock(s3), **back}


def _s3(store: Store) -> "S3Blobs | None":
    """The store's place, if it is an S3."""
    if not store.url.startswith("s3://"):
        return None
    from export.store.s3 import S3Blobs  # boto3 takes a while to import, and a folder does without

    return store.blobs if isinstance(store.blobs, S3Blobs) else None


def _reading(store: Store) -> str:
    return f"{store.url}: {len(store.numbers())} versions, {len(store.ledger.entries())} ledger entries"


def way_back(store: Store) -> str:
    """Whether a release from before there were contracts, which reads layout 1 alone, could take over.

    Raises:
        StoreError: The store cannot be read.
    """
    entries = store.ledger.entries()
    unknown = next((entry for entry in entries if entry.action not in _FIRST_ACTIONS), None)
    if unknown is not None:
        return (
            f"none to an earlier release: ledger entry {unknown.number} is of a kind, "
            f"{unknown.action!r}, that it cannot read"
        )
    manifests = _readable(store)
    new = [manifest.version for manifest in manifests if manifest.layout > 1]
    served = entries[-1].version if entries else None
    if served not in new:
        left_out = f" (it leaves out {len(new)} of layout 2)" if new else ""
        return (
            f"an earlier release, which knows layout 1 alone, can still take over{left_out}; no more once a "
            "version that this one made is promoted"
        )
    told = (
        f"an earlier release, which knows layout 1 alone, cannot serve version {served} (layout 2), which is "
        "promoted"
    )
    old = [manifest.version for manifest in manifests if manifest.layout == 1]
    if not old:
        return f"{told}, and none of layout 1 is left: no way back"
    served_before = set(champions(entries)) & set(old)
    champion = next((entry.version for entry in reversed(entries) if entry.version in served_before), None)
    how = f"`cnn-image rollback {champion}`" if champion else f"judge and promote version {old[-1]}"
    return f"{told}; to go back, {how} first"


def _readable(store: Store) -> list[Manifest]:
    """All manifests, ascending; what is wrong with the others is not asked here."""
    found = []
    for number in store.numbers():
        with contextlib.suppress(AbsentError, IntegrityError, OtherModelError):
            found.append(store.manifest(number))
    return found


def _session(s3: "S3Blobs") -> str:
    who = s3.identity()
    if not who.temporary:
        return f"a key that lasts, from {who.source}"
    if who.renews:
        return f"a session from {who.source}, which renews itself{_date(who.expires, ' before ')}"
    if who.expires and who.expires <= datetime.now(UTC):
        raise FaultError(
            f"the session from {who.source} ended{_date(who.expires, ' at ')}: renew it, or use a role "
            "or a web identity, which renew themselves"
        )
    return (
        f"a session from {who.source}{_date(who.expires, ' until ') or ', without a date'}, which nothing "
        "renews: for what takes longer use a role or a web identity"
    )


def _date(when: datetime | None, word: str) -> str:
    return f"{word}{when.astimezone(UTC):%Y-%m-%d %H:%M} UTC" if when else ""


def _writing(store: Store) -> str:
    """Try each right by itself, so that all that are missing are named at once."""
    blobs, s3 = store.blobs, _s3(store)
    key = f"doctor/{uuid.uuid4().hex}"
    tag = blobs.put_if_absent(key, _PROBE)
    refusals: list[ExportError] = []
    encrypted = ""
    try:
        blobs.read(key)
        encrypted = s3.encryption_of(key) if s3 else ""
    except ExportError as error:
        refusals.append(error)
    for step in (
        lambda: blobs.replace(key, _PROBE, tag),
        lambda: blobs.list(key),
        lambda: blobs.delete(key),
    ):
        try:
            step()
        except ExportError as error:
            refusals.append(error)
    if len(refusals) > 1:
        raise MistakeError(" ".join(str(error) for error in refusals))
    if refusals:
        raise refusals[0]
    if s3 and s3.encryption and not encrypted.startswith(s3.encryption.algorithm):
        raise MistakeError(
            f"{store.url} took an object and did not encrypt it with {s3.encryption} as it was asked: ask "
            "its owner whether it can, or unset CNN_IMAGE_STORE_ENCRYPTION"
        )
    how = f", encrypted with {encrypted}" if encrypted else ""
    return f"{store.url}: an object was written{how}, read, replaced, listed and removed"


def _lock(s3: "S3Blobs") -> str:
    checksum = "each write carries Content-MD5, as a lock asks"
    try:
        kept = s3.retention()
    except AccessError:
        return f"not shown to these credentials (s3:GetBucketObjectLockConfiguration), nor needed; {checksum}"
    if kept is None:
        return f"none; {checksum}"
    return f"it keeps {kept}: what prune removes is hidden and stays so long; {checksum}"
