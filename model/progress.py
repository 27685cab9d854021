"""Training as a person watches it: a live line in a terminal, plain lines in a log."""

import time
from typing import Final

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TaskID, TextColumn

from model.observer import Observer, Plan, Step, TrainedModel

_LOG_EVERY_SECONDS: Final = 30.0


class ProgressPrinter(Observer):
    """Prints images/s, loss, accuracy and the time left.

    Args:
        console: Where to. A terminal gets a live line, anything else a line each epoch and half minute.
    """

    def __init__(self, console: Console | None = None) -> None:
        self._console = console or Console(stderr=True)
        self._live: Progress | None = None
        self._task = TaskID(0)
        self._plan: Plan | None = None
        self._began = self._logged = 0.0

    def started(self, plan: Plan) -> None:
        """Say what is trained on what."""
        self._plan = plan
        self._began = self._logged = time.monotonic()
        recipe, data = plan.recipe, plan.dataset
        self._print(
            f"Training {recipe.name}: {len(data.train):,} images ({data.source}), {recipe.epochs} epochs of "
            f"{plan.steps_per_epoch} steps, batch {recipe.batch_size}, seed {plan.seed}, on {plan.device}"
        )
        if plan.first_epoch > 1:
            self._print(
                f"Continuing after epoch {plan.first_epoch - 1} from its checkpoint in {plan.run_dir}"
            )
        if self._console.is_terminal:
            self._live = Progress(
                TextColumn("{task.description}"),
                BarColumn(),
                MofNCompleteColumn(),
                TextColumn("{task.fields[figures]}"),
                console=self._console,
                transient=True,
            )
            self._live.start()
            self._task = self._live.add_task("", total=plan.steps_per_epoch, figures="")

    def stepped(self, step: Step) -> None:
        """Move the live line, or log a line each half minute."""
        plan = self._begun()
        done = (step.epoch - plan.first_epoch) * plan.steps_per_epoch + step.step
        elapsed = time.monotonic() - self._began
        left = (plan.recipe.epochs * plan.steps_per_epoch) - (
            (plan.first_epoch - 1) * plan.steps_per_epoch + done
        )
        rate = done * plan.recipe.batch_size / elapsed
        figures = (
            f"{rate:,.0f} images/s  loss {step.loss:.3f}  accuracy {step.accuracy:.3f}  "
            f"{_duration(elapsed / done * left)} left"
        )
        if self._live:
            self._live.update(
                self._task,
                description=f"epoch {step.epoch}/{plan.recipe.epochs}",
                completed=step.step,
                figures=figures,
            )
        elif time.monotonic() - self._logged > _LOG_EVERY_SECONDS:
            self._logged = time.monotonic()
            self._print(
                f"epoch {step.epoch}/{plan.recipe.epochs} step {step.step}/{plan.steps_per_epoch}  {figures}"
            )

    def epoch_ended(self, epoch: int, metrics: dict[str, float]) -> None:
        """Print the epoch's figures, which stay."""
        plan = self._begun()
        self._logged = time.monotonic()
        each = (time.monotonic() - self._began) / (epoch - plan.first_epoch + 1)
        self._print(
            f"epoch {epoch:>2}/{plan.recipe.epochs}  {metrics['images_per_second']:>6,.0f} images/s  "
            f"loss {metrics['loss']:.3f}  accuracy {metrics['accuracy']:.3f}  "
            f"validation {metrics['val_accuracy']:.3f}  {_duration(each * (plan.recipe.epochs - epoch))} left"
        )

    def finished(self, trained: TrainedModel) -> None:
        """Print the result."""
        self._stop()
        metrics = trained.metrics
        self._print(
            f"Trained in {_duration(metrics['seconds'])}: validation accuracy {metrics['val_accuracy']:.3f}, "
            f"temperature {trained.temperature:.2f}"
        )

    def stopped(self, reason: BaseException) -> None:
        """Say where training can go on."""
        self._stop()
        if isinstance(reason, KeyboardInterrupt):
            self._print(f"Interrupted; the last whole epoch's checkpoint is in {self._begun().run_dir}")

    def _begun(self) -> Plan:
        if self._plan is None:
            raise RuntimeError("started() comes first.")
        return self._plan

    def _stop(self) -> None:
        if self._live:
            self._live.stop()
            self._live = None

    def _print(self, line: str) -> None:
        # A line of a log stays one line, and loss 0.3 is no link or colour.
        self._console.print(line, soft_wrap=True, highlight=False, markup=False)


def _duration(seconds: float) -> str:
    minutes, rest = divmod(round(seconds), 60)
    return f"{minutes} min {rest:02} s" if minutes else f"{rest} s"
