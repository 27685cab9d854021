"""`python -m jobs.cluster.trial_keys SECRET`: make the Secret of the chart's MinIO, unless it is there.

SECRET is the object as JSON, without its data. With an S3 or a Secret of your own this never runs.
"""

import json
import secrets
import sys

from jobs.cluster.client import ApiError, Json, Kubernetes, current_namespace
from jobs.cluster.serving.template import belonging_to, read_template
from jobs.errors import Exit, JobError, exit_code
from jobs.settings import load_settings


def make_secret(kubernetes: Kubernetes, secret: Json) -> bool:
    """Make a Secret with an access key and a secret key of chance; owned by the chart's ConfigMap.

    Returns:
        Whether it was made now.

    Raises:
        JobError: Kubernetes refused it, or does not answer.
    """
    keys = {
        "AWS_ACCESS_KEY_ID": f"cnn-image-{secrets.token_hex(4)}",
        "AWS_SECRET_ACCESS_KEY": secrets.token_hex(16),
    }
    try:
        body = belonging_to(read_template(kubernetes), secret, kubernetes.namespace)
        kubernetes.create("secrets", {**body, "stringData": keys})
    except ApiError as error:
        if error.code == 409:
            return False
        raise error.explained("make the Secret of the trial MinIO") from error
    return True


def main() -> int:
    """Make the Secret that the command line names, in this pod's namespace."""
    secret: Json = json.loads(sys.argv[1])
    try:
        made = make_secret(Kubernetes(current_namespace(), model=load_settings().model), secret)
    except JobError as error:
        sys.stderr.write(f"{error}\n")
        return exit_code(error) or Exit.MISTAKE
    sys.stderr.write(f"The Secret {secret['metadata']['name']} {'is made' if made else 'is there'}.\n")
    return Exit.OK


if __name__ == "__main__":
    sys.exit(main())
