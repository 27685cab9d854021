"""A Job of many pods, each with an index of its own: Kubernetes' Indexed Job."""

import copy

from jobs.cluster.client import Json


def indexed(job: Json, pods: int) -> Json:
    """Make one of a Job with a single pod.

    A lost pod is tried again by itself, as often as the single one would be; an exit code that ends the Job
    (`podFailurePolicy`) ends all of it. Each pod has empty folders in place of the release's volumes, which
    most often can be mounted on one node alone.

    Args:
        job: As `jobs.cluster.launch.job_from` makes it.
        pods: How many, all side by side; each learns which it is from JOB_COMPLETION_INDEX.
    """
    made = copy.deepcopy(job)
    spec = made["spec"]
    spec |= {"completionMode": "Indexed", "completions": pods, "parallelism": pods}
    spec["backoffLimitPerIndex"] = spec.pop("backoffLimit", 1)
    pod = spec["template"]["spec"]
    pod["volumes"] = [
        {"name": volume["name"], "emptyDir": {}} if "persistentVolumeClaim" in volume else volume
        for volume in pod.get("volumes", [])
    ]
    return made
