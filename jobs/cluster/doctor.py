"""The links that a cluster adds: rights, template, InferenceService, route."""

from collections.abc import Callable

import httpx

from export.store.versions import Store
from jobs.cluster.client import ApiError, Kubernetes
from jobs.cluster.names import Names
from jobs.cluster.serving.inferenceservice import InferenceServiceDeployer
from jobs.errors import FaultError, MistakeError
from jobs.health import ask_health, require_all
from jobs.settings import Settings
from model.data.remote.http_client import UnusableWayError, addresses


def rights(names: Names) -> list[tuple[str, str, str, str]]:
    """What a promotion does, as the chart's Role `MODEL-jobs` allows it: verb, group, resource, name."""
    return [
        ("create", "serving.kserve.io", "inferenceservices", ""),
        ("get", "serving.kserve.io", "inferenceservices", names.model),
        ("patch", "serving.kserve.io", "inferenceservices", names.model),
        ("get", "", "configmaps", names.template),
        ("get", "apps", "deployments", names.predictor),
        ("get", "apps", "deployments", names.transformer),
        ("list", "", "pods", ""),
        ("create", "batch", "jobs", ""),
        ("get", "batch", "jobs", names.preflight),
        ("delete", "batch", "jobs", names.preflight),
    ]


def cluster_links(settings: Settings, store: Store) -> dict[str, Callable[[], str]]:
    """The checks by name; each returns what it found, or raises with what mends it."""
    namespace = settings.namespace or ""

    def kubernetes() -> Kubernetes:
        return Kubernetes(namespace, model=settings.model)

    return {
        "rights": lambda: _rights(kubernetes()),
        "template": lambda: _template(settings, store, kubernetes()),
        "InferenceService": lambda: _inferenceservice(settings, store, kubernetes()),
        "route": lambda: _route(settings, namespace),
    }


def _rights(kubernetes: Kubernetes) -> str:
    needed = rights(kubernetes.names)
    try:
        missing = [
            f"{verb} {resource}"
            for verb, group, resource, name in needed
            if not kubernetes.may(verb, group, resource, name)
        ]
    except ApiError as error:
        raise error.explained("ask which rights this account has") from error
    if missing:
        raise MistakeError(
            f"this account may not {', '.join(missing)} in namespace {kubernetes.namespace}: bind it to the "
            f"chart's Role {kubernetes.names.role}"
        )
    return f"all {len(needed)} that a promotion needs in namespace {kubernetes.namespace}"


def _template(settings: Settings, store: Store, kubernetes: Kubernetes) -> str:
    """The ConfigMap is there, and the cluster would take what is made of it."""
    template = kubernetes.names.template
    try:
        found = kubernetes.get("configmaps", template)
    except ApiError as error:
        if error.code == 404:
            raise MistakeError(
                f"no ConfigMap {template} is in namespace {kubernetes.namespace}: install the chart there"
            ) from error
        raise error.explained(f"read the ConfigMap {template}") from error
    InferenceServiceDeployer(settings, store, kubernetes).dry_run()
    chart = found["metadata"].get("labels", {}).get("helm.sh/chart", "no chart")
    return f"ConfigMap {template} of {chart}; the cluster would take what is made of it"


def _inferenceservice(settings: Settings, store: Store, kubernetes: Kubernetes) -> str:
    promoted = store.ledger.served()
    live = InferenceServiceDeployer(settings, store, kubernetes).served()
    if live != promoted:
        raise FaultError(
            f"it runs version {live or 'none'} and version {promoted or 'none'} is promoted: "
            "run `cnn-image deploy`"
        )
    if live is None:
        return "none, and no version is promoted yet"
    try:
        service = kubernetes.get("inferenceservices", kubernetes.names.model)
    except ApiError as error:
        raise error.explained("read the InferenceService") from error
    for condition in service.get("status", {}).get("conditions", []):
        if condition["status"] != "True" and condition.get("severity") != "Info":
            why = condition.get("message") or condition.get("reason") or "no reason given"
            raise FaultError(
                f"its condition {condition['type']} is {condition['status']} ({why}): "
                f"see `kubectl -n {kubernetes.namespace} describe isvc {kubernetes.names.model}`"
            )
    return f"Ready, with version {live}"


def _route(settings: Settings, namespace: str) -> str:
    url = settings.service_url or Names(settings.model).url(namespace)
    try:
        answers = ask_health(url, addresses(url))
    except UnusableWayError as error:
        raise MistakeError(str(error)) from error
    except httpx.InvalidURL as error:
        raise _leads_nowhere(url, str(error)) from error
    if all(answer.status is None for answer in answers):
        raise _leads_nowhere(url, answers[0].text)
    require_all(
        url,
        answers,
        "let the transformer listen on both families (CNN_IMAGE_HOST=::, its default), or leave this one out "
        "of the Service's ipFamilies",
    )
    for answer in answers:
        if answer.status != httpx.codes.OK:
            raise FaultError(
                f"{url}/health says {answer.status} {answer.text}: see what its pods say with "
                f"`kubectl -n {namespace} logs -l serving.kserve.io/inferenceservice={settings.model}`"
            )
    at = ", ".join(answer.ip for answer in answers if answer.ip)
    return f"{url} answers{at and ' at '}{at}"


def _leads_nowhere(url: str, why: str) -> FaultError:
    return FaultError(
        f"{url} does not answer ({why}): run this in the cluster, or set CNN_IMAGE_SERVICE_URL to an "
        "address that leads there, and look at the Service and the NetworkPolicies"
    )
