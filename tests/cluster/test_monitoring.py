"""What a Prometheus learns of the real pods: its targets, the alert rules, every query of the dashboard."""

import shutil
from collections.abc import Iterator
from pathlib import Path

import httpx
import pytest
from cluster.kube import CHART, run, wait_for
from cluster.load import Load
from cluster.prometheus import Prometheus, dashboard_queries, program, scraping
from cluster.release import EXAMPLES, Release

pytestmark = [pytest.mark.cluster, pytest.mark.timeout(900)]

RULES = CHART / "files" / "rules.yaml"


@pytest.fixture(scope="module")
def prometheus(serving: Release, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Prometheus]:
    """One that scrapes the service while clients ask it, one of them for nonsense."""
    with (
        scraping(serving.namespace.name, RULES, tmp_path_factory.mktemp("prometheus")) as started,
        Load(serving.url, (EXAMPLES / "cat.jpg").read_bytes()),
    ):
        refused = httpx.post(f"{serving.url}/predict", files={"file": b"no image"}, timeout=30)
        assert refused.status_code == 400
        yield started


def test_it_scrapes_every_serving_pod(serving: Release, prometheus: Prometheus) -> None:
    parts = ("predictor", "transformer")
    pods = {pod["metadata"]["name"] for part in parts for pod in serving.namespace.pods(part)}
    assert len(pods) == 4

    def scraped() -> set[str]:
        targets = prometheus.get("targets", state="active")["activeTargets"]
        return {each["labels"]["pod"] for each in targets if each["health"] == "up"}

    wait_for(lambda: scraped() == pods, "every pod being scraped", 60)


def test_every_query_of_the_dashboard_is_answered(serving: Release, prometheus: Prometheus) -> None:
    file = CHART / "files" / "dashboard.json"
    queries = list(dashboard_queries(file, serving.namespace.name))
    assert len(queries) > 10
    wait_for(
        lambda: all(prometheus.values(query) for _, query in queries),
        f"an answer to {[title for title, query in queries if not prometheus.values(query)]}",
        90,
    )


def test_every_rule_is_evaluated_and_no_alert_fires(serving: Release, prometheus: Prometheus) -> None:
    def evaluated() -> list[dict[str, object]]:
        rules = [rule for group in prometheus.get("rules")["groups"] for rule in group["rules"]]
        return rules if all(rule["health"] == "ok" for rule in rules) else []

    rules = wait_for(evaluated, "every rule being evaluated", 60)
    # On a busy machine one may be pending: answers are slow there.
    assert [rule["name"] for rule in rules if rule.get("state") == "firing"] == []
    for record in ("cnn_image:requests:rate5m", "cnn_image:request_seconds:p99_5m"):
        wait_for(lambda name=record: prometheus.values(name), record, 60)  # type: ignore[misc]


def test_the_alerts_fire_when_they_should(tmp_path: Path) -> None:
    promtool = program("promtool")
    shutil.copy(RULES, tmp_path)
    shutil.copy(Path(__file__).with_name("rules_test.yaml"), tmp_path)
    run(promtool, "check", "rules", tmp_path / "rules.yaml")
    run(promtool, "test", "rules", tmp_path / "rules_test.yaml")
