"""Make the store's bucket on an S3 that starts together with this pod: `python -m jobs.bucket`.

The chart's trial MinIO comes up empty. With an S3 of your own this never runs.
"""

import sys

import boto3
from botocore.exceptions import BotoCoreError, ClientError
from tenacity import RetryError, Retrying, retry_if_exception_type, stop_after_delay, wait_fixed

from jobs.errors import Exit, MistakeError
from jobs.settings import load_settings

_WAIT_SECONDS = 300.0


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
    s3 = boto3.client("s3")
    for attempt in Retrying(
        retry=retry_if_exception_type(BotoCoreError), stop=stop_after_delay(wait_seconds), wait=wait_fixed(1)
    ):
        with attempt:
            try:
                s3.create_bucket(Bucket=name)
            except ClientError as error:
                if error.response["Error"]["Code"] in {"BucketAlreadyOwnedByYou", "BucketAlreadyExists"}:
                    return False
                raise
    return True


def main() -> int:
    """Make the bucket of CNN_IMAGE_STORE."""
    try:
        bucket = load_settings().store_url.removeprefix("s3://").partition("/")[0]
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
    return Exit.OK


if __name__ == "__main__":
    sys.exit(main())
