"""Where everything lies in a store.

claims/000007                 the number is taken, for ever: a pruned or failed version's is not used again
versions/000007/…             a whole Triton repository, and the InferenceService's storageUri
versions/000007/manifest.json written last: without it the version does not exist
attachments/000007/…          beside the version, each written once: its evidence, whose digests are in the
                              manifest, and what is said about it later (a verdict, a report)
ledger/000001.json            see `export.store.ledger`
classes/000001.json           see `export.store.classes`
"""

import re

from export.store.manifest import MANIFEST_NAME
from model.contract import VERSION_WIDTH

MANIFEST_KEY = re.compile(rf"versions/([0-9]{{{VERSION_WIDTH}}})/{re.escape(MANIFEST_NAME)}")
"""What makes a version exist; the group is its number."""

NUMBERED = re.compile(rf"(?:claims|versions)/([0-9]{{{VERSION_WIDTH}}})(?:/.*)?")
"""What takes a number; the group is it."""


def version_prefix(version: int) -> str:
    """Where a version lies in the store."""
    return f"versions/{version:0{VERSION_WIDTH}d}"


def attachment_prefix(version: int) -> str:
    """Where what is attached to a version lies."""
    return f"attachments/{version:0{VERSION_WIDTH}d}"


def version_key(version: int, path: str) -> str:
    """Where a file of a version lies."""
    return f"{version_prefix(version)}/{path}"
