"""Looking at the data before anything is learned from it: `data`."""

from collections.abc import Callable

from jobs.commands.options import DataFlag, OutputsFlag, SampleFlag, StoreFlag, write_outputs
from jobs.console import answer, say
from jobs.pipeline.training_runs import request_of
from jobs.settings import load_settings


def data(
    source: DataFlag = None,
    sample_allowed: SampleFlag = False,
    store: StoreFlag = None,
    outputs: OutputsFlag = None,
) -> None:
    """Check the training data: all images there, which they are, and what was made of them already."""
    from jobs.pipeline.candidate import made_before
    from jobs.pipeline.data import load_data

    settings = load_settings(data=source, store=store)
    request = request_of(settings, 0)
    dataset = load_data(request, settings, settings.open_store(), sample_allowed=sample_allowed)
    made = made_before(request, dataset, settings.open_store())
    if made is not None:
        say(f"Version {made} was made of it, by the same recipe, seed and code.")
    write_outputs(outputs, digest=dataset.digest, images=len(dataset.train), made=made)
    answer(dataset.digest)


COMMANDS: tuple[Callable[..., None], ...] = (data,)
