"""What a person sees of a run: a progress bar on a terminal, plain lines elsewhere, and tables of reconstructions."""

from types import TracebackType
from typing import Any

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn, TimeRemainingColumn
from rich.table import Table
from rich.text import Text

from hae_jax.inference.evaluate import Evaluation


class ProgressDisplay:
    """Shows a run on a console.

    Args:
        steps: number of steps of the whole run.
        console: where to; standard output by default.
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

    def say(self, line: str) -> None:
        """Prints a line as it is."""
        self._console.print(Text(line), soft_wrap=True)

    def preparing(self, stage: str, done: int, total: int | None) -> None:
        """Shows how far the data is prepared."""
        self._progress.update(self._task, description=stage, completed=done, total=total)

    def training(self, step: int) -> None:
        """Begins to show training, from a step on."""
        self._progress.reset(self._task, description="training", completed=step, total=self._steps)

    def train(self, step: int, values: dict[str, Any]) -> None:
        """Shows the numbers of the steps since the last time."""
        shown = numbers(values)
        self._progress.update(self._task, completed=step, numbers=shown)
        if not self._console.is_terminal:
            self.say(f"step {step}/{self._steps}  {shown}")

    def evaluation(self, step: int, evaluation: Evaluation) -> None:
        """Prints scores, and reconstructions beside their sources."""
        self.say(
            f"step {step}: held-out loss {evaluation.loss:.3f}, code gap {evaluation.code_gap:.3f}, "
            f"BLEU {evaluation.bleu or 0:.1f}, {evaluation.token_accuracy:.1%} of tokens, "
            f"on {evaluation.documents} documents"
        )
        table = Table("source", "reconstruction", show_lines=True)
        for source, reconstruction in evaluation.examples:
            table.add_row(Text(source), Text(reconstruction))
        self._console.print(table)


def bar(console: Console, shown: bool) -> Progress:
    """Makes a progress bar, whose tasks have `numbers` to show, or one that is never seen."""
    return Progress(
        TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), TextColumn("{task.fields[numbers]}"),
        TimeElapsedColumn(), TimeRemainingColumn(),
        # Standard output is for results, wherever the bar is.
        console=console, disable=not shown, redirect_stdout=False,
    )  # fmt: skip


def numbers(values: dict[str, Any]) -> str:
    """Writes the numbers of a stretch of training in one line.

    Example:
        >>> numbers({"loss": 3.2, "norm": 0.31, "binding": 0.25, "words_per_second": 2200.4, "skipped": 0})
        'loss 3.200  |g| 0.310  clipped 25%  2,200 words/s'
    """
    skipped = f"  skipped {values['skipped']}" if values["skipped"] else ""
    compiled = f"  compiled in {values['compile_seconds']:.1f} s" if "compile_seconds" in values else ""
    return (
        f"loss {values['loss']:.3f}  |g| {values['norm']:.3f}  clipped {values['binding']:.0%}  "
        f"{values['words_per_second']:,.0f} words/s{skipped}{compiled}"
    )
