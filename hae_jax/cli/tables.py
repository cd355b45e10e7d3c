"""Evaluations and gradients as tables for people."""

from collections.abc import Mapping

from rich.box import SIMPLE_HEAD
from rich.console import Console
from rich.table import Table
from rich.text import Text

from hae_jax.gradients.report import GradientReport
from hae_jax.inference.evaluate import Evaluation, Part

MEANINGS = {
    "loss": "nats a token, teacher-forced",
    "perplexity": "exp(loss)",
    "token_accuracy": "tokens that were the most probable one",
    "code_gap": "nats a token lost with another document's code; near 0 the code is ignored",
    "bleu": "corpus BLEU-4 of free-running reconstructions, 0 to 100",
    "bleu_limit": "the same if all came back, but for words outside the vocabulary",
    "rouge1": "F1 of shared words",
    "rouge2": "F1 of shared word pairs",
    "rougeL": "F1 of the longest common subsequence",
    "exact_match": "documents that came back without a difference",
    "exact_limit": "the same if all came back, but for words outside the vocabulary",
    "coherence": "disorder of the sentences, 0 is best",
}
LEGEND = """slope    of ln |dL/dh|, nat a step backwards: below 0 it vanishes
theory   the same from mean-field theory, by the weights and one forward pass
left     share of the last step's |dL/dh| at the first step of the longest rows
forget   mean forget gate; at f a cell remembers -1/ln f steps
ends     share of the gates below 0.05 or above 0.95
stretch  largest singular value of the Jacobian of the state, a step
"""


def show(evaluation: Evaluation, title: str, console: Console | None = None) -> None:
    """Prints an evaluation."""
    console = console or Console()
    heading = f"{title}: {evaluation.documents:,} documents, {evaluation.tokens:,} tokens"
    console.print(Text(heading, style="bold"), soft_wrap=True)
    table = Table("score", "value", "what it is")
    table.columns[1].justify = "right"
    for name, meaning in MEANINGS.items():
        table.add_row(name, number(getattr(evaluation, name)), meaning)
    console.print(table)
    console.print(breakdown("tokens of the document", evaluation.by_length))
    console.print(breakdown("sentence", evaluation.by_position))


def breakdown(by: str, parts: Mapping[str, Part]) -> Table:
    """Lays out the scores of the parts of an evaluation."""
    table = Table(by, "documents", "loss", "tokens right", "BLEU", "exact")
    for column in table.columns[1:]:
        column.justify = "right"
    for name, part in parts.items():
        scores = (part.loss, part.token_accuracy, part.bleu, part.exact_match)
        table.add_row(name, f"{part.documents:,}", *map(number, scores))
    return table


def show_gradients(report: GradientReport, title: str, console: Console | None = None) -> None:
    """Prints a gradient report."""
    console = console or Console()
    console.print(Text(f"{title}: loss {report.loss:.2f} nats a token, gradient norm {report.norm:.3g}", style="bold"))
    table = Table(
        "level", "steps", "slope", "theory", "left", "forget", "ends", "stretch", box=SIMPLE_HEAD, pad_edge=False
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
    table = Table("from", "to", "|dL/dh| is multiplied by", box=SIMPLE_HEAD)
    table.columns[2].justify = "right"
    for name, factor in report.crossings.items():
        table.add_row(*name.split(" -> "), f"{factor:.2g}")
    console.print(table)
    if report.training is not None:
        binding, spikes, broken = report.training
        shares = f"the clip was binding in {binding:.0%} of the steps, {spikes:.0%} of the log's norms were spikes"
        console.print(f"while training: {shares}, {broken:.0%} of the steps were not finite")


def short(path: str) -> str:
    """Names a layer as people do.

    Example:
        >>> short("word_decoder/recurrent/layer_0"), short("encoder/word/layer_1")
        ('word_decoder', 'encoder/word, layer 1')
    """
    name = path.replace("/recurrent", "").removesuffix("/layer_0")
    return name.replace("/layer_", ", layer ")


def number(value: float | None) -> str:
    """Writes a score.

    Example:
        >>> number(3.14159), number(None), number(float("nan"))
        ('3.142', '-', '-')
    """
    return "-" if value is None or value != value else f"{value:.3f}"
