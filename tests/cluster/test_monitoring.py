"""What a Prometheus learns of the real pods: its targets, the alert rules, every query of the dashboard."""

import shutil
from collections.abc import Iterator
from pathlib import Path

import httpx
import pytest
import yaml
from cluster.kube import CHART, rendered, run, wait_for
from cluster.load import Load
from cluster.prometheus import Prometheus, built, by_annotations, dashboard_queries, scraping
from cluster.prometheus_operator import operated
from cluster.release import EXAMPLES, Release

pytestmark = [pytest.mark.cluster, pytest.mark.timeout(900)]

RULES = CHART / "files" / "rules.yaml"


@pytest.fixture(scope="module")
def prometheus(serving: Release, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Prometheus]:
    """One that scrapes the service while clients ask it, one of them for nonsense."""
    config = by_annotations(serving.namespace.name, RULES)
    with (
        scraping(config, tmp_path_factory.mktemp("prometheus")) as started,
        Load(serving.url, (EXAMPLES / "cat.jpg").read_bytes()),
    ):
        refused = httpx.post(f"{serving.url}/predict", files={"file": b"no image"}, timeout=30)
        assert refused.status_code == 400
        yield started


def metrics(serving: Release) -> set[tuple[str, int]]:
    """The serving pods, and the port of each at which its metrics are."""
    ports = {"transformer": 8080, "predictor": 8002}
    found = {
        (pod["metadata"]["name"], port)
        for component, port in ports.items()
        for pod in serving.namespace.pods(component)
    }
    assert len(found) == 4
    return found


def test_it_scrapes_every_serving_pod(serving: Release, prometheus: Prometheus) -> None:
    pods = metrics(serving)
    wait_for(lambda: prometheus.scraped() == pods, "every pod being scraped", 60)


def test_every_query_of_the_dashboard_is_answered(serving: Release, prometheus: Prometheus) -> None:
    file = CHART / "files" / "dashboard.json"
    asked = list(dashboard_queries(file, serving.namespace.name))
    # The versions that the tests upload have no score: its series are there, and no number in them.
    unlike = [query for title, query in asked if title.startswith("Unlike the training")]
    queries = [(title, query) for title, query in asked if query not in unlike]
    assert (len(queries) > 10, len(unlike)) == (True, 4)
    wait_for(
        lambda: all(prometheus.values(query) for _, query in queries),
        f"an answer to {[title for title, query in queries if not prometheus.values(query)]}",
        90,
    )
    wait_for(
        lambda: all(prometheus.get("query", query=query)["result"] for query in unlike),
        "the score's series",
        60,
    )


def test_every_rule_is_evaluated_and_no_alert_fires(serving: Release, prometheus: Prometheus) -> None:
    rules = wait_for(prometheus.rules, "every rule being evaluated", 60)
    # On a busy machine one may be pending: answers are slow there.
    assert [rule["name"] for rule in rules if rule.get("state") == "firing"] == []
    for record in ("cnn_image:requests:rate5m", "cnn_image:request_seconds:p99_5m"):
        wait_for(lambda name=record: prometheus.values(name), record, 60)  # type: ignore[misc]


def test_an_operator_finds_the_same_pods_and_takes_every_rule(serving: Release, tmp_path: Path) -> None:
    values = (
        *("minio.enabled=true", "training.enabled=false", "monitoring.rules.enabled=true"),
        *("monitoring.podMonitor.enabled=true", "monitoring.podMonitor.interval=2s"),
    )
    flags = [f"--set={value}" for value in values]
    shown = ("--show-only", "templates/monitoring.yaml")
    monitoring = rendered(*flags, *shown, namespace=serving.namespace.name)
    with operated(serving.namespace, monitoring, tmp_path) as config:
        assert len(config["scrape_configs"]) == 2
        with scraping(config, tmp_path) as prometheus:
            pods = metrics(serving)
            wait_for(lambda: prometheus.scraped() == pods, "every pod being scraped", 90)
            found = wait_for(prometheus.rules, "every rule being evaluated", 90)
    groups = yaml.safe_load(RULES.read_text())["groups"]
    rules = [rule.get("record", rule.get("alert")) for group in groups for rule in group["rules"]]
    assert [rule["name"] for rule in found] == rules


def test_the_alerts_fire_when_they_should(tmp_path: Path) -> None:
    promtool = built("promtool")
    shutil.copy(RULES, tmp_path)
    shutil.copy(Path(__file__).with_name("rules_test.yaml"), tmp_path)
    run(promtool, "check", "rules", tmp_path / "rules.yaml")
    run(promtool, "test", "rules", tmp_path / "rules_test.yaml")


def test_the_rules_of_two_models_in_a_namespace_do_not_mix(tmp_path: Path) -> None:
    values = ("minio.enabled=true", "training.enabled=false", "monitoring.rules.enabled=true")
    for model in ("cnn-image", "hands"):
        flags = [f"--set={value}" for value in (*values, f"model={model}")]
        text = rendered(*flags, "--show-only", "templates/monitoring.yaml", namespace="t")
        (made,) = (each for each in yaml.safe_load_all(text) if each)
        (tmp_path / f"{model}.yaml").write_text(yaml.safe_dump(made["spec"]))
    shutil.copy(Path(__file__).with_name("models_rules_test.yaml"), tmp_path)
    run(built("promtool"), "test", "rules", tmp_path / "models_rules_test.yaml")
