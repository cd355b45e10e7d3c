"""Do initial weights predict success? The theoretical slope and the forget gate at initialization, against recall.

From tables A and B. The boundaries between groups were chosen after the results were known.
"""

from pathlib import Path
from typing import NamedTuple

import numpy as np
from scipy.stats import spearmanr

from benchmarks.gradients.summary import TASK
from benchmarks.harness import statistics
from benchmarks.harness.plots import draw_success
from benchmarks.harness.record import Record, Summary

TABLE_A_NAMES = {
    "flax default": "flax, forget bias 0",
    "Keras default": "keras, forget bias 1",
    "torch default": "torch",
    "orthogonal, gain 2": "orthogonal x 2, forget bias 1",
    "orthogonal, gain 4": "orthogonal x 4, forget bias 1",
    "orthogonal, gain 8": "orthogonal x 8, forget bias 1",
    "uniform 0.1, no bias": "uniform 0.1, no bias (2015)",
}
"""Names in table A of schemes that have another name in table B."""
TABLE_A_NORMS = {"none": "none", "cell": "cell, gain 1", "cell, gain 0.1": "cell, gain 0.1"}
"""Names in table A of the layer normalizations of table B."""
SLOPE_BOUND, FORGET_BOUND = 0.11, 0.6
"""Largest absolute slope, nats per step, and least mean forget gate of schemes that are expected to learn."""
DRAWS = 10_000
"""Bootstrap samples of an interval."""
MERGE_DISTANCE = 0.046
"""Points of the figure within this distance share one label, so that labels do not cover points."""


class Point(NamedTuple):
    """A recipe at initialization and after training.

    Attributes:
        name: of the initialization.
        norm: layer normalization.
        slope: predicted by theory at initialization, nats per step.
        forget: mean forget gate at initialization.
        learned: number of seeds that succeed.
        seeds: number of seeds.
        loss: median over seeds, at the last step that all recipes reached; a cell stops when all seeds have succeeded.
    """

    name: str
    norm: str
    slope: float
    forget: float
    learned: int
    seeds: int
    loss: float


def points(records: list[Record]) -> list[Point]:
    """Returns the recipes that are in both tables."""
    initial = {(r["config"]["recipe"], r["config"]["layer_norm"]): r["numbers"] for r in records
             if r["config"].get("inputs") == "noise"}  # fmt: skip
    trained = [record for record in records if record["config"].get("task") == TASK]
    reached = min((len(record["numbers"]["curve"]) for record in trained), default=0)
    result = []
    for record in trained:
        config, numbers = record["config"], record["numbers"]
        start = initial.get(
            (TABLE_A_NAMES.get(config["scheme"], config["scheme"]), TABLE_A_NORMS.get(config["norm"], ""))
        )
        if start is not None:
            learned = sum(step is not None for step in numbers["arrival"])
            result.append(
                Point(
                    config["scheme"], config["norm"], start["predicted"]["mean"], start["forget"]["mean"], learned,
                    len(numbers["arrival"]), statistics.quartiles(numbers["curve"][reached - 1]).median,
                )
            )  # fmt: skip
    return result


def render(records: list[Record]) -> str:
    """Renders success rates by slope and forget gate at initialization, and the underlying rank correlation."""
    recipes = points(records)
    groups = {
        f"slope below -{SLOPE_BOUND}": [p for p in recipes if p.slope < -SLOPE_BOUND],
        f"slope within {SLOPE_BOUND} of 0, mean forget gate below {FORGET_BOUND}": [
            p for p in recipes if abs(p.slope) <= SLOPE_BOUND and p.forget < FORGET_BOUND
        ],
        f"slope within {SLOPE_BOUND} of 0, mean forget gate of {FORGET_BOUND} or more": [
            p for p in recipes if abs(p.slope) <= SLOPE_BOUND and p.forget >= FORGET_BOUND
        ],
    }
    lines = [
        "| at initialization | recipes | seeds that learn | recipes of which most seeds learn |",
        "|---|---|---|---|",
    ]
    groups[f"slope above {SLOPE_BOUND}"] = [p for p in recipes if p.slope > SLOPE_BOUND]
    for name, group in groups.items():
        if not group:
            continue
        learned, seeds = (sum(getattr(p, name) for p in group) for name in ("learned", "seeds"))
        # If all recipes have equal rates the bootstrap interval has no width: take the union with that over seeds.
        ends = zip(
            bootstrap_interval([p.learned / p.seeds for p in group]), statistics.wilson(learned, seeds), strict=True
        )
        low, high = (choose(pair) for choose, pair in zip((min, max), ends, strict=True))
        most = sum(2 * p.learned > p.seeds for p in group)
        lines.append(f"| {name} | {len(group)} | {learned}/{seeds} ({100 * low:.0f}-{100 * high:.0f} %) | {most} |")
    if len(recipes) > 2:
        rank = spearmanr([abs(p.slope) for p in recipes], [p.loss for p in recipes])[0]
        lines += ["", f"Rank correlation of the absolute slope with the loss after equally many steps: {rank:.2f}."]
    return "\n".join(lines)


def bootstrap_interval(rates: list[float]) -> tuple[float, float]:
    """Returns the 95 % bootstrap interval of the mean rate of recipes.

    The seeds of a recipe are not independent trials of its group: recipes differ by more than their seeds do.

    Reference:
        Efron, 1979, https://doi.org/10.1214/aos/1176344552
    """
    means = np.random.default_rng(0).choice(np.array(rates), (DRAWS, len(rates))).mean(axis=1)
    low, high = np.quantile(means, (0.025, 0.975))
    return float(low), float(high)


def draw(records: list[Record], folder: Path) -> None:
    """Draws the recipes by slope and forget gate; labels those without layer norm, and adjacent ones jointly."""
    groups: dict[str, list[tuple[str, float, float, float]]] = {}
    recipes = points(records)
    for p in recipes:
        norm = {"none": "no layer norm", "cell": "layer norm in the cell"}.get(p.norm, f"layer norm in the {p.norm}")
        near = [q for q in recipes if q.norm == p.norm]
        near = [q for q in near if abs(q.slope - p.slope) + abs(q.forget - p.forget) < MERGE_DISTANCE]
        near.sort(key=lambda q: q.slope)
        name = " / ".join(q.name for q in near) if p.norm == "none" and near[0] is p else ""
        groups.setdefault(norm, []).append((name, p.slope, p.forget, p.learned / p.seeds))
    labels = (
        "predicted slope at initialization, nats per step",
        "mean forget gate at initialization",
        "seeds that learn",
    )
    draw_success(groups, labels, folder / "gradient_foretold.png")


SUMMARY = Summary("foretold", ("gradient_initialisation", "gradient_training"), render, draw)
