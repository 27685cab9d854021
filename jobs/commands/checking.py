"""Finding what is broken: `doctor`."""

import json
from collections.abc import Callable
from dataclasses import asdict
from typing import Annotated

import typer

from jobs.commands.options import DataFlag, JsonFlag, StoreFlag
from jobs.console import answer, say
from jobs.settings import load_settings

_MARKS = {"ok": "ok    ", "absent": "-     ", "broken": "BROKEN"}


def doctor(
    data: DataFlag = None,
    store: StoreFlag = None,
    namespace: Annotated[
        str | None, typer.Option("--namespace", help="Look at Kubernetes too. [CNN_IMAGE_NAMESPACE]")
    ] = None,
    as_json: JsonFlag = False,
) -> None:
    """Check each link, from the data to the answers, and say what mends a broken one."""
    from jobs.doctor import examine, worst

    settings = load_settings(data=data, store=store, namespace=namespace)
    findings = []
    for finding in examine(settings):
        findings.append(finding)
        if not as_json:
            answer(f"{_MARKS[finding.state]}  {finding.link:<18}{finding.text}")
    if as_json:
        answer(json.dumps([asdict(finding) for finding in findings], indent=1))
    broken = sum(finding.state == "broken" for finding in findings)
    if broken:
        say(f"{broken} of {len(findings)} links are broken.")
    raise typer.Exit(worst(findings))


COMMANDS: tuple[Callable[..., None], ...] = (doctor,)
