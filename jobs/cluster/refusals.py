"""What Kubernetes refuses, in sentences that name what is wrong in the cluster and whom to ask."""

import re

from jobs.errors import FaultError, JobError, MistakeError

_RIGHT = re.compile(r'User "(?P<who>[^"]+)" cannot (?P<verb>\w+) resource "(?P<what>[^"]+)"')
# What the rules of a cluster's owner refuse, and how that is said.
_RULES: tuple[tuple[type[JobError], re.Pattern[str], str], ...] = (
    (
        MistakeError,
        re.compile(r"(?:exceeded|failed) quota: (?P<name>[^,:]+)[,:] ?(?P<why>.*)", re.DOTALL),
        "the namespace's ResourceQuota {name} refuses it ({why}); ask the cluster's owner for more, or lower "
        "what the chart's values ask for",
    ),
    (
        MistakeError,
        re.compile(
            r"""(?:admission webhook|ValidatingAdmissionPolicy) ["'](?P<name>[^"']+)["']"""
            r".*?denied (?:the )?request:? ?(?P<why>.*)",
            re.DOTALL,
        ),
        "the cluster's rule {name} refuses it ({why}); set the chart's values as it asks, or ask the "
        "cluster's owner for an exception",
    ),
    (
        FaultError,
        re.compile(r'failed calling webhook "(?P<name>[^"]+)":? ?(?P<why>.*)', re.DOTALL),
        "the cluster's webhook {name} does not answer ({why}); ask the cluster's owner to look at it",
    ),
)


def explain(code: int, text: str, doing: str, role: str) -> JobError:
    """Say an answer of Kubernetes other than success.

    Args:
        code: HTTP's.
        text: Kubernetes' own words.
        doing: What was tried, as it fits behind "cannot": "start the Job".
        role: The chart's Role that allows it.

    Returns:
        A fault where waiting may help, else a mistake.
    """
    right = _RIGHT.search(text)
    if code == 403 and right:
        return MistakeError(
            f"Cannot {doing}: {right['who']} lacks the right to {right['verb']} {right['what']}; "
            f"grant it as the chart's Role {role} does."
        )
    for kind, pattern, sentence in _RULES:
        if rule := pattern.search(text):
            return kind(f"Cannot {doing}: {sentence.format(**rule.groupdict())}.")
    if code == 401:
        return MistakeError(
            f"Cannot {doing}: Kubernetes answered 401: {text}; name a kubeconfig with valid credentials."
        )
    if code >= 500 or code == 429:
        return FaultError(f"Cannot {doing}: Kubernetes answered {code}: {text}")
    return MistakeError(f"Cannot {doing}: Kubernetes answered {code}: {text}")
