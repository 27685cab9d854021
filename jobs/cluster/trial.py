"""`python -m jobs.cluster.trial`: wait for the MinIO and MLflow that the chart starts for a first training.

They come up together with this pod, and MinIO comes up empty: the store's bucket is made here. With an S3 and
an MLflow of your own this never runs.
"""

import signal
import sys
import time

import boto3
import httpx
from botocore.exceptions import BotoCoreError, ClientError
from tenacity import RetryError, Retrying, retry_if_exception, stop_after_delay, wait_fixed

from jobs.errors import Exit, MistakeError
from jobs.settings import load_settings
from model.data.remote.http_client import http_client

_WAIT_SECONDS = 300.0
_AGAIN_SECONDS = 1.0


def make_bucket(name: str, wait_seconds: float = _WAIT_SECONDS) -> bool:
    """Make a bucket unless it is there; waits for S3 to answer.

    Args:
        name: The bucket.
        wait_seconds: How long S3 may take to come up.

    Returns:
        Whether it was made now.

    Raises:
        RetryError: S3 did not answer in time.
        ClientError: It refused.
    """
    for attempt in Retrying(
        retry=retry_if_exception(_is_coming_up), stop=stop_after_delay(wait_seconds), wait=wait_fixed(1)
    ):
        with attempt:
            try:
                # Over a new connection each time: one was answered 404 for five minutes, others were not.
                boto3.client("s3").create_bucket(Bucket=name)
            except ClientError as error:
                if error.response["Error"]["Code"] in {"BucketAlreadyOwnedByYou", "BucketAlreadyExists"}:
                    return False
                raise
    return True


def _is_coming_up(error: BaseException) -> bool:
    """Whether S3 may yet answer: MinIO listens before it has its routes, and says 404 or 503 until then."""
    if isinstance(error, ClientError):
        status = error.response["ResponseMetadata"]["HTTPStatusCode"]
        return bool(status == httpx.codes.NOT_FOUND or status >= httpx.codes.INTERNAL_SERVER_ERROR)
    return isinstance(error, BotoCoreError)


def await_tracking(uri: str, wait_seconds: float = _WAIT_SECONDS) -> bool:
    """Wait until MLflow answers; training goes on without it, so there is no error.

    Returns:
        Whether it answered in time.
    """
    ends = time.monotonic() + wait_seconds
    while time.monotonic() < ends:
        try:
            with http_client(uri, 5) as client:
                if client.get("/health").is_success:
                    return True
        except httpx.HTTPError:
            pass  # not up yet
        time.sleep(_AGAIN_SECONDS)
    return False


def main() -> int:
    """Make the bucket of CNN_IMAGE_STORE, then wait for MLFLOW_TRACKING_URI."""
    try:
        settings = load_settings()
        bucket = settings.store_url.removeprefix("s3://").partition("/")[0]
        made = make_bucket(bucket)
    except MistakeError as error:
        sys.stderr.write(f"{error}\n")
        return Exit.MISTAKE
    except RetryError as error:
        sys.stderr.write(f"S3 did not answer within {_WAIT_SECONDS:g} s: {error.last_attempt.exception()}.\n")
        return Exit.FAULT
    except ClientError as error:
        sys.stderr.write(f"Cannot make the bucket: {error}.\n")
        return Exit.MISTAKE
    sys.stderr.write(f"The bucket {bucket} {'is made' if made else 'is there'}.\n")
    uri = settings.mlflow_tracking_uri
    if uri and not await_tracking(uri):
        sys.stderr.write(f"MLflow at {uri} does not answer; training goes on without.\n")
    return Exit.OK


if __name__ == "__main__":
    # A container's first process ends by SIGTERM only if it asks to; a Job counts 143 as no failure.
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(Exit.TERMINATED))
    sys.exit(main())
