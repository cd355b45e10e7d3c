"""How do dropout and biases affect learning? Table D, an ablation of the published Keras examples.

    python -m benchmarks run gradient_stability

Recall, three recipes, four kinds of noise, each with and without biases. Losses are training losses with the noise
active, which are higher than those of the same network in evaluation; rows with the same noise can be compared. Without
biases there is no forget bias either, so that the recipe "orthogonal, forget bias 2" is then plain orthogonal.

Device: one CPU core, 35 minutes.
Expected: without biases no recipe succeeds; with any kind of noise active, hardly any does.
"""

import dataclasses
from pathlib import Path
from typing import Any

from benchmarks.gradients import multi_seed
from benchmarks.gradients.schemes import config
from benchmarks.gradients.tasks import TASKS
from benchmarks.harness import statistics
from benchmarks.harness.record import Benchmark, Cell, Record
from hae_jax.config import OptimConfig

TASK = TASKS["recall of 4 x 16"]
SEEDS = tuple(range(10))
STEPS, BATCH, HIDDEN = 600, 16, 64
OPTIM = OptimConfig(learning_rate=3e-3, warmup=20, final=0.2)
RECIPES = [("orthogonal, forget bias 2", "none"), ("flax default", "none"), ("glorot, forget bias 1", "cell")]
"""The last is that of the Keras examples except for the biases, which are a column of this table."""
NOISES: dict[str, dict[str, Any]] = {
    "none": {},
    "Keras-style 0.2 / 0.2": {"input_dropout": 0.2, "recurrent_dropout": 0.2},
    "Semeniuta 0.25": {"recurrent_dropout": 0.25, "recurrent_dropout_kind": "semeniuta"},
    "zoneout 0.5 / 0.05": {"zoneout_cell": 0.5, "zoneout_hidden": 0.05},
}
"""Fields of the model's config by row."""


def cells(quick: bool) -> list[Cell]:
    """Returns one cell per recipe, noise and bias; cells that share a compiled step are adjacent."""
    order = [
        (*recipe, noise, bias)
        for norm in ("none", "cell")
        for noise in NOISES
        for bias in (True, False)
        for recipe in RECIPES
        if recipe[1] == norm
    ]
    if quick:
        what = [(*RECIPES[0], "none", True), (*RECIPES[0], "none", False), (*RECIPES[2], "Keras-style 0.2 / 0.2", True)]
        return [_cell(*each, SEEDS[:2], 20, 8) for each in what]
    return [_cell(*what, SEEDS, STEPS, HIDDEN) for what in order]


def _cell(scheme: str, norm: str, noise: str, bias: bool, seeds: tuple[int, ...], steps: int, hidden: int) -> Cell:
    what = {
        "scheme": scheme, "norm": norm, "noise": NOISES[noise] | {"use_bias": bias}, "steps": steps,
        "hidden": hidden, "batch": BATCH, "optim": dataclasses.asdict(OPTIM),
    }  # fmt: skip
    return Cell(_name(scheme, norm, noise, bias), seeds, what)


def _name(scheme: str, norm: str, noise: str, bias: bool) -> str:
    return f"{scheme} | {norm} | {noise} | {'bias' if bias else 'no bias'}"


def measure(cell: Cell, folder: Path) -> dict[str, Any]:
    """Trains all seeds of a cell."""
    c = cell.config
    spec = multi_seed.MultiSeedRun(TASK, c["steps"], c["batch"], OptimConfig(**c["optim"]), stop=False)
    return multi_seed.run(spec, config(TASK, c["scheme"], c["norm"], c["hidden"], **c["noise"]), cell.seeds)


def render(records: list[Record]) -> str:
    """Renders one row per recipe and noise, with columns for runs with and without biases and their difference."""
    lines = [
        "| initialization | noise | success with bias | steps to success | final loss | success without bias "
        "| final loss | paired reduction by the bias |",
        "|---|---|---|---|---|---|---|---|",
    ]
    numbers = {record["cell"]: record["numbers"] for record in records}
    for scheme, norm in RECIPES:
        for noise in NOISES:
            biased, unbiased = (numbers.get(_name(scheme, norm, noise, bias)) for bias in (True, False))
            if biased and unbiased:
                name = scheme if norm == "none" else f"{scheme}, layer norm in the {norm}"
                reductions = statistics.paired_differences(unbiased["loss"], biased["loss"])
                lines.append(
                    f"| {name} | {noise} | {_rate(biased)} | {statistics.format_median(biased['arrival'], 0)} "
                    f"| {statistics.format_median(biased['loss'])} | {_rate(unbiased)} "
                    f"| {statistics.format_median(unbiased['loss'])} | {statistics.format_median(reductions)} |"
                )
    return "\n".join(lines)


def _rate(numbers: dict[str, Any]) -> str:
    steps = numbers["arrival"]
    return statistics.format_rate(sum(step is not None for step in steps), len(steps))


TABLE = Benchmark("gradient_dropout", cells, measure, render)
