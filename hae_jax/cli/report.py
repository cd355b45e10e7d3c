"""An evaluation as tables for people."""

from collections.abc import Mapping

from rich.console import Console
from rich.table import Table
from rich.text import Text

from hae_jax.inference.evaluate import Evaluation, Part

MEANINGS = {
    "loss": "nats a token, teacher-forced",
    "perplexity": "exp(loss)",
    "token_accuracy": "tokens that were the most probable one",
    "code_gap": "nats a token lost with another document's code; near 0 the code is ignored",
    "bleu": "corpus BLEU-4 of free-running reconstructions, 0 to 100",
    "rouge1": "F1 of shared words",
    "rouge2": "F1 of shared word pairs",
    "rougeL": "F1 of the longest common subsequence",
    "exact_match": "documents that came back without a difference",
    "coherence": "disorder of the sentences, 0 is best",
}


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


def number(value: float | None) -> str:
    """Writes a score.

    Example:
        >>> number(3.14159), number(None), number(float("nan"))
        ('3.142', '-', '-')
    """
    return "-" if value is None or value != value else f"{value:.3f}"
