"""The usual advice, put to the test: what each piece of it changes, made of tables B, C and D."""

from typing import Any

from benchmarks.harness import statistics
from benchmarks.harness.record import Record, Summary

LONG, SHORT = "recall of 8 x 16", "recall of 4 x 16"
KERAS = "Keras-style 0.2 / 0.2"
FIRM = "orthogonal, forget bias 2"
PAIRS = [
    ("clip each tensor at norm 1", SHORT, "flax default | none | {} | 0.003", "none", "per tensor 1"),
    ("", SHORT, FIRM + " | none | {} | 0.003", "none", "per tensor 1"),
    ("", f"{SHORT}, rate x 8", FIRM + " | none | {} | 0.024", "none", "per tensor 1"),
    ("", f"{SHORT}, kernel of gain 4", "orthogonal, gain 4 | none | {} | 0.003", "none", "per tensor 1"),
    ("clip the whole gradient at norm 1", SHORT, "flax default | none | {} | 0.003", "none", "global norm 1"),
    ("", f"{SHORT}, rate x 8", FIRM + " | none | {} | 0.024", "none", "global norm 1"),
    ("dropout 0.2, recurrent dropout 0.2", f"{SHORT}, noise on", "flax default | none | {} | bias", "none", KERAS),
    ("", f"{SHORT}, noise on", FIRM + " | none | {} | bias", "none", KERAS),
    ("Glorot's kernels", f"{LONG}, against Flax's", LONG + " | {} | none", "flax default", "glorot, no bias"),
    ("", f"{LONG}, against orthogonal", LONG + " | {} | none", "orthogonal, forget bias 1", "glorot, forget bias 1"),
    ("layer norm in the cell", f"{LONG}, no bias", LONG + " | glorot, no bias | {}", "none", "cell"),
    ("", f"{LONG}, forget bias 2", f"{LONG} | {FIRM} | {{}}", "none", "cell"),
    ("", "adding of 200, forget bias 2", f"adding 200 | {FIRM} | {{}}", "none", "cell"),
    ("", "text, no bias", "text | glorot, no bias | {}", "none", "cell"),
    ("layer norm after each LSTM", f"{LONG}, no bias", LONG + " | glorot, no bias | {}", "none", "output"),
    ("", "text, no bias", "text | glorot, no bias | {}", "none", "output"),
    ("no biases", f"{SHORT}, against forget bias 2", FIRM + " | none | none | {}", "bias", "no bias"),
    ("", f"{LONG}, against 1, layer norm in the cell", LONG + " | glorot, {} | cell", "forget bias 1", "no bias"),
    ("", "text, against 1, layer norm after each LSTM", "text | glorot, {} | output", "forget bias 1", "no bias"),
    ("(not in the advice) forget bias 2", LONG, LONG + " | orthogonal, forget bias {} | none", "0", "2"),
    ("", "text, against Flax's default", "text | {} | none", "flax default", FIRM),
]
"""The advice, where it was tried, the cells' name with a gap, and what fills it without the advice and with it."""


def render(records: list[Record]) -> str:
    """One row a pair of cells that were both measured."""
    found = {record["cell"]: record["numbers"] for record in records}
    lines = ["| advice | tried on | seeds that learn without | with it | loss without | with it |", "|---" * 6 + "|"]
    title = ""
    for advice, where, cell, without, given in PAIRS:
        title = advice or title
        bare, treated = (found.get(cell.format(each)) for each in (without, given))
        if bare is not None and treated is not None:
            losses = (statistics.show(at_once(one, other)) for one, other in ((bare, treated), (treated, bare)))
            lines.append(f"| {title} | {where} | {learned(bare)} | {learned(treated)} | {' | '.join(losses)} |")
            title = ""
    return "\n".join(lines)


def at_once(numbers: dict[str, Any], other: dict[str, Any]) -> list[float | None]:
    """Returns each seed's loss at the last step that both cells have reached: a cell may have stopped early."""
    if "gap" in numbers:
        return numbers["loss"]
    return numbers["curve"][min(len(each["curve"]) for each in (numbers, other)) - 1]


def learned(numbers: dict[str, Any]) -> str:
    """Says how many seeds arrived."""
    arrived = numbers["arrival"]
    return statistics.rate(sum(at is not None for at in arrived), len(arrived))


SUMMARY: Summary = Summary("advice", ("gradient_training", "gradient_clipping", "gradient_dropout"), render)
