"""The usual advice, tested: the effect of each piece of it, from tables B, C and D."""

from typing import Any

from benchmarks.harness import statistics
from benchmarks.harness.record import Record, Summary

LONG, SHORT = "recall of 8 x 16", "recall of 4 x 16"
KERAS = "Keras-style 0.2 / 0.2"
BEST = "orthogonal, forget bias 2"
PAIRS = [
    ("clip each tensor at norm 1", SHORT, "flax default | none | {} | 0.003", "none", "per tensor 1"),
    ("", SHORT, BEST + " | none | {} | 0.003", "none", "per tensor 1"),
    ("", f"{SHORT}, rate x 8", BEST + " | none | {} | 0.024", "none", "per tensor 1"),
    ("", f"{SHORT}, kernel of gain 4", "orthogonal, gain 4 | none | {} | 0.003", "none", "per tensor 1"),
    ("clip the whole gradient at norm 1", SHORT, "flax default | none | {} | 0.003", "none", "global norm 1"),
    ("", f"{SHORT}, rate x 8", BEST + " | none | {} | 0.024", "none", "global norm 1"),
    ("dropout 0.2, recurrent dropout 0.2", f"{SHORT}, noise on", "flax default | none | {} | bias", "none", KERAS),
    ("", f"{SHORT}, noise on", BEST + " | none | {} | bias", "none", KERAS),
    ("Glorot's kernels", f"{LONG}, against Flax's", LONG + " | {} | none", "flax default", "glorot, no bias"),
    ("", f"{LONG}, against orthogonal", LONG + " | {} | none", "orthogonal, forget bias 1", "glorot, forget bias 1"),
    ("layer norm in the cell", f"{LONG}, no bias", LONG + " | glorot, no bias | {}", "none", "cell"),
    ("", f"{LONG}, forget bias 2", f"{LONG} | {BEST} | {{}}", "none", "cell"),
    ("", "adding of 200, forget bias 2", f"adding 200 | {BEST} | {{}}", "none", "cell"),
    ("", "text, no bias", "text | glorot, no bias | {}", "none", "cell"),
    ("layer norm after each LSTM", f"{LONG}, no bias", LONG + " | glorot, no bias | {}", "none", "output"),
    ("", "text, no bias", "text | glorot, no bias | {}", "none", "output"),
    ("no biases", f"{SHORT}, against forget bias 2", BEST + " | none | none | {}", "bias", "no bias"),
    ("", f"{LONG}, against 1, layer norm in the cell", LONG + " | glorot, {} | cell", "forget bias 1", "no bias"),
    ("", "text, against 1, layer norm after each LSTM", "text | glorot, {} | output", "forget bias 1", "no bias"),
    ("(not in the advice) forget bias 2", LONG, LONG + " | orthogonal, forget bias {} | none", "0", "2"),
    ("", "text, against Flax's default", "text | {} | none", "flax default", BEST),
]
"""The advice, the task, the template of the cells' names, and its values without and with the advice."""


def render(records: list[Record]) -> str:
    """Renders one row per pair of cells that were both measured."""
    numbers = {record["cell"]: record["numbers"] for record in records}
    lines = ["| advice | task | seeds that learn: without | with | loss: without | with |", "|---" * 6 + "|"]
    title = ""
    for advice, task, template, without, given in PAIRS:
        title = advice or title
        control, treated = (numbers.get(template.format(value)) for value in (without, given))
        if control is not None and treated is not None:
            losses = (
                statistics.format_median(losses_at_shared_step(*pair))
                for pair in ((control, treated), (treated, control))
            )
            lines.append(
                f"| {title} | {task} | {success_rate(control)} | {success_rate(treated)} | {' | '.join(losses)} |"
            )
            title = ""
    return "\n".join(lines)


def losses_at_shared_step(numbers: dict[str, Any], other: dict[str, Any]) -> list[float | None]:
    """Returns each seed's loss at the last step that both cells have reached, since a cell may have stopped early."""
    if "gap" in numbers:
        return numbers["loss"]
    return numbers["curve"][min(len(each["curve"]) for each in (numbers, other)) - 1]


def success_rate(numbers: dict[str, Any]) -> str:
    """Formats the number of successful seeds."""
    steps = numbers["arrival"]
    return statistics.format_rate(sum(step is not None for step in steps), len(steps))


SUMMARY: Summary = Summary("advice", ("gradient_training", "gradient_clipping", "gradient_dropout"), render)
