"""Why weights cannot be taken."""


class WeightsError(ValueError):
    """Weights that cannot be taken; the sentence says why and what to do."""
