"""Do fresh weights foretell which of them will learn? Theory's slope and the forget gate, beside success at recall.

Made of tables A and B. The borders between groups were drawn when the numbers were known.
"""

from pathlib import Path
from typing import NamedTuple

import numpy as np
from scipy.stats import spearmanr

from benchmarks.gradients.summary import TASK
from benchmarks.harness import statistics
from benchmarks.harness.plots import draw_success
from benchmarks.harness.record import Record, Summary

FRESH = {
    "flax default": "flax, forget bias 0",
    "Keras default": "keras, forget bias 1",
    "torch default": "torch",
    "orthogonal, gain 2": "orthogonal x 2, forget bias 1",
    "orthogonal, gain 4": "orthogonal x 4, forget bias 1",
    "orthogonal, gain 8": "orthogonal x 8, forget bias 1",
    "uniform 0.1, no bias": "uniform 0.1, no bias (2015)",
}
"""Schemes of table B that have another name in table A."""
NORMS = {"none": "none", "cell": "cell, gain 1", "cell, gain 0.1": "cell, gain 0.1"}
"""Layer normalisations of table B that table A has, by their names there."""
NEAR, OPEN = 0.11, 0.6
"""Slopes, nat a step, that count as near to 0, and the mean of a forget gate that counts as open."""
DRAWS = 10_000
"""Times that recipes are drawn anew for an interval."""
BESIDE = 0.046
"""Points of the picture that are no farther from each other have one name, else names would lie on points."""


class Point(NamedTuple):
    """A recipe, as it starts and as it ends.

    Attributes:
        name: of the weights.
        norm: layer normalisation.
        slope: that theory expects of the fresh weights, nat a step.
        forget: mean forget gate of the fresh weights.
        learned: seeds that succeed.
        seeds: of how many.
        loss: median over seeds, at the last step that every recipe reached; some stop early as all their seeds succeed.
    """

    name: str
    norm: str
    slope: float
    forget: float
    learned: int
    seeds: int
    loss: float


def points(records: list[Record]) -> list[Point]:
    """Returns the recipes that both tables have."""
    fresh = {(r["config"]["recipe"], r["config"]["layer_norm"]): r["numbers"] for r in records
             if r["config"].get("inputs") == "noise"}  # fmt: skip
    trained = [record for record in records if record["config"].get("task") == TASK]
    reached = min((len(record["numbers"]["curve"]) for record in trained), default=0)
    found = []
    for record in trained:
        config, numbers = record["config"], record["numbers"]
        start = fresh.get((FRESH.get(config["scheme"], config["scheme"]), NORMS.get(config["norm"], "")))
        if start is not None:
            learned = sum(at is not None for at in numbers["arrival"])
            found.append(
                Point(
                    config["scheme"], config["norm"], start["predicted"]["mean"], start["forget"]["mean"], learned,
                    len(numbers["arrival"]), statistics.middle(numbers["curve"][reached - 1]).median,
                )
            )  # fmt: skip
    return found


def render(records: list[Record]) -> str:
    """Success by what the weights are like before the first step, and the rank correlation behind it."""
    found = points(records)
    groups = {
        f"slope below -{NEAR}": [p for p in found if p.slope < -NEAR],
        f"slope within {NEAR} of 0, mean forget gate below {OPEN}": [
            p for p in found if abs(p.slope) <= NEAR and p.forget < OPEN
        ],
        f"slope within {NEAR} of 0, mean forget gate of {OPEN} or more": [
            p for p in found if abs(p.slope) <= NEAR and p.forget >= OPEN
        ],
    }
    lines = ["| fresh weights | recipes | seeds that learn | recipes of which most seeds learn |", "|---|---|---|---|"]
    groups[f"slope above {NEAR}"] = [p for p in found if p.slope > NEAR]
    for name, group in groups.items():
        if not group:
            continue
        learned, seeds = (sum(getattr(p, what) for p in group) for what in ("learned", "seeds"))
        # Recipes that are all alike leave no spread to draw from; then their seeds tell what can be told.
        ends = zip(resampled([p.learned / p.seeds for p in group]), statistics.wilson(learned, seeds), strict=True)
        low, high = (choose(pair) for choose, pair in zip((min, max), ends, strict=True))
        most = sum(2 * p.learned > p.seeds for p in group)
        lines.append(f"| {name} | {len(group)} | {learned}/{seeds} ({100 * low:.0f}-{100 * high:.0f} %) | {most} |")
    if len(found) > 2:
        rank = spearmanr([abs(p.slope) for p in found], [p.loss for p in found])[0]
        lines += ["", f"Rank correlation of the slope's distance from 0 with the loss at one step: {rank:.2f}."]
    return "\n".join(lines)


def resampled(rates: list[float]) -> tuple[float, float]:
    """Returns the 95 % interval of a mean rate of recipes, by drawing as many of them anew, again and again.

    Seeds of a recipe are no independent trials of its group: recipes differ by more than their seeds do.

    Reference:
        Efron, 1979, https://doi.org/10.1214/aos/1176344552
    """
    drawn = np.random.default_rng(0).choice(np.array(rates), (DRAWS, len(rates))).mean(axis=1)
    low, high = np.quantile(drawn, (0.025, 0.975))
    return float(low), float(high)


def draw(records: list[Record], folder: Path) -> None:
    """Draws the recipes by slope and forget gate; named are those without layer norm, neighbours together."""
    shapes: dict[str, list[tuple[str, float, float, float]]] = {}
    found = points(records)
    for p in found:
        norm = {"none": "no layer norm", "cell": "layer norm in the cell"}.get(p.norm, f"layer norm in the {p.norm}")
        near = [q for q in found if q.norm == p.norm and abs(q.slope - p.slope) + abs(q.forget - p.forget) < BESIDE]
        near.sort(key=lambda q: q.slope)
        name = " / ".join(q.name for q in near) if p.norm == "none" and near[0] is p else ""
        shapes.setdefault(norm, []).append((name, p.slope, p.forget, p.learned / p.seeds))
    labels = ("slope that theory expects of fresh weights, nat a step", "their mean forget gate", "seeds that learn")
    draw_success(shapes, labels, folder / "gradient_foretold.png")


SUMMARY = Summary("foretold", ("gradient_initialisation", "gradient_training"), render, draw)
