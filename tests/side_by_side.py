"""How tests are shared out among pytest-xdist's workers: what trains or installs does so once, on one.

Its own `--dist loadgroup` groups nothing with pytest 9.2 (it writes a field that is no more), so the groups
are made here, in `--dist loadscope`'s place.
"""

import pytest
from xdist.remote import Producer
from xdist.scheduler import LoadScopeScheduling

# Of each the tests share a fixture of the session, which trains (`served`, `laptop`) or installs (`serving`).
TOGETHER = {
    "served": ("tests/system/",),
    "laptop": ("tests/jobs/gate/", "tests/jobs/pipeline/", "tests/jobs/promotion/"),
    "serving": tuple(
        f"tests/cluster/test_{word}.py"
        for word in (
            "benchmark",
            "gitops",
            "models",
            "monitoring",
            "network",
            "scoring",
            "serving",
            "train_api",
        )
    ),
}


def group(nodeid: str) -> str:
    """What stays together on one worker: the tests of a shared fixture, otherwise those of a file."""
    file = nodeid.partition("::")[0]
    return next((name for name, rooms in TOGETHER.items() if file.startswith(rooms)), file)


class Groups(LoadScopeScheduling):
    """Hands out group after group, in the order of the collection."""

    def _split_scope(self, nodeid: str) -> str:
        return group(nodeid)


def pytest_xdist_make_scheduler(config: pytest.Config, log: Producer) -> Groups | None:
    """Groups for `--dist loadscope`; any other way to share out is pytest-xdist's own."""
    return Groups(config, log) if config.getoption("dist") == "loadscope" else None


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """The longest go first, so that none is begun when the other workers have nothing left to do.

    Raises:
        pytest.UsageError: A test takes a shared fixture and is not in its group: it would be made twice.
    """
    for item in items:
        given = item.callspec.params if hasattr(item, "callspec") else {}  # arguments are no fixtures
        wanted = TOGETHER.keys() & {*getattr(item, "fixturenames", ())} - {*given}
        if wanted - {group(item.nodeid)}:
            raise pytest.UsageError(f"{item.nodeid} takes {', '.join(wanted)}: name its file in {__file__}")
    items.sort(key=lambda item: group(item.nodeid) not in TOGETHER)
