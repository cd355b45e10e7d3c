"""Do the article's three autoencoders of series train, here and in Keras, and what repairs them?

    python -m benchmarks run remedies

Two tables. The article's stacks, LSTM(128) -> LSTM(64) and their mirror, with one remedy each: as they are written,
and the same in Keras 3 on JAX from the same weights on the same batches (one seed: the curves are the same). Beside
them one repaired form with codes of the same size, our default, mirrored windows, and the principal components of the
padded training series, as many. Then two complaints that one reads again and again, failing and healed. An error of 1
is that of always saying the mean.

Device: one CPU core, 40 minutes; resumable.
Expected: the losses of the first step are equal to five digits; on series of 100 steps and more the stacks say little
but the mean for hundreds of steps, with any of the three remedies, and the repaired ones begin where a linear
autoencoder ends.
"""

import dataclasses
from pathlib import Path
from typing import Any

import numpy as np

from benchmarks.harness import statistics
from benchmarks.harness.record import Benchmark, Cell, Record
from benchmarks.series import complaints
from benchmarks.series.keras_models import keras_train
from hae_jax.batch import Signals
from hae_jax.config.series import SERIES, SeriesConfig
from hae_jax.data import aeon
from hae_jax.data.series import Scaler, signals
from hae_jax.inference import series as inference
from hae_jax.models.series import Series
from hae_jax.training.series import fresh, train

SEEDS = (0, 1, 2)
STEPS, BATCH = 500, 16
REPAIRED: dict[str, dict[str, Any]] = {
    "JapaneseVowels": {"sizes": (24, 64), "spans": (5,), "memory": 144},
    "BasicMotions": {"sizes": (40, 64), "spans": (10,), "memory": 400},
}
"""Data, and the levels of a mirrored autoencoder that has room for them."""
PRESETS = ("remedy-clipping", "remedy-dropout", "remedy-layernorm")
FORMS = ("as written", "in Keras")
LINEAR = "principal components"
POINTS = 50
"""Points that are kept of a curve."""


def cells(quick: bool) -> list[Cell]:
    """One cell a data set and form."""
    if quick:
        forms = [(PRESETS[2], form) for form in FORMS] + [("series", "repaired"), (LINEAR, "as many as the code")]
        return [_cell("JapaneseVowels", *each, (0,), 12) for each in forms]
    return [
        cell
        for data in REPAIRED
        for cell in (
            _cell(data, "series", "repaired", SEEDS, STEPS),
            *(_cell(data, name, "as written", SEEDS, STEPS) for name in PRESETS),
            *(_cell(data, name, "in Keras", SEEDS[:1], STEPS) for name in PRESETS),
            _cell(data, LINEAR, "as many as the code", SEEDS[:1], 0),
        )
    ]


def _cell(data: str, name: str, form: str, seeds: tuple[int, ...], steps: int) -> Cell:
    return Cell(f"{data} | {name} | {form}", seeds, {"data": data, "preset": name, "form": form, "steps": steps})


def config_of(data: str, name: str, steps: int, seed: int) -> SeriesConfig:
    """Returns a preset; ours with room for the data."""
    levels = REPAIRED[data] if name == "series" else {}
    return dataclasses.replace(SERIES[name], **levels, steps=steps, batch_size=BATCH, seed=seed)


def load(name: str) -> tuple[Signals, Signals]:
    """Returns training and test series, scaled by what was learned on the former."""
    parts = [aeon.classified(name, part).series for part in ("TRAIN", "TEST")]  # type: ignore[arg-type]
    scaler, longest = Scaler.of(parts[0]), max(len(one) for part in parts for one in part)
    learned, held = (signals(part, scaler, length=longest) for part in parts)
    return learned, held


def measure(cell: Cell, folder: Path) -> dict[str, Any]:
    """Trains all seeds of a cell."""
    data, held = load(cell.config["data"])
    if cell.config["preset"] == LINEAR:
        return linear(data, held)
    found: dict[str, list[Any]] = {"first": [], "final": [], "test": [], "curve": []}
    for seed in cell.seeds:
        config = config_of(cell.config["data"], cell.config["preset"], cell.config["steps"], seed)
        if cell.config["form"] == "in Keras":
            losses, error, _ = keras_train(config, fresh(config, data), data, held)
        else:
            params, losses = train(config, data)
            error = inference.error(Series(config.architecture, data.values.shape[-1]), params, held)
        found["first"].append(float(losses[0]))
        found["final"].append(float(losses[-20:].mean()))
        found["test"].append(error / variance(held))
        found["curve"].append(thinned(losses))
    return found


def linear(data: Signals, held: Signals) -> dict[str, Any]:
    """Brings padded series back from principal components: as many as a code has numbers, or as there are series."""
    from sklearn.decomposition import PCA

    flat = [np.asarray(part.values).reshape(len(part.values), -1) for part in (data, held)]
    model = PCA(min(SERIES["series"].sizes[-1], len(flat[0]) - 1)).fit(flat[0])
    train, test = (
        float(np.square(model.inverse_transform(model.transform(rows)) - rows)[observed].mean()) / variance(part)
        for rows, part in zip(flat, (data, held), strict=True)
        for observed in [np.asarray(part.observed).reshape(rows.shape)]
    )
    return {"first": [train], "final": [train], "test": [test], "curve": [[train]]}


def variance(data: Signals) -> float:
    """Returns the mean square of what was observed: the error of always saying the mean."""
    return float(np.square(data.values)[np.asarray(data.observed)].mean())


def thinned(losses: np.ndarray) -> list[float]:
    """Averages a curve over `POINTS` stretches."""
    return [float(part.mean()) for part in np.array_split(losses, min(POINTS, len(losses)))]


def render(records: list[Record]) -> str:
    """One row a data set and form."""
    lines = [
        "| series | form | loss of step 0 | of the last 20 steps | held-out error, of the variance |",
        "|---|---|---|---|---|",
    ]
    for record in records:
        numbers, (data, name, form) = record["numbers"], record["cell"].split(" | ")
        first = f"{numbers['first'][0]:.5f}"
        shown = [statistics.show(numbers[key]) for key in ("final", "test")]
        lines.append(f"| {data} | {name.removeprefix('remedy-')}, {form} | {first} | {' | '.join(shown)} |")
    return "\n".join(lines)


TABLE = Benchmark("series_remedies", cells, measure, render, peers=("keras", "scikit-learn"))
BENCHMARKS = [TABLE, complaints.TABLE]
