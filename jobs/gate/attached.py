"""Verdicts beside the versions that they are about, in a store."""

import json
import re
from typing import Any, Final

from export.errors import IntegrityError
from export.store.versions import Store
from jobs.gate.verdict import Verdict

_PREFIX = "verdict-"
_MORE = "bounds-"
_LATER: Final[Any] = {
    "resolved": True,
    "flips": {"images": True, "design_effect": True},
    "checks": {"__all__": {"bound": True}},
}
"""What the first releases' verdicts had not. They refuse to read what they do not know, and read each
version's verdict to prune; so this lies in a file of its own, for whoever goes back to one of them."""


def attach_verdict(store: Store, verdict: Verdict, pictures: dict[str, bytes]) -> str:
    """Put a verdict and its pictures beside the version; earlier ones stay.

    Returns:
        The verdict's name there.
    """
    attached = store.attachments(verdict.version)
    number = sum(name.startswith(_PREFIX) for name in attached) + 1
    for name in attached:  # the verdict is written last: these are of a judge that was cut off before it
        if re.fullmatch(rf".+-{number:03}\.[a-z]+", name):
            store.detach(verdict.version, name)
    for name, data in pictures.items():
        store.attach(verdict.version, f"{name.partition('.')[0]}-{number:03}.{name.partition('.')[2]}", data)
    more = verdict.model_dump_json(indent=1, include=_LATER)
    store.attach(verdict.version, f"{_MORE}{number:03}.json", more.encode() + b"\n")
    name = f"{_PREFIX}{number:03}.json"
    store.attach(verdict.version, name, verdict.model_dump_json(indent=1, exclude=_LATER).encode() + b"\n")
    return name


def last_verdict(store: Store, version: int) -> Verdict | None:
    """The last word on a version; None if it was never judged.

    Raises:
        IntegrityError: What is there is no verdict.
    """
    attached = store.attachments(version)
    names = [name for name in attached if name.startswith(_PREFIX)]
    if not names:
        return None
    more = names[-1].replace(_PREFIX, _MORE)
    try:
        content = json.loads(store.attachment(version, names[-1]))
        if more in attached:  # else an earlier release judged it
            content = _joined(content, json.loads(store.attachment(version, more)))
        return Verdict.model_validate(content)
    except ValueError as error:
        raise IntegrityError(
            f"{names[-1]} of version {version} is damaged; judge the version again."
        ) from error


def _joined(content: Any, more: Any) -> Any:
    """JSON with what lies in a second file of the same shape."""
    if isinstance(content, dict) and isinstance(more, dict):
        return content | {name: _joined(content.get(name, value), value) for name, value in more.items()}
    if isinstance(content, list) and isinstance(more, list):
        return [_joined(*pair) for pair in zip(content, more, strict=True)]
    return content
