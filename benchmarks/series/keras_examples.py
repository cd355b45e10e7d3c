"""Do the three Keras examples of series autoencoders train, here and in Keras, and what repairs them?

    python -m benchmarks run remedies

Two tables. First the stacks of a published article, LSTM(128) -> LSTM(64) with a mirrored decoder, with one remedy
each: as they are written, and the same in Keras 3 on JAX from the same weights on the same batches (one seed: the
curves are equal). Compared with one repaired form with codes of the same size, our default, mirrored windows, and with
as many principal components of the padded training series. Then two common complaints, failing and repaired. An error
of 1 is that of always predicting the mean.

Device: one CPU core, 40 minutes; resumable.
Expected: the losses of the first step are equal to five digits; on series of 100 steps and more the stacks predict
little but the mean for hundreds of training steps, with any of the three remedies, and the repaired ones start with the
loss of a linear autoencoder.
"""

import dataclasses
from pathlib import Path
from typing import Any

import numpy as np

from benchmarks.harness import statistics
from benchmarks.harness.record import Benchmark, Cell, Record
from benchmarks.series import complaints
from benchmarks.series.aeon import classified
from benchmarks.series.keras_models import keras_train
from hae_jax.batch import Signals
from hae_jax.config.series import SERIES, SeriesConfig
from hae_jax.data.series import Scaler, pad_series
from hae_jax.inference import series as inference
from hae_jax.models.series import Series
from hae_jax.training.series import initial_params, train

SEEDS = (0, 1, 2)
STEPS, BATCH = 500, 16
REPAIRED: dict[str, dict[str, Any]] = {
    "JapaneseVowels": {"sizes": (24, 64), "spans": (5,), "memory": 144},
    "BasicMotions": {"sizes": (40, 64), "spans": (10,), "memory": 400},
}
"""Data sets, and the levels of a mirrored autoencoder whose registers are large enough for them."""
PRESETS = ("remedy-clipping", "remedy-dropout", "remedy-layernorm")
FORMS = ("as written", "in Keras")
LINEAR = "principal components"
POINTS = 50
"""Points of a recorded loss curve."""


def cells(quick: bool) -> list[Cell]:
    """Returns one cell per data set and form."""
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
    """Returns a preset; ours with registers large enough for the data."""
    levels = REPAIRED[data] if name == "series" else {}
    return dataclasses.replace(SERIES[name], **levels, steps=steps, batch_size=BATCH, seed=seed)


def load(name: str) -> tuple[Signals, Signals]:
    """Returns training and test series, both scaled by the statistics of the former."""
    parts = [part.series for part in classified(name)]
    scaler, longest = Scaler.fit(parts[0]), max(len(one) for part in parts for one in part)
    train_set, test_set = (pad_series(part, scaler, length=longest) for part in parts)
    return train_set, test_set


def measure(cell: Cell, folder: Path) -> dict[str, Any]:
    """Trains all seeds of a cell."""
    train_set, test_set = load(cell.config["data"])
    if cell.config["preset"] == LINEAR:
        return linear(train_set, test_set)
    numbers: dict[str, list[Any]] = {"first": [], "final": [], "test": [], "curve": []}
    for seed in cell.seeds:
        config = config_of(cell.config["data"], cell.config["preset"], cell.config["steps"], seed)
        if cell.config["form"] == "in Keras":
            losses, error, _ = keras_train(config, initial_params(config, train_set), train_set, test_set)
        else:
            params, losses = train(config, train_set)
            error = inference.error(Series(config.architecture, train_set.values.shape[-1]), params, test_set)
        numbers["first"].append(float(losses[0]))
        numbers["final"].append(float(losses[-20:].mean()))
        numbers["test"].append(error / variance(test_set))
        numbers["curve"].append(downsample(losses))
    return numbers


def linear(train_set: Signals, test_set: Signals) -> dict[str, Any]:
    """Reconstructs padded series from principal components: as many as a code has numbers, or as there are series."""
    from sklearn.decomposition import PCA

    flat = [np.asarray(part.values).reshape(len(part.values), -1) for part in (train_set, test_set)]
    model = PCA(min(SERIES["series"].sizes[-1], len(flat[0]) - 1)).fit(flat[0])
    train_error, test_error = (
        float(np.square(model.inverse_transform(model.transform(rows)) - rows)[observed].mean()) / variance(part)
        for rows, part in zip(flat, (train_set, test_set), strict=True)
        for observed in [np.asarray(part.observed).reshape(rows.shape)]
    )
    return {"first": [train_error], "final": [train_error], "test": [test_error], "curve": [[train_error]]}


def variance(data: Signals) -> float:
    """Returns the mean square of the observed values: the error of always predicting the mean."""
    return float(np.square(data.values)[np.asarray(data.observed)].mean())


def downsample(losses: np.ndarray) -> list[float]:
    """Returns a curve as the means of at most `POINTS` intervals."""
    return [float(part.mean()) for part in np.array_split(losses, min(POINTS, len(losses)))]


def render(records: list[Record]) -> str:
    """Renders one row per data set and form."""
    lines = [
        "| series | form | loss: step 0 | last 20 steps | held-out error / variance |",
        "|---|---|---|---|---|",
    ]
    for record in records:
        numbers, (data, name, form) = record["numbers"], record["cell"].split(" | ")
        first = f"{numbers['first'][0]:.5f}"
        shown = [statistics.format_median(numbers[key]) for key in ("final", "test")]
        lines.append(f"| {data} | {name.removeprefix('remedy-')}, {form} | {first} | {' | '.join(shown)} |")
    return "\n".join(lines)


TABLE = Benchmark("series_remedies", cells, measure, render, peers=("keras", "scikit-learn"))
BENCHMARKS = [TABLE, complaints.TABLE]
