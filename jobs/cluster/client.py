"""The Kubernetes API as the other modules use it: objects are plain JSON, refusals are sentences.

Imports nothing heavy but the kubernetes client, because the transformer starts Jobs through
`jobs.cluster.launch`.
"""

import json
import os
import re
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import urllib3
from kubernetes import client, config

from jobs.cluster.names import Names
from jobs.cluster.refusals import explain
from jobs.errors import FaultError, JobError, MistakeError

FIELD_MANAGER = "cnn-image"
"""Who owns what we apply, in the objects' managedFields."""

Json = dict[str, Any]

_IN_POD = Path("/var/run/secrets/kubernetes.io/serviceaccount/namespace")
_CONNECTION = re.compile(r"^\w+\(host=[^)]*\): ")
"""What urllib3's errors begin with."""
_TIMEOUT_SECONDS = 30

# Where each kind lies, in front of /namespaces/.
_APIS = {
    "configmaps": "/api/v1",
    "cronjobs": "/apis/batch/v1",
    "deployments": "/apis/apps/v1",
    "horizontalpodautoscalers": "/apis/autoscaling/v2",
    "inferenceservices": "/apis/serving.kserve.io/v1beta1",
    "jobs": "/apis/batch/v1",
    "pods": "/api/v1",
    "secrets": "/api/v1",
    "services": "/api/v1",
}


class ApiError(Exception):
    """An answer of Kubernetes other than success.

    Attributes:
        code: HTTP's.
        status: Kubernetes' Status object; empty where it sent none.
        role: The chart's Role that allows what was refused.
    """

    def __init__(self, code: int, status: Json, reason: str, role: str = "MODEL-jobs") -> None:
        super().__init__(str(status.get("message") or reason))
        self.code = code
        self.status = status
        self.role = role

    def explained(self, doing: str) -> JobError:
        """Return it as ours, in a sentence.

        Args:
            doing: What was tried, as it fits behind "cannot": "start the Job".
        """
        return explain(self.code, str(self), doing, self.role)


class Kubernetes:
    """A model's place in a cluster: a namespace, which it may share with others, and its names there.

    Args:
        namespace: To work in.
        api: A connection; the one of `connect` unless given.
        model: Whose objects are meant.
    """

    def __init__(self, namespace: str, api: client.ApiClient | None = None, *, model: str) -> None:
        self.namespace = namespace
        self.names = Names(model)
        self._api = api or connect()

    def get(self, kind: str, name: str) -> Json:
        """Read an object.

        Raises:
            ApiError: It is not there (code 404), or the request was refused.
            FaultError: Kubernetes does not answer; so for every method here.
            MistakeError: The proxy that leads there cannot be used; as well.
        """
        return self._json("GET", self._path(kind, name))

    def find(self, kind: str, name: str) -> Json | None:
        """Read an object; None where it does not exist."""
        try:
            return self.get(kind, name)
        except ApiError as error:
            if error.code == 404 and error.status.get("details", {}).get("name"):
                return None
            raise

    def list(self, kind: str, selector: str) -> list[Json]:
        """Read the objects that carry some labels."""
        return list(self._json("GET", self._path(kind), {"labelSelector": selector})["items"])

    def create(self, kind: str, body: Json, *, dry_run: bool = False) -> Json:
        """Make an object, or only have it checked and completed as if."""
        query = {"dryRun": "All"} if dry_run else None
        return self._json("POST", self._path(kind), query, body)

    def apply(self, kind: str, body: Json, *, force: bool = False, dry_run: bool = False) -> Json:
        """Make an object, or bring it to what `body` says; a field that others own is a conflict."""
        query = {"fieldManager": FIELD_MANAGER, "force": str(force).lower()}
        if dry_run:
            query["dryRun"] = "All"
        name = body["metadata"]["name"]
        return self._json("PATCH", self._path(kind, name), query, body, "application/apply-patch+yaml")

    def delete(self, kind: str, name: str, *, uid: str | None = None) -> None:
        """Remove an object and what it owns; by its uid, it is left if another has its name by now (409)."""
        options: Json = {"kind": "DeleteOptions", "apiVersion": "v1", "propagationPolicy": "Background"}
        if uid is not None:
            options["preconditions"] = {"uid": uid}
        self._json("DELETE", self._path(kind, name), body=options)

    def may(self, verb: str, group: str, resource: str, name: str = "") -> bool:
        """Ask whether this account has a right in the namespace; a name limits it to one object."""
        review = {
            "apiVersion": "authorization.k8s.io/v1",
            "kind": "SelfSubjectAccessReview",
            "spec": {
                "resourceAttributes": {
                    "namespace": self.namespace,
                    "verb": verb,
                    "group": group,
                    "resource": resource,
                    "name": name,
                }
            },
        }
        path = "/apis/authorization.k8s.io/v1/selfsubjectaccessreviews"
        return bool(self._json("POST", path, body=review)["status"]["allowed"])

    def logs(self, pod: str, container: str, *, follow: bool = False) -> urllib3.BaseHTTPResponse:
        """Open a container's log, as a stream."""
        query = {"container": container, "follow": str(follow).lower()}
        return self._request("GET", f"{self._path('pods', pod)}/log", query, stream=True)

    def _path(self, kind: str, name: str | None = None) -> str:
        path = f"{_APIS[kind]}/namespaces/{self.namespace}/{kind}"
        return f"{path}/{name}" if name else path

    def _json(
        self,
        method: str,
        path: str,
        query: dict[str, str] | None = None,
        body: Json | None = None,
        content_type: str = "application/json",
    ) -> Json:
        answer: Json = json.loads(self._request(method, path, query, body, content_type).data)
        return answer

    def _request(
        self,
        method: str,
        path: str,
        query: dict[str, str] | None = None,
        body: Json | None = None,
        content_type: str = "application/json",
        *,
        stream: bool = False,
    ) -> urllib3.BaseHTTPResponse:
        method, url, headers, _, _ = self._api.param_serialize(
            method,
            path,
            query_params=list((query or {}).items()),
            header_params={"Accept": "application/json, */*", "Content-Type": content_type},
            auth_settings=["BearerToken"],
        )
        try:
            answer: urllib3.BaseHTTPResponse = self._api.rest_client.pool_manager.request(
                method,
                url,
                body=None if body is None else json.dumps(body),
                headers=headers,
                timeout=urllib3.Timeout(connect=_TIMEOUT_SECONDS, read=None if stream else _TIMEOUT_SECONDS),
                preload_content=not stream,
            )
        except urllib3.exceptions.HTTPError as error:
            raise _unanswered(self._api.configuration, error) from error
        if answer.status >= 400:
            raise ApiError(answer.status, _status(answer.data), answer.reason or "", self.names.role)
        return answer


def _unanswered(configuration: client.Configuration, error: urllib3.exceptions.HTTPError) -> JobError:
    """What a request without an answer becomes: a mistake where the environment's proxy is at fault."""
    reason = getattr(error, "reason", None) or error
    # That a SOCKS proxy itself is away, urllib3 tells by what its error comes from alone.
    proxy_away = type(reason.__context__).__name__ == "ProxyConnectionError"
    if isinstance(reason, urllib3.exceptions.ProxyError):
        proxy_away, reason = True, reason.original_error
    why, where = _CONNECTION.sub("", str(reason)), f"Kubernetes at {configuration.host}"
    if not (proxy_away and configuration.proxy):
        return FaultError(
            f"{where} does not answer ({why}); check the kubeconfig and the network, then try again."
        )
    proxy, host = urlsplit(configuration.proxy), urlsplit(configuration.host).hostname
    return MistakeError(
        f"The proxy {proxy.scheme}://{proxy.netloc.rpartition('@')[2]} on the way to {where} cannot be used "
        f"({why}): correct or unset the variable that names it, or add {host} to NO_PROXY."
    )


def connect() -> client.ApiClient:
    """Return a client for the cluster this pod runs in, or the one the kubeconfig names.

    Raises:
        MistakeError: There is neither, or the environment's proxy is none.
    """
    configuration = client.Configuration()
    try:
        if _IN_POD.exists():
            config.load_incluster_config(client_configuration=configuration)  # type: ignore[no-untyped-call]
        else:
            config.load_kube_config(client_configuration=configuration)  # type: ignore[no-untyped-call]
    except config.ConfigException as error:
        raise MistakeError(
            "There is no Kubernetes to talk to: set KUBECONFIG, or run this in a pod whose service account "
            f"has a token ({error})."
        ) from error
    return through_proxy(configuration)


def through_proxy(configuration: client.Configuration) -> client.ApiClient:
    """Return a client that takes the proxy of the environment as our other clients do.

    Raises:
        MistakeError: It is of a kind that is not known.
    """
    if proxy := configuration.proxy:
        # Without a scheme it is HTTP's, as curl has it; GNOME writes socks:// for any version.
        proxy = proxy if "://" in proxy else f"http://{proxy}"
        configuration.proxy = proxy.replace("socks://", "socks5://", 1)
    try:
        return client.ApiClient(configuration)
    except urllib3.exceptions.ProxySchemeUnknown as error:
        raise MistakeError(
            "The environment names no proxy that can be used on the way to Kubernetes at "
            f"{configuration.host} ({error}): write http://HOST:PORT or socks5://HOST:PORT there, unset it, "
            "or use NO_PROXY."
        ) from error


def own_pod() -> str | None:
    """The name of the pod that this process runs in; None outside a cluster."""
    return os.environ.get("HOSTNAME") if _IN_POD.exists() else None


def current_namespace() -> str:
    """The namespace to work in: CNN_IMAGE_NAMESPACE, this pod's, the kubeconfig's, or `default`."""
    if named := os.environ.get("CNN_IMAGE_NAMESPACE"):
        return named
    if _IN_POD.exists():
        return _IN_POD.read_text().strip()
    try:
        _, active = config.list_kube_config_contexts()  # type: ignore[no-untyped-call]
    except config.ConfigException:
        return "default"
    return str(active["context"].get("namespace") or "default")


def _status(data: bytes) -> Json:
    try:
        status = json.loads(data)
    except ValueError:
        return {}
    return status if isinstance(status, dict) else {}
