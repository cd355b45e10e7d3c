"""Two common complaints about series autoencoders, failing and repaired: the second table of `remedies`.

"It always returns the average of its input", of a stack whose decoder reads a repeated code; and "the loss does not
fall", of a deep one, 200 -> 180 -> 140 -> 120 units on 120 steps, as in keras-team/keras#7231. The series are waves of
different frequencies and phases, with a little noise, so that the mean carries no information.
"""

import dataclasses
from pathlib import Path
from typing import Any

import numpy as np

from benchmarks.harness import statistics
from benchmarks.harness.plots import draw_lines
from benchmarks.harness.record import Benchmark, Cell, Record
from hae_jax.config.series import SERIES, SeriesConfig
from hae_jax.data.series import Scaler, SeriesArray, pad_series
from hae_jax.inference import series as inference
from hae_jax.models.series import Series
from hae_jax.training.series import train

SEEDS = (0, 1, 2)
STEPS, BATCH, TIME, SPAN = 500, 16, 120, 12
COMPLAINTS = {"returns the average": (128, 64), "deep, the loss does not fall": (200, 180, 140, 120)}
"""The complaint, and the sizes of the stack."""
FORMS = {"failing": False, "healed": True}


def waves(number: int, seed: int) -> list[SeriesArray]:
    """Draws series, one sine wave with noise each."""
    rng, at = np.random.default_rng(seed), np.arange(TIME)[:, None]
    return [
        np.sin(at * rng.uniform(0.1, 0.4) + rng.uniform(0, 2 * np.pi)) + 0.05 * rng.normal(size=at.shape)
        for _ in range(number)
    ]


def config_of(sizes: tuple[int, ...], repaired: bool, steps: int, seed: int) -> SeriesConfig:
    """Returns the stack as it is usually written, or our mirrored windows, with codes of the same size.

    Windows make depth unnecessary: however many layers the stack has, the repaired form has two levels.
    """
    if not repaired:
        return dataclasses.replace(SERIES["remedy-clipping"], sizes=sizes, steps=steps, batch_size=BATCH, seed=seed)
    return dataclasses.replace(
        SERIES["series"], sizes=(SPAN, sizes[-1]), spans=(SPAN,), memory=TIME, steps=steps, batch_size=BATCH, seed=seed
    )


def cells(quick: bool) -> list[Cell]:
    """Returns one cell per complaint and form."""
    if quick:
        return [_cell("returns the average", (7, 5), form, (0,), 12, 20) for form in FORMS]
    return [_cell(name, sizes, form, SEEDS, STEPS, 256) for name, sizes in COMPLAINTS.items() for form in FORMS]


def _cell(name: str, sizes: tuple[int, ...], form: str, seeds: tuple[int, ...], steps: int, number: int) -> Cell:
    return Cell(f"{name} | {form}", seeds, {"sizes": list(sizes), "form": form, "steps": steps, "series": number})


def measure(cell: Cell, folder: Path) -> dict[str, Any]:
    """Trains all seeds of a cell; returns errors and the variance of the reconstructions, 0 if they are the mean."""
    c = cell.config
    numbers: dict[str, list[Any]] = {"test": [], "variance": [], "curve": []}
    for seed in cell.seeds:
        train_set, test_set = waves(c["series"], 2 * seed), waves(64, 2 * seed + 1)
        scaler = Scaler.fit(train_set)
        config = config_of(tuple(c["sizes"]), FORMS[c["form"]], c["steps"], seed)
        params, losses = train(config, pad_series(train_set, scaler))
        model = Series(config.architecture, 1)
        codes = inference.encode(model, params, scaler, test_set)
        outputs = np.stack(inference.decode(model, params, scaler, codes, np.full(len(test_set), TIME)))
        numbers["test"].append(float(np.square(outputs - test_set).mean() / np.var(test_set)))
        numbers["variance"].append(float(outputs.var() / np.var(test_set)))
        numbers["curve"].append([float(part.mean()) for part in np.array_split(losses, min(50, len(losses)))])
    return numbers


def render(records: list[Record]) -> str:
    """Renders one row per complaint and form."""
    lines = [
        "| complaint | units | form | held-out error / variance | output variance / variance "
        "| loss: first, middle, last |",
        "|---|---|---|---|---|---|",
    ]
    for record in records:
        complaint, form = record["cell"].split(" | ")
        numbers, sizes = record["numbers"], record["config"]["sizes"]
        curve = np.mean(numbers["curve"], axis=0)
        marks = [curve[round(share * (len(curve) - 1))] for share in (0, 0.5, 1)]
        lines.append(
            f"| {complaint} | {', '.join(map(str, sizes))} | {form} | {statistics.format_median(numbers['test'])} "
            f"| {statistics.format_median(numbers['variance'])} | {', '.join(f'{mark:.2f}' for mark in marks)} |"
        )
    return "\n".join(lines)


def draw(records: list[Record], folder: Path) -> None:
    """Draws training losses, the mean over seeds, one panel per complaint."""
    panels: dict[str, dict[str, tuple[list[float], list[float]]]] = {}
    for record in records:
        complaint, form = record["cell"].split(" | ")
        curve = np.mean(record["numbers"]["curve"], axis=0)
        at = (np.arange(len(curve)) + 0.5) * record["config"]["steps"] / len(curve)
        panels.setdefault(complaint, {})[form] = (at.tolist(), curve.tolist())
    draw_lines(panels, ("training step", "loss, fraction of the variance"), folder / "complaints.png")


TABLE = Benchmark("series_complaints", cells, measure, render, draw)
