"""The doctor in a cluster: an API server that says what the test wants, and each link broken once."""

import json
import socket
import threading
from collections.abc import Iterator
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import pytest
from kubernetes import client

from export.store.versions import Store
from jobs import doctor
from jobs.doctor import Finding, examine
from jobs.errors import Exit
from jobs.settings import Settings, load_settings

READ_DATA = doctor._data
ISVC = "/apis/serving.kserve.io/v1beta1/namespaces/ns/inferenceservices/cnn-image"
CONFIGMAP = "/api/v1/namespaces/ns/configmaps/cnn-image-inferenceservice"
JOBS = "/apis/batch/v1/namespaces/ns/jobs"
REVIEWS = "/apis/authorization.k8s.io/v1/selfsubjectaccessreviews"


TEMPLATE = """\
apiVersion: serving.kserve.io/v1beta1
kind: InferenceService
metadata: {name: cnn-image}
spec: {predictor: {model: {runtime: cnn-image-triton}}}
"""
PREFLIGHT = """\
apiVersion: batch/v1
kind: Job
metadata: {name: cnn-image-preflight}
spec: {template: {spec: {containers: [{name: check, image: "cnn-image-train:0.1.0"}]}}}
"""


@dataclass
class Cluster:
    """What the API server holds and allows; the service's own routes are there too.

    Attributes:
        objects: By path.
        denied: Rights that the account lacks, as `verb resource`.
        refusals: Paths that are answered by an HTTP status in place of an object.
        health: Status of the service's /health.
        decoder: What its /info says.
        rule: Why an object may not be made or changed; empty where it may.
    """

    url: str = ""
    objects: dict[str, Any] = field(default_factory=dict)
    denied: set[str] = field(default_factory=set)
    refusals: dict[str, int] = field(default_factory=dict)
    health: int = 200
    decoder: str = "1"
    rule: str = ""

    def answer(self, path: str, sent: Any) -> tuple[int, Any]:
        if path == "/health":
            return self.health, {"error": "The model is not ready."}
        if path == "/info":
            return 200, {"decoder_version": self.decoder}
        path, _, query = path.partition("?")
        if path in self.refusals:
            status = self.refusals[path]
            return status, {"kind": "Status", "code": status, "message": "as the test wants"}
        if path == REVIEWS:
            asked = sent["spec"]["resourceAttributes"]
            return 201, {"status": {"allowed": f"{asked['verb']} {asked['resource']}" not in self.denied}}
        if path in {ISVC, JOBS} and sent:
            assert "dryRun=All" in query, "the doctor changes nothing"
            code = 500 if self.rule.startswith("Internal error") else 403
            return (code, {"code": code, "message": self.rule}) if self.rule else (201, sent)
        if path in self.objects:
            return 200, self.objects[path]
        name = path.rsplit("/", 1)[1]
        return 404, {"kind": "Status", "code": 404, "message": "not found", "details": {"name": name}}


@pytest.fixture
def cluster(monkeypatch: pytest.MonkeyPatch) -> Iterator[Cluster]:
    made = Cluster()

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            length = int(self.headers.get("content-length", 0))
            sent = json.loads(self.rfile.read(length)) if length else None
            status, content = made.answer(self.path, sent)
            self.send_response(status)
            self.end_headers()
            self.wfile.write(json.dumps(content).encode())

        do_POST = do_PATCH = do_GET  # noqa: N815 - the library's names

        def log_message(self, *arguments: object) -> None: ...

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    threading.Thread(target=server.serve_forever, args=(0.02,), daemon=True).start()
    made.url = f"http://127.0.0.1:{server.server_port}"
    configuration = client.Configuration(host=made.url)
    monkeypatch.setattr("jobs.cluster.client.connect", lambda: client.ApiClient(configuration))
    yield made
    server.shutdown()
    server.server_close()


def isvc(uri: str, *conditions: tuple[str, str]) -> dict[str, Any]:
    return {
        "spec": {"predictor": {"model": {"storageUri": uri}}},
        "status": {"conditions": [{"type": kind, "status": status} for kind, status in conditions]},
    }


@pytest.fixture
def settings(
    cluster: Cluster, store: Store, publish: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> Settings:
    """Of a cluster in which all is well: the chart is installed, version 1 is promoted and runs."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(doctor, "_mlflow", lambda settings: "a store")  # its import takes seconds
    monkeypatch.setattr(doctor, "_alias", lambda settings, store: "as the ledger")
    monkeypatch.setattr(doctor, "_data", lambda settings: "images")  # so does reading them
    store.ledger.record("promote", publish(), by="me", reason="why", after=0)
    cluster.objects[CONFIGMAP] = {
        "metadata": {
            "name": "cnn-image-inferenceservice",
            "labels": {"helm.sh/chart": "cnn-image-1.2.3"},
            "uid": "u1",
        }
    }
    cluster.objects[CONFIGMAP]["data"] = {"inferenceservice.yaml": TEMPLATE, "preflight.yaml": PREFLIGHT}
    cluster.objects[ISVC] = isvc("s3://b/store/versions/000001/", ("Ready", "True"))
    return load_settings(store=store.url, namespace="ns", service_url=cluster.url)


def test_data_is_left_to_the_trainings_jobs(settings: Settings, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(doctor, "_data", READ_DATA)
    (data,) = (finding for finding in examine(settings) if finding.link == "data")
    assert (data.state, data.text) == (
        "absent",
        "none is named here; in the cluster the trainings' Jobs have it",
    )


def findings(settings: Settings) -> dict[str, Finding]:
    return {finding.link: finding for finding in examine(settings)}


def broken(settings: Settings) -> dict[str, Finding]:
    return {link: finding for link, finding in findings(settings).items() if finding.state == "broken"}


def test_nothing_is_blamed_where_nothing_is_wrong(settings: Settings) -> None:
    found = findings(settings)
    assert {finding.state for finding in found.values()} == {"ok"}
    assert list(found)[-5:] == ["rights", "template", "InferenceService", "route", "decoder"]
    assert "of cnn-image-1.2.3; the cluster would take" in found["template"].text
    assert found["InferenceService"].text == "Ready, with version 1"


def test_before_the_first_promotion(settings: Settings, cluster: Cluster, tmp_path: Path) -> None:
    del cluster.objects[ISVC]
    cluster.health = 503
    found = broken(settings.model_copy(update={"store": str(tmp_path / "empty")}))
    assert found.keys() == {"route"}, "there is no service yet, and nothing else is blamed for it"


@pytest.mark.parametrize("right", ["patch inferenceservices", "list pods", "create jobs"])
def test_a_right_that_is_missing(settings: Settings, cluster: Cluster, right: str) -> None:
    cluster.denied.add(right)
    found = broken(settings)
    assert found.keys() == {"rights"}
    assert f"may not {right} in namespace ns: bind it to the chart's Role" in found["rights"].text
    assert found["rights"].code == Exit.MISTAKE


def test_an_account_that_may_not_even_ask(settings: Settings, cluster: Cluster) -> None:
    cluster.refusals = dict.fromkeys((REVIEWS, CONFIGMAP, ISVC), 401)
    found = broken(settings)
    assert found.keys() == {"rights", "template", "InferenceService", "decoder"}
    for finding in found.values():
        assert "Kubernetes answered 401: as the test wants; " in finding.text
        assert "kubeconfig" in finding.text


def test_kubernetes_in_trouble_is_a_fault(settings: Settings, cluster: Cluster) -> None:
    cluster.refusals[REVIEWS] = 503
    found = broken(settings)
    assert found.keys() == {"rights"}
    assert found["rights"].code == Exit.FAULT


def test_kubernetes_that_is_away(settings: Settings, monkeypatch: pytest.MonkeyPatch) -> None:
    configuration = client.Configuration(host="http://127.0.0.1:9")
    configuration.retries = 0
    monkeypatch.setattr("jobs.cluster.client.connect", lambda: client.ApiClient(configuration))
    found = broken(settings)
    assert found.keys() == {"rights", "template", "InferenceService", "decoder"}
    assert "does not answer" in found["rights"].text


def test_no_cluster_at_all(settings: Settings, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.undo()
    monkeypatch.setattr(doctor, "_mlflow", lambda settings: "a store")
    monkeypatch.setattr(doctor, "_alias", lambda settings, store: "as the ledger")
    monkeypatch.setattr(doctor, "_data", lambda settings: "images")
    monkeypatch.setattr("kubernetes.config.kube_config.KUBE_CONFIG_DEFAULT_LOCATION", str(tmp_path / "none"))
    found = broken(settings)
    assert found.keys() == {"rights", "template", "InferenceService", "decoder"}
    assert "set KUBECONFIG" in found["rights"].text


def test_a_chart_that_is_not_installed(settings: Settings, cluster: Cluster) -> None:
    del cluster.objects[CONFIGMAP]
    found = broken(settings)
    assert found.keys() == {"template"}
    assert "is in namespace ns: install the chart there" in found["template"].text


def test_a_kserve_that_is_not_installed(settings: Settings, cluster: Cluster) -> None:
    cluster.refusals[ISVC] = 404
    found = broken(settings)
    assert found.keys() == {"template", "InferenceService", "decoder"}
    assert "There is no KServe in this cluster" in found["InferenceService"].text


@pytest.mark.parametrize(
    ("rule", "words"),
    [
        (
            'admission webhook "validate.kyverno.svc-fail" denied the request: no image of another registry',
            ("rule validate.kyverno.svc-fail refuses it (no image of another", "owner for an exception"),
        ),
        (
            "jobs.batch is forbidden: ValidatingAdmissionPolicy 'digests' with binding 'all' denied request: "
            "name images by digest",
            ("rule digests refuses it (name images by digest)", "owner for an exception"),
        ),
        (
            'jobs.batch "x" is forbidden: exceeded quota: small, requested: count/jobs.batch=1, used: '
            "count/jobs.batch=9, limited: count/jobs.batch=9",
            ("ResourceQuota small refuses it (requested: count/jobs.batch=1, used", "owner for more"),
        ),
    ],
)
def test_a_rule_of_the_clusters_owner(
    settings: Settings, cluster: Cluster, rule: str, words: tuple[str, str]
) -> None:
    cluster.rule = rule
    found = broken(settings)
    assert found.keys() == {"template"}
    assert found["template"].code == Exit.MISTAKE
    for each in words:
        assert each in found["template"].text


def test_a_webhook_that_does_not_answer_is_a_fault(settings: Settings, cluster: Cluster) -> None:
    cluster.rule = (
        'Internal error occurred: failed calling webhook "inferenceservice.kserve-webhook-server.defaulter": '
        "connection refused"
    )
    found = broken(settings)
    assert found["template"].code == Exit.FAULT
    words = "the cluster's webhook inferenceservice.kserve-webhook-server.defaulter does not answer"
    assert words in found["template"].text


def test_an_inferenceservice_of_another_version(settings: Settings, cluster: Cluster) -> None:
    cluster.objects[ISVC] = isvc("s3://b/store/versions/000002/", ("Ready", "True"))
    found = broken(settings)
    assert found.keys() == {"InferenceService"}
    assert (
        found["InferenceService"].text
        == "it runs version 2 and version 1 is promoted: run `cnn-image deploy`"
    )


def test_an_inferenceservice_that_is_not_ready(settings: Settings, cluster: Cluster) -> None:
    cluster.objects[ISVC] = isvc(
        "s3://b/store/versions/000001/", ("PredictorReady", "False"), ("Ready", "False")
    )
    found = broken(settings)
    assert found.keys() == {"InferenceService"}
    assert "its condition PredictorReady is False (no reason given)" in found["InferenceService"].text
    assert "kubectl -n ns describe isvc cnn-image" in found["InferenceService"].text


def test_an_inferenceservice_that_was_edited_by_hand(settings: Settings, cluster: Cluster) -> None:
    cluster.objects[ISVC] = isvc("pvc://models", ("Ready", "True"))
    found = broken(settings)
    assert found.keys() == {"InferenceService"}
    assert "`cnn-image deploy --force`" in found["InferenceService"].text


def test_a_route_that_leads_nowhere(settings: Settings) -> None:
    found = broken(settings.model_copy(update={"service_url": "http://127.0.0.1:9"}))
    assert found.keys() == {"route", "decoder"}
    assert "set CNN_IMAGE_SERVICE_URL" in found["route"].text
    assert found["route"].code == Exit.FAULT


def test_a_route_that_leads_nowhere_in_one_family(
    settings: Settings, cluster: Cluster, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The server of the test has 127.0.0.1 alone; the Service's name leads to ::1 too."""
    lookup = socket.getaddrinfo

    def found(host: Any, *arguments: Any, **named: Any) -> list[Any]:
        ips = ["::1", "127.0.0.1"] if host == "images.example" else [host]
        return [one for ip in ips for one in lookup(ip, *arguments, **named)]

    monkeypatch.setattr(socket, "getaddrinfo", found)
    url = cluster.url.replace("127.0.0.1", "images.example")
    broken_links = broken(settings.model_copy(update={"service_url": url}))
    assert broken_links.keys() == {"route"}
    assert f"{url} answers at 127.0.0.1 and not at ::1" in broken_links["route"].text
    assert "CNN_IMAGE_HOST=::" in broken_links["route"].text
    assert "the Service's ipFamilies" in broken_links["route"].text


def test_a_service_that_answers_503(settings: Settings, cluster: Cluster) -> None:
    cluster.health = 503
    found = broken(settings)
    assert found.keys() == {"route"}
    assert "/health says 503" in found["route"].text
    assert "`kubectl -n ns logs" in found["route"].text


def test_another_decoder(settings: Settings, cluster: Cluster) -> None:
    cluster.decoder = "2"
    found = broken(settings)
    assert found.keys() == {"decoder"}
    assert "judged with decoder 1 and the service decodes with 2" in found["decoder"].text
