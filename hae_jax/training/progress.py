"""Progress display: a bar on a terminal, plain lines elsewhere, and tables of reconstructions."""

from collections.abc import Iterator
from types import TracebackType
from typing import Any, TypeVar

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn, TimeRemainingColumn
from rich.table import Table
from rich.text import Text

from hae_jax.inference.evaluate import Evaluation

Result = TypeVar("Result")


class ProgressDisplay:
    """Displays the progress of a run on a console.

    Args:
        steps: number of steps of the whole run.
        console: the console; standard output by default.
    """

    def __init__(self, steps: int, console: Console | None = None) -> None:
        self._console = console or Console()
        self._steps = steps
        self._progress = bar(self._console, self._console.is_terminal)
        self._task = self._progress.add_task("preparing", total=None, numbers="")

    def __enter__(self) -> "ProgressDisplay":
        self._progress.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._progress.stop()

    def log(self, line: str) -> None:
        """Prints a line verbatim."""
        self._console.print(Text(line), soft_wrap=True)

    def preparing(self, stage: str, done: int, total: int | None) -> None:
        """Displays the progress of data preparation."""
        self._progress.update(self._task, description=stage, completed=done, total=total)

    def training(self, step: int) -> None:
        """Starts to display training, from a step on."""
        self._progress.reset(self._task, description="training", completed=step, total=self._steps)

    def train(self, step: int, values: dict[str, Any]) -> None:
        """Displays the metrics of a window of steps."""
        metrics = format_metrics(values)
        self._progress.update(self._task, completed=step, numbers=metrics)
        if not self._console.is_terminal:
            self.log(f"step {step}/{self._steps}  {metrics}")

    def evaluation(self, step: int, evaluation: Evaluation) -> None:
        """Prints scores, and reconstructions next to their sources."""
        self.log(
            f"step {step}: held-out loss {evaluation.loss:.3f}, code gap {evaluation.code_gap:.3f}, "
            f"BLEU {evaluation.bleu:.1f}, token accuracy {evaluation.token_accuracy:.1%}, "
            f"{evaluation.documents} documents"
        )
        table = Table("source", "reconstruction", show_lines=True)
        for source, reconstruction in evaluation.examples:
            table.add_row(Text(source), Text(reconstruction))
        self._console.print(table)


def bar(console: Console, visible: bool) -> Progress:
    """Returns a progress bar whose tasks have a field `numbers`; an invisible one does nothing."""
    return Progress(
        TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), TextColumn("{task.fields[numbers]}"),
        TimeElapsedColumn(), TimeRemainingColumn(),
        # Standard output is reserved for results.
        console=console, disable=not visible, redirect_stdout=False,
    )  # fmt: skip


def collect(results: Iterator[Result], name: str, total: int | None, visible: bool) -> list[Result]:
    """Returns the elements of an iterator as a list; shows a progress bar on standard error if `visible`."""
    with bar(Console(stderr=True), visible) as display:
        task = display.add_task(name, total=total, numbers="")
        found = []
        for result in results:
            found.append(result)
            display.update(task, advance=1)
    return found


def format_metrics(values: dict[str, Any]) -> str:
    """Formats the metrics of a window of steps on one line.

    Example:
        >>> format_metrics({"loss": 3.2, "norm": 0.31, "binding": 0.25, "words_per_second": 2200.4, "skipped": 0})
        'loss 3.200  |g| 0.310  clipped 25%  2,200 tokens/s'
    """
    skipped = f"  skipped {values['skipped']}" if values["skipped"] else ""
    compiled = f"  compiled in {values['compile_seconds']:.1f} s" if "compile_seconds" in values else ""
    return (
        f"loss {values['loss']:.3f}  |g| {values['norm']:.3f}  clipped {values['binding']:.0%}  "
        f"{values['words_per_second']:,.0f} tokens/s{skipped}{compiled}"
    )
