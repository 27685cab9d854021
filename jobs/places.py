"""Which place serves, Kubernetes or this machine: chosen here, so that a promotion knows of neither."""

from export.store.versions import Store
from jobs.laptop.deployer import LaptopDeployer
from jobs.promotion.deployer import Deployer
from jobs.settings import Settings


def open_deployer(settings: Settings, store: Store, *, force: bool = False) -> Deployer:
    """The place this process promotes to: Kubernetes where a namespace is set, this machine elsewhere.

    Args:
        settings: Of the command line.
        store: Where versions are.
        force: On Kubernetes, take back what someone changed by hand.
    """
    if settings.namespace:
        from jobs.cluster.client import Kubernetes
        from jobs.cluster.serving.inferenceservice import InferenceServiceDeployer

        place = Kubernetes(settings.namespace, model=settings.model)
        return InferenceServiceDeployer(settings, store, place, force=force)
    return LaptopDeployer(settings, store)
