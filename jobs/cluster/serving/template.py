"""The ConfigMap with the templates that the chart renders, and what is made in the release's name."""

from jobs.cluster.client import ApiError, Json, Kubernetes
from jobs.errors import MistakeError


def read_template(kubernetes: Kubernetes) -> Json:
    """The ConfigMap with the templates.

    Raises:
        MistakeError: The chart is not installed there, or a right is missing.
    """
    template = kubernetes.names.template
    try:
        return kubernetes.get("configmaps", template)
    except ApiError as error:
        if error.code == 404:
            raise MistakeError(
                f"There is no ConfigMap {template} in namespace {kubernetes.namespace}: "
                "install the chart there first."
            ) from error
        raise error.explained(f"read the ConfigMap {template}") from error


def belonging_to(configmap: Json, body: Json, namespace: str) -> Json:
    """Return an object that belongs to the release: uninstalling it removes the object.

    Args:
        configmap: The chart's, which becomes its owner.
        body: The object; who moved the ConfigMap to another namespace could not reach into its text.
        namespace: The ConfigMap's.
    """
    owner = {key: configmap["metadata"][key] for key in ("name", "uid")}
    owner |= {"apiVersion": "v1", "kind": "ConfigMap"}
    metadata = {**body["metadata"], "namespace": namespace, "ownerReferences": [owner]}
    return {**body, "metadata": metadata}
