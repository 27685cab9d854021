"""What a document says is printed, against what is printed."""

import re


def shape(line: str) -> str:
    """A line without what differs from run to run: numbers, folders, digests, the verdict on a number."""
    line = re.sub(r"(?<= in ).*/var/(models/\w+/)?store|@\S+/examples|(?<=digest )\s*[0-9a-f]+", "#", line)
    line = re.sub(r"(?<![a-z])[-+]?\d[\w.,:-]*", "#", line)
    return " ".join(re.sub(r"\bNO\b", "ok", line).split())
