"""Evaluations and gradient reports as tables."""

from collections.abc import Mapping

from rich.box import SIMPLE_HEAD
from rich.console import Console
from rich.table import Table
from rich.text import Text

from hae_jax.gradients.report import GradientReport
from hae_jax.inference.evaluate import Evaluation, GroupScores

MEANINGS = {
    "loss": "nats per token, teacher-forced",
    "perplexity": "exp(loss)",
    "token_accuracy": "share of tokens predicted right, teacher-forced",
    "code_gap": "increase of the loss with another document's code; near 0 the code is ignored",
    "bleu": "corpus BLEU-4 of free-running reconstructions, 0 to 100",
    "bleu_limit": "the same for perfect reconstructions; unknown words count as errors",
    "rouge1": "F1 of unigrams",
    "rouge2": "F1 of bigrams",
    "rougeL": "F1 of the longest common subsequence",
    "exact_match": "share of documents reconstructed exactly",
    "exact_limit": "share of documents without unknown words",
    "coherence": "mean displacement of sentences, 0 is best",
}
LEGEND = """slope      of ln |dL/dh|, in nats per step backwards: negative if gradients vanish
theory     the slope predicted by mean-field theory, from the weights and one forward pass
remaining  |dL/dh| at the first step relative to the last one, in the longest rows
forget     mean forget gate f; a cell remembers for about -1/ln f steps
saturated  share of gates below 0.05 or above 0.95
stretch    largest singular value of the state's Jacobian, per step
"""


def show(evaluation: Evaluation, title: str, console: Console | None = None) -> None:
    """Prints an evaluation."""
    console = console or Console()
    heading = f"{title}: {evaluation.documents:,} documents, {evaluation.tokens:,} tokens"
    console.print(Text(heading, style="bold"), soft_wrap=True)
    table = Table("score", "value", "meaning")
    table.columns[1].justify = "right"
    for name, meaning in MEANINGS.items():
        table.add_row(name, number(getattr(evaluation, name)), meaning)
    console.print(table)
    console.print(breakdown("tokens in document", evaluation.by_length))
    console.print(breakdown("row", evaluation.by_position))


def breakdown(by: str, parts: Mapping[str, GroupScores]) -> Table:
    """Makes a table of the parts of an evaluation."""
    table = Table(by, "documents", "loss", "token accuracy", "BLEU", "exact")
    for column in table.columns[1:]:
        column.justify = "right"
    for name, part in parts.items():
        scores = (part.loss, part.token_accuracy, part.bleu, part.exact_match)
        table.add_row(name, f"{part.documents:,}", *map(number, scores))
    return table


def show_gradients(report: GradientReport, title: str, console: Console | None = None) -> None:
    """Prints a gradient report."""
    console = console or Console()
    console.print(
        Text(f"{title}: loss {report.loss:.2f} nats per token, gradient norm {report.norm:.3g}", style="bold")
    )
    table = Table(
        "level",
        "steps",
        "slope",
        "theory",
        "remaining",
        "forget",
        "saturated",
        "stretch",
        box=SIMPLE_HEAD,
        pad_edge=False,
    )
    table.columns[0].no_wrap = True
    for column in table.columns[1:]:
        column.justify = "right"
    for name, level in report.levels.items():
        table.add_row(
            short(name),
            str(level.steps),
            f"{level.slope:+.3f}",
            "-" if level.predicted is None else f"{level.predicted:+.3f}",
            f"{10**level.ratio:.2g}",
            f"{level.forget:.2f}",
            f"{level.saturated:.1%}",
            "-" if level.stretch is None else f"{level.stretch:.2f}",
        )
    console.print(table)
    console.print(Text(LEGEND, style="dim"))
    table = Table("from", "to", "factor of |dL/dh|", box=SIMPLE_HEAD)
    table.columns[2].justify = "right"
    for name, factor in report.crossings.items():
        table.add_row(*name.split(" -> "), f"{factor:.2g}")
    console.print(table)
    if report.training is not None:
        binding, spikes, broken = report.training
        shares = f"gradients were clipped in {binding:.0%} of the steps, {broken:.0%} of the steps were not finite"
        console.print(f"during training: {shares}, {spikes:.0%} of the logged norms were spikes")


def short(path: str) -> str:
    """Returns a short name of a layer.

    Example:
        >>> short("word_decoder/recurrent/layer_0"), short("encoder/word/layer_1")
        ('word_decoder', 'encoder/word, layer 1')
    """
    name = path.replace("/recurrent", "").removesuffix("/layer_0")
    return name.replace("/layer_", ", layer ")


def number(value: float | None) -> str:
    """Formats a score.

    Example:
        >>> number(3.14159), number(None), number(float("nan"))
        ('3.142', '-', '-')
    """
    return "-" if value is None or value != value else f"{value:.3f}"
