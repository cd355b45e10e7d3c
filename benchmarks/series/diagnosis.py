"""Why do the three Keras examples of series autoencoders not train, and which change repairs them?

    python -m benchmarks run verdicts

Two tables: the doctor's findings for each of the three on two data sets; and, where they fail, the effect of one change
at a time to the stack with clipping. An error of 1 is that of always predicting the mean.

Device: one CPU core, half an hour; resumable.
Expected: the first of a hundred steps do not reach the code. No learning rate, forget bias or normalization repairs
that; shorter paths do: windows, or a decoder that is conditioned on the previous value.
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
from hae_jax.training.series import initial_params, train

BATCHES = 60
"""Batches passed to the doctor."""
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
"""Changed fields of the config by name; those of `cell` and `optim` are nested."""


def diagnosis_cells(quick: bool) -> list[Cell]:
    """Returns one cell per data set and preset."""
    pairs = [("JapaneseVowels", PRESETS[2])] if quick else [(data, name) for data in REPAIRED for name in PRESETS]
    return [Cell(f"{data} | {name}", (0,), {"data": data, "preset": name}) for data, name in pairs]


def training_setup(data: str, name: str) -> TrainingSetup:
    """Returns a preset on a data set as the doctor expects it."""
    train_set, _ = load(data)
    config = config_of(data, name, STEPS, 0)
    model = Series(config.architecture, train_set.values.shape[-1])

    def loss(params: PyTree, batch: Signals, key: Array) -> Float[Array, ""]:
        losses: Any = model.apply({"params": params}, batch, True, rngs={"dropout": key})
        return losses.reconstruction.mean

    rows = [sample_series(len(train_set.values), config.batch_size, config.seed, at) for at in range(BATCHES)]
    batches = [jax.tree.map(lambda x, row=row: x[row], train_set) for row in rows]
    return TrainingSetup(loss, initial_params(config, train_set), batches, optim.build(config.optim, config.steps))


def diagnose(cell: Cell, folder: Path) -> dict[str, Any]:
    """Examines a training setup."""
    report = examine(training_setup(cell.config["data"], cell.config["preset"]))
    e = report.evidence
    return {
        "causes": [finding.cause for finding in report.findings], "steps": e["recurrence_steps"],
        "decades": e["decades_least"], "learned": 1 - e["one_batch_last"] / e["one_batch_first"],
        "gap": e["last_code_permuted"], "gap_short": e.get("short_gap"),
    }  # fmt: skip


def render_diagnoses(records: list[Record]) -> str:
    """Renders one row per data set and preset."""
    lines = [
        "| series | stack | diagnosis | steps | log10 gradient ratio, first to last step | loss reduction on one batch "
        "| code gap | at a quarter of the length |",
        "|---|---|---|---|---|---|---|---|",
    ]
    for record in records:
        numbers, (data, name) = record["numbers"], record["cell"].split(" | ")
        short = "-" if numbers["gap_short"] is None else f"{numbers['gap_short']:.2f}"
        causes = ", ".join(f"`{cause}`" for cause in numbers["causes"]) or "nothing found"
        lines.append(
            f"| {data} | {name.removeprefix('remedy-')} | {causes} | {numbers['steps']:.0f} | {numbers['decades']:.1f} "
            f"| {numbers['learned']:.0%} | {numbers['gap']:.2f} | {short} |"
        )
    return "\n".join(lines)


def changes(quick: bool) -> list[Cell]:
    """Returns one cell per change."""
    names, seeds, steps = (["as written"], (0,), 4) if quick else (list(CHANGES), SEEDS, STEPS)
    return [Cell(f"BasicMotions | {name}", seeds, {"change": name, "steps": steps}) for name in names]


def changed(name: str, steps: int, seed: int) -> SeriesConfig:
    """Returns the stack with clipping, with one change."""
    config, change = config_of("BasicMotions", PRESETS[0], steps, seed), dict(CHANGES[name])
    parts = {part: dataclasses.replace(getattr(config, part), **change.pop(part, {})) for part in ("cell", "optim")}
    return dataclasses.replace(config, **parts, **change)


def measure(cell: Cell, folder: Path) -> dict[str, Any]:
    """Trains all seeds of a change."""
    train_set, test_set = load("BasicMotions")
    numbers: dict[str, list[float]] = {"final": [], "test": []}
    for seed in cell.seeds:
        config = changed(cell.config["change"], cell.config["steps"], seed)
        params, losses = train(config, train_set)
        error = inference.error(Series(config.architecture, test_set.values.shape[-1]), params, test_set)
        numbers["final"].append(float(losses[-20:].mean()) / variance(train_set))
        numbers["test"].append(error / variance(test_set))
    return numbers


def render(records: list[Record]) -> str:
    """Renders one row per change."""
    lines = [
        "| change | loss of the last 20 steps / variance | held-out error / variance |",
        "|---|---|---|",
    ]
    for record in records:
        shown = [statistics.format_median(record["numbers"][key]) for key in ("final", "test")]
        lines.append(f"| {record['config']['change']} | {' | '.join(shown)} |")
    return "\n".join(lines)


DIAGNOSES = Benchmark("series_verdicts", diagnosis_cells, diagnose, render_diagnoses)
TABLE = Benchmark("series_changes", changes, measure, render)
BENCHMARKS = [TABLE, DIAGNOSES]
