"""What do dropout and biases do to learning? Table D, the article's own examples taken apart.

    python -m benchmarks run gradient_stability

Recall, three recipes, four kinds of noise, each with biases and without. Losses are those of training, noise included:
dropout makes each of them worse than the same network in use, and yet rows with the same noise can be compared. Without
biases a forget bias is gone, too, so that the recipe "orthogonal, forget bias 2" then is plain orthogonal.

Device: one CPU core, 35 minutes.
Expected: taking away the biases costs every recipe its success; so, nearly, does any kind of noise while it is on.
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
"""The last is the article's, but for the biases, which are another column here."""
NOISES: dict[str, dict[str, Any]] = {
    "none": {},
    "Keras-style 0.2 / 0.2": {"input_dropout": 0.2, "recurrent_dropout": 0.2},
    "Semeniuta 0.25": {"recurrent_dropout": 0.25, "recurrent_dropout_kind": "semeniuta"},
    "zoneout 0.5 / 0.05": {"zoneout_cell": 0.5, "zoneout_hidden": 0.05},
}
"""Fields of the model's config by which rows differ."""


def cells(quick: bool) -> list[Cell]:
    """One cell a recipe, noise and bias; cells that share a compiled step stand side by side."""
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
    course = multi_seed.MultiSeedRun(TASK, c["steps"], c["batch"], OptimConfig(**c["optim"]), stop=False)
    return multi_seed.run(course, config(TASK, c["scheme"], c["norm"], c["hidden"], **c["noise"]), cell.seeds)


def render(records: list[Record]) -> str:
    """One row a recipe and noise, with biases and without beside each other, and the difference that they make."""
    lines = [
        "| weights | noise | success with bias | steps to it | final loss | success without bias | final loss "
        "| what the bias takes off the loss, seed by seed |",
        "|---|---|---|---|---|---|---|---|",
    ]
    found = {record["cell"]: record["numbers"] for record in records}
    for scheme, norm in RECIPES:
        for noise in NOISES:
            ours, bare = (found.get(_name(scheme, norm, noise, bias)) for bias in (True, False))
            if ours and bare:
                name = scheme if norm == "none" else f"{scheme}, layer norm in the {norm}"
                gains = statistics.differences(bare["loss"], ours["loss"])
                lines.append(
                    f"| {name} | {noise} | {_rate(ours)} | {statistics.show(ours['arrival'], 0)} "
                    f"| {statistics.show(ours['loss'])} | {_rate(bare)} | {statistics.show(bare['loss'])} "
                    f"| {statistics.show(gains)} |"
                )
    return "\n".join(lines)


def _rate(numbers: dict[str, Any]) -> str:
    arrived = numbers["arrival"]
    return statistics.rate(sum(at is not None for at in arrived), len(arrived))


TABLE = Benchmark("gradient_dropout", cells, measure, render)
