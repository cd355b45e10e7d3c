"""Theory, measurement and training by initialization, from tables A and B."""

import math
from typing import Any

from benchmarks.harness import statistics
from benchmarks.harness.record import Record, Summary

TASK, LONG = "recall of 8 x 16", "adding 200"
BEST = "orthogonal, forget bias 2"
ROWS = {
    "Flax's default: forget bias 0": ("flax, forget bias 0", "flax default", "none"),
    "PyTorch's default": ("torch", "torch default", "none"),
    "Keras' default: forget bias 1": ("keras, forget bias 1", "Keras default", "none"),
    "glorot, no bias": ("glorot, no bias", "glorot, no bias", "none"),
    "glorot, no bias, layer norm in the cell": ("glorot, no bias", "glorot, no bias", "cell"),
    "orthogonal, forget bias 1": ("orthogonal, forget bias 1", "orthogonal, forget bias 1", "none"),
    "orthogonal, forget bias 2": (BEST, BEST, "none"),
    "orthogonal, forget bias 2, layer norm in the cell": (BEST, BEST, "cell"),
    "the same with a gain of 0.1": (BEST, BEST, "cell, gain 0.1"),
    "orthogonal of gain 2, forget bias 1": ("orthogonal x 2, forget bias 1", "orthogonal, gain 2", "none"),
    "orthogonal of gain 4, forget bias 1": ("orthogonal x 4, forget bias 1", "orthogonal, gain 4", "none"),
    "orthogonal of gain 8, forget bias 1": ("orthogonal x 8, forget bias 1", "orthogonal, gain 8", "none"),
    "critical": ("critical", "critical", "none"),
    "chrono": ("chrono", "chrono", "none"),
    "chrono, layer norm in the cell": ("chrono", "chrono", "cell"),
    "uniform gate": ("uniform gate", "uniform gate", "none"),
}
"""By row: the scheme in table A, the one in table B, and the layer normalization of both."""


def render(records: list[Record]) -> str:
    """Renders one row per scheme of table A, with the results of table B where there are any."""
    initial = {(r["config"]["recipe"], r["config"]["layer_norm"]): r["numbers"] for r in records
             if r["config"].get("inputs") == "noise"}  # fmt: skip
    trained = {record["cell"]: record["numbers"] for record in records if "task" in record["config"]}
    lines = [
        "| initialization | forget gate | slope: theory | measured | gradient over 50 steps | recall: seeds "
        "| median step | adding: seeds | median step | text: code gap |",
        "|---" * 10 + "|",
    ]
    for name, (recipe, scheme, norm) in ROWS.items():
        a = initial.get((recipe, "cell, gain 1" if norm == "cell" else norm))
        if a is not None:
            text = trained.get(f"text | {scheme} | {norm}")
            lines.append(
                f"| {name} | {a['forget']['mean']:.2f} | {a['predicted']['mean']:+.2f} | {a['slope']['mean']:+.2f} "
                f"| {10 ** a['ratio']['mean']:.0e} | {success(trained.get(f'{TASK} | {scheme} | {norm}'))} "
                f"| {success(trained.get(f'{LONG} | {scheme} | {norm}'))} "
                f"| {statistics.format_median(text['gap']) if text else '-'} |"
            )
    return "\n".join(lines)


def success(numbers: dict[str, Any] | None) -> str:
    """Formats the success rate over seeds with its interval, and the median step of success if half succeeded."""
    if numbers is None:
        return "- | -"
    steps = [step for step in numbers["arrival"] if step is not None]
    median = statistics.quartiles(numbers["arrival"]).median
    rate = statistics.format_rate(len(steps), len(numbers["arrival"]))
    return f"{rate} | {f'step {median:.0f}' if math.isfinite(median) else '-'}"


SUMMARY: Summary = Summary("glance", ("gradient_initialisation", "gradient_training"), render)
