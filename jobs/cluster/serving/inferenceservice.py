"""The place that serves on Kubernetes: KServe's InferenceService, made of the chart's template and a version.

The template lies in the ConfigMap `MODEL-inferenceservice`. Applying is server-side, as field manager
`cnn-image`: what others own is never overwritten unless asked, and Helm never owns the object.
"""

import re
import tempfile
from collections.abc import Collection
from datetime import UTC, datetime
from http import HTTPStatus
from pathlib import Path

import httpx
import yaml

from export.store.versions import Store
from jobs.cluster.client import ApiError, Json, Kubernetes
from jobs.cluster.serving import preflight_job
from jobs.cluster.serving.rollout import Rollout
from jobs.cluster.serving.template import belonging_to, read_template
from jobs.console import say
from jobs.errors import FaultError, LostError, MistakeError
from jobs.known import known_evidence, known_images, verify_service
from jobs.settings import Settings
from model.data.remote.http_client import http_client

RESTARTED = "cnn-image/restarted-at"
"""Ours, on pods: another value has Kubernetes replace them."""

_URI_VERSION = re.compile(r"/versions/0*([1-9][0-9]*)/?$")


class InferenceServiceDeployer:
    """Implements `jobs.promotion.deployer.Deployer` on Kubernetes.

    Args:
        settings: Of the command line.
        store: Where versions are.
        kubernetes: The cluster and the namespace of the InferenceService.
        force: Take fields back that someone changed by hand.
    """

    def __init__(
        self, settings: Settings, store: Store, kubernetes: Kubernetes, *, force: bool = False
    ) -> None:
        self._settings = settings
        self._store = store
        self._kubernetes = kubernetes
        self._force = force

    @property
    def _url(self) -> str:
        names, namespace = self._kubernetes.names, self._kubernetes.namespace
        return self._settings.service_url or names.url(namespace)

    def served(self) -> int | None:
        """See `Deployer.served`.

        Raises:
            LostError: The object serves something that is no version of a store.
        """
        service = self._read()
        if service is None:
            return None
        uri = str(service["spec"]["predictor"].get("model", {}).get("storageUri", ""))
        version = uri_version(uri)
        if version is None:
            raise LostError(
                f"The InferenceService serves {uri or 'no storageUri'}, which is no version: someone changed "
                "it by hand; bring it back with `cnn-image deploy --force`."
            )
        return version

    def decoder(self) -> str | None:
        """See `Deployer.decoder`."""
        if self._read() is None:
            return None
        try:
            with http_client(self._url, 10) as client:
                answer = client.get("/info")
            answer.raise_for_status()
            return str(answer.json()["decoder_version"])
        except (httpx.HTTPError, ValueError, KeyError) as error:
            raise FaultError(
                f"{self._url}/info does not say which decoder is live ({error!r}); see `kubectl get isvc`."
            ) from error

    def dry_run(self) -> None:
        """See `Deployer.dry_run`: both templates, as the API server and its webhooks would take them."""
        self.rehearse(max(self._store.numbers(), default=0) + 1)
        preflight_job.dry_run(self._kubernetes, self._template("preflight.yaml"))

    def rehearse(self, version: int) -> None:
        """See `Deployer.rehearse`: a dry run of the apply."""
        self._apply(self._body(version), dry_run=True)

    def preflight(self, version: int) -> None:
        """See `Deployer.preflight`: a Job with the Triton that would serve."""
        preflight_job.run(self._kubernetes, self._template("preflight.yaml"), version)

    def deploy(self, version: int) -> None:
        """See `Deployer.deploy`.

        Transformers in pods of their own are there before the predictors that had them beside themselves go,
        and go only once the predictors have their own.
        """
        body, live = self._body(version), self._read()
        name = f"{self._kubernetes.namespace}/{self._kubernetes.names.model}"
        say(f"InferenceService {name}: rolling out version {version} …")
        replaced = self._restart_stuck(body, live) if live is not None else set()
        apart = live is not None and "transformer" in body["spec"] and "transformer" not in live["spec"]
        if live is not None and apart and not replaced:
            self._apply(body, dry_run=True)  # a hand edit is refused before anything changes
            beside = {**body, "spec": {**body["spec"], "predictor": live["spec"]["predictor"]}}
            self._wait(self._apply(beside), replaced)
        self._wait(self._apply(body), replaced)
        if "transformer" not in body["spec"]:
            self._remove_transformers()

    def verify(self, version: int) -> None:
        """See `Deployer.verify`: known images through the chart's Service."""
        with tempfile.TemporaryDirectory(prefix="cnn-image-verify-") as scratch:
            folder = self._store.fetch(version, Path(scratch))
            known = known_images(folder, version, known=known_evidence(self._store, version))
        verify_service(self._url, known)
        for file, due in zip(known.files, known.probabilities, strict=True):
            say(f"{file.name}: {known.contract.classes[int(due.argmax())]}, answered by version {version}")

    def _restart_stuck(self, body: Json, live: Json) -> set[str]:
        """Have pods that cannot start made anew, whatever else changes; return the names of those that go.

        A pod keeps what it was made with: KServe writes into it where its download goes and by which Secret,
        so that whoever mends these changes nothing that would replace it.
        """
        uri = body["spec"]["predictor"]["model"]["storageUri"]
        rollout, replaced = Rollout(self._kubernetes, uri), set()
        for part in ("predictor", "transformer"):
            if part not in body["spec"]:
                continue
            restarted = live["spec"].get(part, {}).get("annotations", {}).get(RESTARTED)
            try:
                reason = rollout.hopeless(part, tries=1)
                if reason:
                    say(f"{reason}; it is replaced.")
                    restarted = datetime.now(UTC).isoformat()
                    replaced |= {pod["metadata"]["name"] for pod in rollout.pods(part)}
            except ApiError as error:
                if error.code != HTTPStatus.TOO_MANY_REQUESTS and error.code < 500:
                    raise error.explained("look at the pods") from error
            if restarted:  # kept, or its absence would replace them once more
                body["spec"][part].setdefault("annotations", {})[RESTARTED] = restarted
        return replaced

    def _wait(self, applied: Json, replaced: Collection[str]) -> None:
        uri = applied["spec"]["predictor"]["model"]["storageUri"]
        Rollout(self._kubernetes, uri, replaced).wait(self._settings.rollout_seconds)

    def _remove_transformers(self) -> None:
        """KServe (0.20) leaves running what it made of a component that is no longer asked for."""
        name = self._kubernetes.names.transformer
        for kind in ("horizontalpodautoscalers", "deployments", "services"):
            try:
                self._kubernetes.delete(kind, name)
            except ApiError as error:
                if error.code != 404:
                    raise error.explained(f"remove {name}, which no longer has a task") from error

    def _read(self) -> Json | None:
        try:
            return self._kubernetes.find("inferenceservices", self._kubernetes.names.model)
        except ApiError as error:
            raise _without_kserve(error) or error.explained("read the InferenceService") from error

    def _template(self, key: str) -> Json:
        found = read_template(self._kubernetes)
        return belonging_to(found, yaml.safe_load(found["data"][key]), self._kubernetes.namespace)

    def _body(self, version: int) -> Json:
        body = self._template("inferenceservice.yaml")
        body["spec"]["predictor"]["model"]["storageUri"] = self._store.uri(version)
        return body

    def _apply(self, body: Json, *, dry_run: bool = False) -> Json:
        try:
            return self._kubernetes.apply("inferenceservices", body, force=self._force, dry_run=dry_run)
        except ApiError as error:
            conflict = edited_by_hand(error)
            if conflict:
                raise LostError(conflict) from error
            raise _without_kserve(error) or error.explained("apply the InferenceService") from error


def uri_version(uri: str) -> int | None:
    """The version that a storageUri names; None where it names none."""
    match = _URI_VERSION.search(uri)
    return int(match[1]) if match else None


def edited_by_hand(error: ApiError) -> str | None:
    """The sentence for a conflict of server-side apply; None for any other error."""
    if error.code != 409:
        return None
    causes = error.status.get("details", {}).get("causes", [])
    fields = [
        f"{cause['field']} ({cause['message']})"
        for cause in causes
        if cause.get("reason") == "FieldManagerConflict"
    ]
    if not fields:
        return None
    return (
        f"The InferenceService was edited by hand: {', '.join(fields)}. Undo that, or take the fields back "
        "with `cnn-image deploy --force`."
    )


def _without_kserve(error: ApiError) -> MistakeError | None:
    if error.code != 404:
        return None
    return MistakeError(
        "There is no KServe in this cluster (it knows no InferenceService): install it, or ask the cluster's "
        "owner for KServe 0.20 or newer in Standard mode."
    )
