"""Ask a live service for known images, as `helm test` does: `python -m jobs.smoke [URL]`.

The answers that are due come from the promoted version itself: class, probabilities and version must agree.
"""

import sys
import tempfile
from pathlib import Path

import httpx

from export.errors import ExportError
from export.store import open_store
from jobs.errors import Exit, JobError
from jobs.known import known_images, verify_service
from jobs.settings import load_settings
from model.contract import CLASSES, MODEL_NAME


def main(url: str = f"http://{MODEL_NAME}") -> int:
    """Check the service and print what it says to one image.

    Args:
        url: Of the transformer.

    Returns:
        The exit code.
    """
    try:
        store = open_store(load_settings().store_url)
        version = store.ledger.served()
        if version is None:
            sys.stderr.write(f"No version is promoted in {store.url} yet: wait for the training Job.\n")
            return Exit.FAULT
        with tempfile.TemporaryDirectory(prefix="cnn-image-smoke-") as scratch:
            known = known_images(store.fetch(version, Path(scratch)), version)
        verify_service(url, known)
    except JobError as error:
        sys.stderr.write(f"{error}\n")
        return error.exit_code
    except ExportError as error:
        sys.stderr.write(f"{error}\n")
        return Exit.MISTAKE
    file, due = known.files[0], CLASSES[int(known.probabilities[0].argmax())]
    answer = httpx.post(f"{url}/predict", files={"file": (file.name, file.read_bytes())}, timeout=30)
    class_name, answered_by = answer.json()["class_name"], answer.headers["X-Model-Version"]
    sys.stdout.write(f"{url}: {file.name} is {class_name} (due: {due}), answered by version {answered_by} ")
    sys.stdout.write(f"(due: {version}); {len(known.files)} known images are right.\n")
    return Exit.OK if (class_name, answered_by) == (due, str(version)) else Exit.REFUSED


if __name__ == "__main__":
    sys.exit(main(*sys.argv[1:]))
