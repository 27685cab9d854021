"""Training as a person watches it: images/s, loss, accuracy, the time left, and a line an epoch."""

import time

from rich.console import Console
from rich.progress import BarColumn, Progress, TaskID, TextColumn

from jobs.console import err
from model.training.observer import Observer, Plan, Step, TrainedModel


class ProgressBar(Observer):
    """Prints how training goes: a live bar on a terminal; elsewhere the lines alone."""

    def __init__(self, console: Console = err) -> None:
        self._console = console
        self._bar = Progress(
            TextColumn("epoch {task.fields[epoch]}/{task.fields[epochs]}"),
            BarColumn(bar_width=30),
            TextColumn("{task.percentage:>3.0f}%  {task.fields[figures]}"),
            console=console,
            transient=True,
            disable=not console.is_terminal,
        )
        self._plan: Plan | None = None
        self._task = TaskID(0)
        self._began = 0.0

    def started(self, plan: Plan) -> None:
        """See `Observer.started`."""
        self._plan = plan
        recipe, data = plan.recipe, plan.dataset
        kind = "" if data.kind == "images" else f" ({data.kind})"
        self._say(
            f"Training on {len(data.train):,} images{kind}: {recipe.epochs} epochs of recipe "
            f"{recipe.name!r}, batch {recipe.batch_size}, on {plan.device}."
        )
        if plan.first_epoch > 1:
            self._say(f"An interrupted training goes on with epoch {plan.first_epoch}.")
        self._task = self._bar.add_task(
            "",
            total=plan.steps_per_epoch * recipe.epochs,
            completed=plan.steps_per_epoch * (plan.first_epoch - 1),
            epoch=plan.first_epoch,
            epochs=recipe.epochs,
            figures="compiling …",
        )
        self._began = time.monotonic()
        self._bar.start()

    def stepped(self, step: Step) -> None:
        """See `Observer.stepped`."""
        plan = self._begun()
        done = (step.epoch - plan.first_epoch) * plan.steps_per_epoch + step.step
        seconds = (time.monotonic() - self._began) / done
        left = plan.steps_per_epoch * (plan.recipe.epochs - plan.first_epoch + 1) - done
        self._bar.update(
            self._task,
            completed=(step.epoch - 1) * plan.steps_per_epoch + step.step,
            epoch=step.epoch,
            figures=f"{plan.recipe.batch_size / seconds:,.0f} images/s  loss {step.loss:.3f}  "
            f"accuracy {step.accuracy:.3f}  {_clock(left * seconds)} left",
        )

    def epoch_ended(self, epoch: int, metrics: dict[str, float]) -> None:
        """See `Observer.epoch_ended`."""
        plan = self._begun()
        self._bar.update(self._task, completed=epoch * plan.steps_per_epoch)
        each = (time.monotonic() - self._began) / (epoch - plan.first_epoch + 1)
        self._say(
            f"epoch {epoch}/{plan.recipe.epochs}  {metrics['images_per_second']:>6,.0f} images/s  "
            f"loss {metrics['loss']:.3f}  accuracy {metrics['accuracy']:.3f}  "
            f"validation {metrics['val_accuracy']:.3f}  {_clock(each * (plan.recipe.epochs - epoch))} left"
        )

    def finished(self, trained: TrainedModel) -> None:
        """See `Observer.finished`."""
        self._bar.stop()
        metrics = trained.metrics
        self._say(
            f"Trained in {_clock(metrics['seconds'])}: validation accuracy {metrics['val_accuracy']:.3f}, "
            f"temperature {trained.temperature:.2f}."
        )
        if "best_epoch" in metrics:
            epochs, best = len(trained.history["loss"]), metrics["best_epoch"]
            self._say(f"Its weights are of epoch {best:.0f} of {epochs}, of the lowest validation loss.")

    def stopped(self, reason: BaseException) -> None:
        """See `Observer.stopped`."""
        self._bar.stop()
        if isinstance(reason, KeyboardInterrupt):
            self._say("Training was interrupted; the same command goes on after the last whole epoch.")

    def _begun(self) -> Plan:
        if self._plan is None:
            raise RuntimeError("started() comes first")
        return self._plan

    def _say(self, line: str) -> None:
        self._console.print(line, soft_wrap=True, highlight=False, markup=False)


def _clock(seconds: float) -> str:
    minutes, rest = divmod(round(seconds), 60)
    return f"{minutes}:{rest:02} min"
