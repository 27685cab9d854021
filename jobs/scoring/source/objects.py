"""Pictures that are objects of an S3: each as it was listed, or word that it is another by now.

obstore asks first: an object of a kilobyte costs this process a third of what boto3 takes. Whatever it does
not bring (an S3 that is away or busy, a key that it does not take, a way that it does not know), boto3 is
asked for, which waits, and says what is wrong.
"""

import contextlib
import os
from datetime import timedelta
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

from jobs.scoring.source.picture import Picture, Trouble
from model.data.own.places.files import MOST_BYTES
from model.data.remote.patience import Patience
from model.data.remote.proxies import proxy_for
from model.data.remote.s3_client import connect, is_temporary
from model.data.remote.s3_data import Address, explained
from model.data.remote.s3_direct import Direct
from model.data.remote.s3_errors import Asked
from model.data.remote.s3_listed import Listed
from model.data.remote.s3_objects import ChangedError, RemovedError

if TYPE_CHECKING:
    from obstore.store import S3Store

CHANGED: Final = Trouble("changed", "It was written again since its scoring began; score it anew.")
GONE: Final = Trouble("missing", "It was removed since its scoring began.")

_ATTEMPTS: Final = 2
_TIMEOUTS: Final = {"connect_timeout": timedelta(seconds=5), "timeout": timedelta(seconds=60)}
_RETRY: Final = {"max_retries": 0, "retry_timeout": timedelta(seconds=10)}


class Bucket:
    """Objects of one bucket, for any number of threads."""

    def __init__(self, name: str, threads: int) -> None:
        """Nothing is asked yet.

        Raises:
            DataError: The environment's settings for S3 make no sense.
        """
        url = f"s3://{name}"
        with explained(Asked(url, ""), ""):
            client = connect(threads, _ATTEMPTS)
        asked = Asked(url, str(client.meta.endpoint_url), is_temporary(client))
        patience = Patience(asked)
        patience.answered()  # to whoever listed it: so it is waited for from the first object on
        self._address = Address(url, client, asked, name, "", {}, patience, Direct(client))
        self._store = _store(client, name)

    def read(self, key: str, picture: Picture) -> bytes | Trouble:
        """An object's bytes, of the state that was listed.

        Raises:
            DataAwayError: The bucket was away for too long, or the session has ended.
            DataError: The object may not be read.
        """
        etag = picture.stamp.partition(":")[2]
        if self._store is not None and (data := _asked(self._store, key, etag)) is not None:
            self._address.patience.answered()
            return data
        listed = Listed(picture.length, etag)
        try:
            data, now = self._address.read(key, listed, MOST_BYTES)
        except RemovedError:
            return GONE
        except ChangedError:
            return CHANGED
        return data if now == listed else CHANGED


def _asked(store: "S3Store", key: str, etag: str) -> bytes | None:
    """An object's bytes by obstore; None where it brings none, for whatever reason."""
    import obstore

    with contextlib.suppress(Exception):
        answer = obstore.get(store, key, options={"if_match": f'"{etag}"'} if etag else None)
        # Not every S3 knows If-Match, and a key that obstore spells otherwise is another object's.
        if str(answer.meta["e_tag"] or "").strip('"') == etag and answer.meta["path"] == key:
            return bytes(answer.bytes())
    return None


def _store(client: Any, bucket: str) -> "S3Store | None":
    """Obstore's client that asks as boto3's does; None where it cannot."""
    from obstore.store import S3Store

    endpoint = str(client.meta.endpoint_url)
    proxy = proxy_for(endpoint)
    credentials = client._get_credentials()
    if credentials is None or (proxy is not None and proxy.is_socks):
        return None

    def current() -> Any:
        frozen = credentials.get_frozen_credentials()
        return {
            "access_key_id": frozen.access_key,
            "secret_access_key": frozen.secret_key,
            "token": frozen.token,
            "expires_at": getattr(credentials, "_expiry_time", None),
        }

    options: dict[str, Any] = {"allow_http": endpoint.startswith("http://"), **_TIMEOUTS}
    if proxy is not None:
        options["proxy_url"] = proxy.url
    if authority := os.environ.get("AWS_CA_BUNDLE"):
        with contextlib.suppress(OSError):
            options["root_certificate"] = Path(authority).read_bytes()
    try:
        return S3Store(
            bucket,
            endpoint=endpoint,
            region=client.meta.region_name,
            virtual_hosted_style_request=False,
            credential_provider=current,
            client_options=options,  # type: ignore[arg-type]
            retry_config=_RETRY,  # type: ignore[arg-type]
        )
    except Exception:  # of whatever kind: what it cannot be told, boto3 can
        return None
