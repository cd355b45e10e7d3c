"""Do the article's three autoencoders of series train, here and in Keras, and what repairs them?

    python -m benchmarks run remedies

Two tables. The article's stacks, LSTM(128) -> LSTM(64) and their mirror, with one remedy each: as they are written,
the same in Keras 3 on JAX from the same weights on the same batches, and repaired: our default, which reads and says
windows, backwards, normalised inside the cell, with a forget bias of 2, and keeps the remedy's clip and dropout. Then
two complaints that one reads again and again, failing and healed. An error of 1 is that of always saying the mean.

Device: two CPU cores, 3 hours; resumable.
Expected: the losses of the first step are equal to five digits; on series of 100 steps and more the stacks say little
but the mean for hundreds of steps, with any of the three remedies, and the repaired ones do not.
"""

import dataclasses
import time
from pathlib import Path
from typing import Any

import numpy as np

from benchmarks import complaints, interval
from benchmarks.keras_series import keras_train
from benchmarks.record import Benchmark, Cell, Record
from hae_jax.batch import Signals
from hae_jax.data import aeon
from hae_jax.data.series import Scaler, signals
from hae_jax.inference import series as inference
from hae_jax.models.series import Series
from hae_jax.series import SERIES, SeriesConfig
from hae_jax.training.series import fresh, train

SEEDS = (0, 1, 2)
STEPS, BATCH = 1500, 16
SPANS = {"JapaneseVowels": 5, "BasicMotions": 10}
"""Data, and the steps of a window where there are windows."""
PRESETS = ("remedy-clipping", "remedy-dropout", "remedy-layernorm")
FORMS = ("as written", "in Keras", "repaired")
POINTS = 40
"""Points that are kept of a curve."""


def cells(quick: bool) -> list[Cell]:
    """One cell a data set, preset and form."""
    order = [(data, name, form) for data in SPANS for name in PRESETS for form in FORMS]
    if quick:
        return [_cell("JapaneseVowels", PRESETS[2], form, (0,), 12) for form in FORMS]
    return [_cell(*what, SEEDS, STEPS) for what in order]


def _cell(data: str, name: str, form: str, seeds: tuple[int, ...], steps: int) -> Cell:
    return Cell(f"{data} | {name} | {form}", seeds, {"data": data, "preset": name, "form": form, "steps": steps})


def config_of(name: str, form: str, span: int, steps: int, seed: int) -> SeriesConfig:
    """Returns a preset as it is, or its repaired form."""
    config = dataclasses.replace(SERIES[name], steps=steps, batch_size=BATCH, seed=seed)
    if form != "repaired":
        return config
    ours = SERIES["series"]
    kept = {name: getattr(config.cell, name) for name in ("input_dropout", "recurrent_dropout")}
    clip = dataclasses.replace(ours.optim, clip=config.optim.clip, clip_norm=config.optim.clip_norm)
    return dataclasses.replace(
        ours, spans=(span,), cell=dataclasses.replace(ours.cell, **kept), optim=clip, steps=steps, batch_size=BATCH,
        seed=seed,
    )  # fmt: skip


def load(name: str) -> tuple[Signals, Signals]:
    """Returns training and test series, scaled by what was learned on the former."""
    parts = [aeon.classified(name, part).series for part in ("TRAIN", "TEST")]  # type: ignore[arg-type]
    scaler, longest = Scaler.of(parts[0]), max(len(one) for part in parts for one in part)
    learned, held = (signals(part, scaler, length=longest) for part in parts)
    return learned, held


def measure(cell: Cell, folder: Path) -> dict[str, Any]:
    """Trains all seeds of a cell."""
    data, held = load(cell.config["data"])
    found: dict[str, list[Any]] = {"first": [], "final": [], "test": [], "seconds": [], "curve": []}
    for seed in cell.seeds:
        config = config_of(
            cell.config["preset"], cell.config["form"], SPANS[cell.config["data"]], cell.config["steps"], seed
        )
        if cell.config["form"] == "in Keras":
            run = keras_train(config, fresh(config, data), data, held)
            losses, error, seconds = run
        else:
            started = time.perf_counter()
            params, losses = train(config, data)
            seconds = (time.perf_counter() - started) / config.steps
            model = Series(config.architecture, data.values.shape[-1])
            error = inference.error(model, params, held)
        found["first"].append(float(losses[0]))
        found["final"].append(float(losses[-20:].mean()))
        found["test"].append(error / float(np.square(held.values)[np.asarray(held.observed)].mean()))
        found["seconds"].append(seconds)
        found["curve"].append(thinned(losses))
    return found


def thinned(losses: np.ndarray) -> list[float]:
    """Averages a curve over `POINTS` stretches."""
    return [float(part.mean()) for part in np.array_split(losses, min(POINTS, len(losses)))]


def render(records: list[Record]) -> str:
    """One row a data set and preset, its three forms beside each other."""
    lines = [
        "| series | remedy | loss of step 0: here | in Keras | held-out error: as written | in Keras | repaired |",
        "|---|---|---|---|---|---|---|",
    ]
    found = {record["cell"]: record["numbers"] for record in records}
    for data in SPANS:
        for name in PRESETS:
            here, keras, repaired = (found.get(f"{data} | {name} | {form}") for form in FORMS)
            if here and keras and repaired:
                firsts = [f"{np.mean(each['first']):.5f}" for each in (here, keras)]
                tests = [interval.show(each["test"]) for each in (here, keras, repaired)]
                lines.append(f"| {data} | {name.removeprefix('remedy-')} | {' | '.join(firsts + tests)} |")
    return "\n".join(lines)


TABLE = Benchmark("series_remedies", cells, measure, render)
BENCHMARKS = [TABLE, complaints.TABLE]
