"""Why do the article's autoencoders of series not train, and what of them has to be changed?

    python -m benchmarks run verdicts

Two tables: what the doctor finds in the three on each of two data sets; and, where they fail, what one change at a time
does to the form with a clip. An error of 1 is that of always saying the mean.

Device: one CPU core, half an hour; resumable.
Expected: what is read first of a hundred steps does not reach the code. No rate, no forget bias and no normalisation
heals that; shorter ways do: windows, or a decoder that is told the previous value.
"""

import dataclasses
from pathlib import Path
from typing import Any

import jax
from jaxtyping import Array, Float, PyTree

from benchmarks.harness import statistics
from benchmarks.harness.record import Benchmark, Cell, Record
from benchmarks.series.keras_examples import PRESETS, REPAIRED, SEEDS, STEPS, config_of, load, variance
from hae_jax.batch import Signals
from hae_jax.config.series import SeriesConfig
from hae_jax.data.series import sample_series
from hae_jax.doctor import examine
from hae_jax.doctor.inputs.setup import TrainingSetup
from hae_jax.inference import series as inference
from hae_jax.models.series import Series
from hae_jax.training import optim
from hae_jax.training.series import fresh, train

BATCHES = 60
"""That the doctor is given."""
CHANGES: dict[str, dict[str, Any]] = {
    "as written": {},
    "read backwards": {"reverse": True},
    "five times the rate": {"optim": {"learning_rate": 5e-3}},
    "forget bias 5": {"cell": {"forget_bias": 5.0}},
    "layer normalisation in the cells": {"cell": {"layer_norm": "cell"}},
    "four times the steps": {"steps": 4 * STEPS},
    "the previous value told to the decoder": {"decoding": "previous"},
    "windows of 10 steps": {"spans": (10,)},
    "windows of 10 steps, five times the rate": {"spans": (10,), "optim": {"learning_rate": 5e-3}},
}
"""By name: fields of the config, those of `cell` and `optim` by themselves."""


def patients(quick: bool) -> list[Cell]:
    """One cell a data set and preset."""
    pairs = [("JapaneseVowels", PRESETS[2])] if quick else [(data, name) for data in REPAIRED for name in PRESETS]
    return [Cell(f"{data} | {name}", (0,), {"data": data, "preset": name}) for data, name in pairs]


def patient(data: str, name: str) -> TrainingSetup:
    """Returns a preset on a data set as the doctor wants it."""
    learned, _ = load(data)
    config = config_of(data, name, STEPS, 0)
    model = Series(config.architecture, learned.values.shape[-1])

    def loss(params: PyTree, batch: Signals, key: Array) -> Float[Array, ""]:
        losses: Any = model.apply({"params": params}, batch, True, rngs={"dropout": key})
        return losses.words.mean

    rows = [sample_series(len(learned.values), config.batch_size, config.seed, at) for at in range(BATCHES)]
    batches = [jax.tree.map(lambda x, row=row: x[row], learned) for row in rows]
    return TrainingSetup(loss, fresh(config, learned), batches, optim.build(config.optim, config.steps))


def ask(cell: Cell, folder: Path) -> dict[str, Any]:
    """Has a patient examined."""
    report = examine(patient(cell.config["data"], cell.config["preset"]), 600)
    e = report.evidence
    return {
        "causes": [finding.cause for finding in report.findings], "steps": e["recurrence_steps"],
        "decades": e["decades_least"], "learned": 1 - e["one_batch_last"] / e["one_batch_first"],
        "gap": e["last_code_permuted"], "gap_short": e.get("short_gap"),
    }  # fmt: skip


def render_verdicts(records: list[Record]) -> str:
    """One row a patient."""
    lines = [
        "| series | stack | the doctor says | steps | gradient of the first step beside the last's, decades | of one "
        "batch learned | code gap | of a quarter |",
        "|---|---|---|---|---|---|---|---|",
    ]
    for record in records:
        found, (data, name) = record["numbers"], record["cell"].split(" | ")
        short = "-" if found["gap_short"] is None else f"{found['gap_short']:.2f}"
        said = ", ".join(f"`{cause}`" for cause in found["causes"]) or "nothing found"
        lines.append(
            f"| {data} | {name.removeprefix('remedy-')} | {said} | {found['steps']:.0f} | {found['decades']:.1f} | "
            f"{found['learned']:.0%} | {found['gap']:.2f} | {short} |"
        )
    return "\n".join(lines)


def changes(quick: bool) -> list[Cell]:
    """One cell a change."""
    names, seeds, steps = (["as written"], (0,), 4) if quick else (list(CHANGES), SEEDS, STEPS)
    return [Cell(f"BasicMotions | {name}", seeds, {"change": name, "steps": steps}) for name in names]


def changed(name: str, steps: int, seed: int) -> SeriesConfig:
    """Returns the article's stack with one change."""
    config, change = config_of("BasicMotions", PRESETS[0], steps, seed), dict(CHANGES[name])
    parts = {part: dataclasses.replace(getattr(config, part), **change.pop(part, {})) for part in ("cell", "optim")}
    return dataclasses.replace(config, **parts, **change)


def measure(cell: Cell, folder: Path) -> dict[str, Any]:
    """Trains all seeds of a change."""
    learned, held = load("BasicMotions")
    found: dict[str, list[float]] = {"final": [], "test": []}
    for seed in cell.seeds:
        config = changed(cell.config["change"], cell.config["steps"], seed)
        params, losses = train(config, learned)
        error = inference.error(Series(config.architecture, held.values.shape[-1]), params, held)
        found["final"].append(float(losses[-20:].mean()) / variance(learned))
        found["test"].append(error / variance(held))
    return found


def render(records: list[Record]) -> str:
    """One row a change."""
    lines = ["| change | loss of the last 20 steps, of the variance | held-out error |", "|---|---|---|"]
    for record in records:
        shown = [statistics.show(record["numbers"][key]) for key in ("final", "test")]
        lines.append(f"| {record['config']['change']} | {' | '.join(shown)} |")
    return "\n".join(lines)


VERDICTS = Benchmark("series_verdicts", patients, ask, render_verdicts)
TABLE = Benchmark("series_changes", changes, measure, render)
BENCHMARKS = [TABLE, VERDICTS]
