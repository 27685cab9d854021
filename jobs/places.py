"""Which place serves, Kubernetes or this machine: chosen here, so that a promotion knows of neither."""

from export.store.versions import Store
from jobs.errors import MistakeError
from jobs.laptop.deployer import LaptopDeployer
from jobs.promotion.deployer import Deployer
from jobs.settings import Settings
from model.contract import MODEL_NAME


def open_deployer(settings: Settings, store: Store, *, force: bool = False) -> Deployer:
    """The place this process promotes to: Kubernetes where a namespace is set, this machine elsewhere.

    Args:
        settings: Of the command line.
        store: Where versions are.
        force: On Kubernetes, take back what someone changed by hand.

    Raises:
        MistakeError: Another model than the chart's is to be served on Kubernetes.
    """
    if settings.namespace:
        if settings.model != MODEL_NAME:
            raise MistakeError(
                f"On Kubernetes the model is {MODEL_NAME}, not {settings.model}: unset CNN_IMAGE_MODEL "
                "and give another model a store and a namespace of its own."
            )
        from jobs.cluster.client import Kubernetes
        from jobs.cluster.inferenceservice import InferenceServiceDeployer

        return InferenceServiceDeployer(settings, store, Kubernetes(settings.namespace), force=force)
    return LaptopDeployer(settings, store)
