"""What the objects of a model are called in its namespace; the chart gives the same names.

Imports nothing heavy: the transformer comes here through `jobs.cluster.launch`.
"""

from dataclasses import dataclass


@dataclass(frozen=True)
class Names:
    """All begin with the model's own name, which is the InferenceService's and the Service's too.

    Attributes:
        model: The model's.
    """

    model: str

    @property
    def template(self) -> str:
        """The ConfigMap with the templates of the InferenceService and the pre-flight."""
        return f"{self.model}-inferenceservice"

    @property
    def training(self) -> str:
        """The CronJob that trainings are started from."""
        return f"{self.model}-retrain"

    @property
    def scoring(self) -> str:
        """The CronJob that scorings are started from: an Indexed Job."""
        return f"{self.model}-score"

    @property
    def command(self) -> str:
        """The CronJob that all other commands are started from."""
        return f"{self.model}-command"

    @property
    def preflight(self) -> str:
        """The Job of the pre-flight, of which there is one at a time."""
        return f"{self.model}-preflight"

    @property
    def predictor(self) -> str:
        """What KServe makes of Triton: a Deployment, a Service, an autoscaler."""
        return f"{self.model}-predictor"

    @property
    def transformer(self) -> str:
        """The same of the transformer."""
        return f"{self.model}-transformer"

    @property
    def role(self) -> str:
        """What the jobs may do, and the ServiceAccount that may."""
        return f"{self.model}-jobs"

    def url(self, namespace: str) -> str:
        """The service's address inside the cluster."""
        return f"http://{self.model}.{namespace}"
