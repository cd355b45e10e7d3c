"""Does gradient clipping help, and at which learning rate? Table C.

    python -m benchmarks run gradient_stability

A smaller recall task, with each clip of the package at a usual learning rate and at one eight times as high, for four
recipes: one whose gradients vanish, the one that learns soonest, one whose gradients explode, and that of the Keras
examples. A clip that is never active cannot have an effect, so the table includes the fraction of clipped steps. Cells
share their seeds, so the effect of a clip is a paired difference. A run has diverged if a step was not finite, or if it
ends worse than chance.

Device: one CPU core, 35 minutes.
Expected: no clip makes the flax default learn; where a recipe learns without one, clips that are active now and then
make little difference, and those that are active at nearly every step slow it down at the usual learning rate.
"""

import dataclasses
from pathlib import Path
from typing import Any

from benchmarks.gradients import multi_seed
from benchmarks.gradients.schemes import ARTICLE, config
from benchmarks.gradients.tasks import TASKS
from benchmarks.harness import statistics
from benchmarks.harness.record import Benchmark, Cell, Record
from hae_jax.config import OptimConfig

TASK = TASKS["recall of 4 x 16"]
SEEDS = tuple(range(10))
STEPS, BATCH, HIDDEN = 400, 16, 64
RATES = (3e-3, 2.4e-2)
CLIPS: dict[str, dict[str, Any]] = {
    "none": {"clip": "none"},
    "global norm 1": {"clip": "global_norm", "clip_norm": 1.0},
    "per tensor 1": {"clip": "per_tensor", "clip_norm": 1.0},
    "global norm 0.25": {"clip": "global_norm", "clip_norm": 0.25},
    "AGC 0.01": {"clip": "agc", "clip_norm": 0.01},
    "AutoClip 10": {"clip": "autoclip", "clip_norm": 10.0},
    "ZClip 2.5": {"clip": "zclip", "clip_norm": 2.5},
}
"""Fields of the optimizer's config by row."""
RECIPES = [
    ("orthogonal, forget bias 2", "none"), ("orthogonal, gain 4", "none"), ("flax default", "none"), ARTICLE,
]  # fmt: skip


def cells(quick: bool) -> list[Cell]:
    """Returns one cell per recipe, clip and learning rate; cells that share a compiled step are adjacent."""
    norms = dict.fromkeys(norm for _, norm in RECIPES)
    order = [
        (*recipe, clip, rate)
        for norm in norms
        for clip in CLIPS
        for rate in RATES
        for recipe in RECIPES
        if recipe[1] == norm
    ]
    if quick:
        # These clips are active in a small model, too.
        return [_cell(*order[0][:2], clip, RATES[0], SEEDS[:2], 30, 8) for clip in ("none", "AGC 0.01", "AutoClip 10")]
    return [_cell(*what, SEEDS, STEPS, HIDDEN) for what in order]


def _cell(scheme: str, norm: str, clip: str, rate: float, seeds: tuple[int, ...], steps: int, hidden: int) -> Cell:
    optimizer = OptimConfig(learning_rate=rate, warmup=20, final=0.2, **CLIPS[clip])
    what = {
        "scheme": scheme, "norm": norm, "clip": clip, "steps": steps, "hidden": hidden, "batch": BATCH,
        "optim": dataclasses.asdict(optimizer),
    }  # fmt: skip
    return Cell(f"{scheme} | {norm} | {clip} | {rate:g}", seeds, what)


def measure(cell: Cell, folder: Path) -> dict[str, Any]:
    """Trains all seeds of a cell to the end."""
    c = cell.config
    spec = multi_seed.MultiSeedRun(TASK, c["steps"], c["batch"], OptimConfig(**c["optim"]), stop=False)
    return multi_seed.run(spec, config(TASK, c["scheme"], c["norm"], c["hidden"]), cell.seeds)


def diverged(numbers: dict[str, Any]) -> int:
    """Counts the seeds with a non-finite step, or a final loss more than 5 % above chance."""
    pairs = zip(numbers["broken"], numbers["loss"], strict=True)
    return sum(broken > 0 or loss is None or loss > 1.05 * TASK.chance for broken, loss in pairs)


def render(records: list[Record]) -> str:
    """Renders one row per recipe and clip, with columns for both learning rates."""
    columns = ("diverged", "final loss", "paired reduction by the clip", "clipped", "spikes")
    heads = [f"{column}, {rate:g}" for rate in RATES for column in columns]
    lines = ["| " + " | ".join(["initialization", "clip", *heads]) + " |", "|---|---|" + "---|" * len(heads)]
    numbers = {record["cell"]: record["numbers"] for record in records}
    for scheme, norm in RECIPES:
        for clip in CLIPS:
            clipped, unclipped = (
                [numbers.get(f"{scheme} | {norm} | {each} | {rate:g}") for rate in RATES] for each in (clip, "none")
            )
            if any(clipped):
                name = scheme if norm == "none" else f"{scheme}, layer norm in the {norm}"
                entries = (_entries(*pair, clip) for pair in zip(clipped, unclipped, strict=True))
                lines.append("| " + " | ".join([name, clip, *entries]) + " |")
    return "\n".join(lines)


def _entries(numbers: dict[str, Any] | None, unclipped: dict[str, Any] | None, clip: str) -> str:
    if numbers is None:
        return "- | - | - | - | -"
    reductions = (
        statistics.paired_differences(unclipped["loss"], numbers["loss"]) if unclipped and clip != "none" else []
    )
    clipped, spikes = (
        statistics.format_median([100 * share for share in numbers[name]], digits)
        for name, digits in (("binding", 0), ("spikes", 1))
    )
    failed = statistics.format_rate(diverged(numbers), len(numbers["loss"]))
    change = statistics.format_median(reductions) if reductions else "-"
    return f"{failed} | {statistics.format_median(numbers['loss'])} | {change} | {clipped} % | {spikes} %"


TABLE = Benchmark("gradient_clipping", cells, measure, render)
