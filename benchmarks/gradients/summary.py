"""Which initialisation? Theory, measurement and training in one table, made of tables A and B."""

import math
from typing import Any

from benchmarks.harness import statistics
from benchmarks.harness.record import Record, Summary

TASK, LONG = "recall of 8 x 16", "adding 200"
FIRM = "orthogonal, forget bias 2"
ROWS = {
    "Flax's default: forget bias 0": ("flax, forget bias 0", "flax default", "none"),
    "PyTorch's default": ("torch", "torch default", "none"),
    "Keras' default: forget bias 1": ("keras, forget bias 1", "Keras default", "none"),
    "glorot, no bias": ("glorot, no bias", "glorot, no bias", "none"),
    "glorot, no bias, layer norm in the cell": ("glorot, no bias", "glorot, no bias", "cell"),
    "orthogonal, forget bias 1": ("orthogonal, forget bias 1", "orthogonal, forget bias 1", "none"),
    "orthogonal, forget bias 2": (FIRM, FIRM, "none"),
    "orthogonal, forget bias 2, layer norm in the cell": (FIRM, FIRM, "cell"),
    "the same with a gain of 0.1": (FIRM, FIRM, "cell, gain 0.1"),
    "orthogonal of gain 2, forget bias 1": ("orthogonal x 2, forget bias 1", "orthogonal, gain 2", "none"),
    "orthogonal of gain 4, forget bias 1": ("orthogonal x 4, forget bias 1", "orthogonal, gain 4", "none"),
    "orthogonal of gain 8, forget bias 1": ("orthogonal x 8, forget bias 1", "orthogonal, gain 8", "none"),
    "critical": ("critical", "critical", "none"),
    "chrono": ("chrono", "chrono", "none"),
    "chrono, layer norm in the cell": ("chrono", "chrono", "cell"),
    "uniform gate": ("uniform gate", "uniform gate", "none"),
}
"""The scheme in table A, the one in table B, and the layer norm of both."""


def render(records: list[Record]) -> str:
    """One row a scheme, as far as both tables have it."""
    fresh = {(r["config"]["recipe"], r["config"]["layer_norm"]): r["numbers"] for r in records
             if r["config"].get("inputs") == "noise"}  # fmt: skip
    trained = {record["cell"]: record["numbers"] for record in records if "task" in record["config"]}
    lines = [
        "| fresh weights | forget gate | slope: theory | measured | left after 50 steps | recall: seeds | median step "
        "| adding: seeds | median step | text: code gap |",
        "|---" * 10 + "|",
    ]
    for name, (recipe, scheme, norm) in ROWS.items():
        a = fresh.get((recipe, "cell, gain 1" if norm == "cell" else norm))
        if a is not None:
            text = trained.get(f"text | {scheme} | {norm}")
            lines.append(
                f"| {name} | {a['forget']['mean']:.2f} | {a['predicted']['mean']:+.2f} | {a['slope']['mean']:+.2f} "
                f"| {10 ** a['ratio']['mean']:.0e} | {learned(trained.get(f'{TASK} | {scheme} | {norm}'))} "
                f"| {learned(trained.get(f'{LONG} | {scheme} | {norm}'))} "
                f"| {statistics.show(text['gap']) if text else '-'} |"
            )
    return "\n".join(lines)


def learned(numbers: dict[str, Any] | None) -> str:
    """Says how many seeds arrived, with the interval of the rate, and the median of when, if half of them did."""
    if numbers is None:
        return "- | -"
    arrivals = [at for at in numbers["arrival"] if at is not None]
    median = statistics.middle(numbers["arrival"]).median
    rate = statistics.rate(len(arrivals), len(numbers["arrival"]))
    return f"{rate} | {f'step {median:.0f}' if math.isfinite(median) else '-'}"


SUMMARY: Summary = Summary("glance", ("gradient_initialisation", "gradient_training"), render)
