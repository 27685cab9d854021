"""Keeping a store tidy and its way back open: `prune` and `drill`."""

from collections.abc import Sequence
from pathlib import Path

from export.store.lease import lease_state
from export.store.ledger import champions
from export.store.versions import Store
from jobs.console import say
from jobs.gate.attached import last_verdict
from jobs.gate.judge import judging
from jobs.gate.verdict import Figures
from jobs.promotion.deployer import Deployer
from jobs.training_runs import remove_old_runs


def prune(store: Store, runs: Path, keep: int) -> list[int]:
    """Remove old versions, and the folders of old training runs; what is gone of the latter is in the former.

    Never removed: what is served, what a rollback would go to, the most accurate version that ever served
    (the gate measures drift against it), and what is being judged.

    Args:
        store: Where versions are.
        runs: Folder of the training runs.
        keep: So many of the newest stay, whatever they are.

    Returns:
        The versions that were removed, ascending.
    """
    remove_old_runs(runs, keep)
    numbers = store.numbers()
    needed = {
        _best(store, champions(store.ledger.entries())): "it is the most accurate that ever served",
        store.ledger.previous(): "a rollback goes to it",
        store.ledger.served(): "it is served",
    }
    removed = []
    for number in numbers[: max(0, len(numbers) - keep)]:
        if number in needed:
            say(f"Version {number} stays: {needed[number]}.")
            continue
        if lease_state(store.blobs, judging(number)) is not None:
            say(f"Version {number} stays: it is being judged.")
            continue
        store.delete(number)
        removed.append(number)
    return removed


def drill(store: Store, deployer: Deployer) -> int | None:
    """Prove that the version a rollback would go to is whole, loads in a real Triton and answers.

    Returns:
        The version; None where there is no way back yet.

    Raises:
        StoreError: It is not what was published.
        RefusedError: It does not load, or answers wrongly.
    """
    version = store.ledger.previous()
    if version is None:
        return None
    store.verify(version)
    deployer.preflight(version)
    return version


def _best(store: Store, served: Sequence[int]) -> int | None:
    """The most accurate version that ever served, by the verdicts; one that no verdict names cannot be it."""
    existing = store.numbers()
    known: dict[int, Figures] = {}
    for number in existing:
        verdict = last_verdict(store, number)
        if verdict is not None:
            known[number] = verdict.candidate
            if verdict.champion is not None:
                known.setdefault(verdict.champion.version, verdict.champion)
    candidates = [number for number in served if number in known and number in existing]
    return max(candidates, key=lambda number: known[number].accuracy, default=None)
