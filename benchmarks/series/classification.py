"""How well do codes that were learned without labels predict the class of a series?

    python -m benchmarks run classification

Autoencoders are trained on the training series without their classes; then a linear probe is fitted to the codes of the
training series and evaluated on those of the test series. Baselines: the same probe on simpler features, and the
nearest neighbour of padded series.

Device: one CPU core, 15 minutes; resumable.
Expected: codes of mirrored windows contain much class information before training; means and standard deviations of the
channels are a strong baseline on BasicMotions, whose classes differ in little else.
"""

import dataclasses
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
from jaxtyping import Float

from benchmarks.harness import statistics
from benchmarks.harness.record import Benchmark, Cell, Record
from benchmarks.series.aeon import classified
from benchmarks.series.keras_examples import REPAIRED
from hae_jax.config.series import SERIES, SeriesConfig
from hae_jax.data.series import Scaler, SeriesArray, pad_series
from hae_jax.estimators import SeriesAutoencoder

SEEDS = (0, 1, 2)
STEPS = 500
CODE = 64

Features = Callable[[list[SeriesArray], list[SeriesArray], int, int], tuple[np.ndarray, np.ndarray]]
"""Takes training series, test series, a number of training steps and a seed; returns the features of both."""


def codes(config: SeriesConfig) -> Features:
    """Returns the codes of an autoencoder fitted to the training series."""

    def features(
        train: list[SeriesArray], test: list[SeriesArray], steps: int, seed: int
    ) -> tuple[np.ndarray, np.ndarray]:
        model = SeriesAutoencoder(config=config, steps=steps, random_state=seed).fit(train)
        return model.transform(train), model.transform(test)

    return features


def untrained(config: SeriesConfig) -> Features:
    """Returns the codes at initialization: one training step with a negligible learning rate."""
    frozen = dataclasses.replace(config, optim=dataclasses.replace(config.optim, learning_rate=1e-12))
    return lambda train, test, steps, seed: codes(frozen)(train, test, 1, seed)


def padded(series: list[SeriesArray], scaler: Scaler, length: int) -> Float[np.ndarray, "series feat"]:
    """Returns scaled series, padded with zeros, as rows."""
    return np.asarray(pad_series(series, scaler, length=length).values).reshape(len(series), -1)


def all_values(
    train: list[SeriesArray], test: list[SeriesArray], steps: int, seed: int
) -> tuple[np.ndarray, np.ndarray]:
    """Returns all values, padded to the longest series."""
    scaler, length = Scaler.fit(train), max(map(len, [*train, *test]))
    return padded(train, scaler, length), padded(test, scaler, length)


def principal_components(
    train: list[SeriesArray], test: list[SeriesArray], steps: int, seed: int
) -> tuple[np.ndarray, np.ndarray]:
    """Returns principal components of all values, as many as a code has numbers, or as there are."""
    from sklearn.decomposition import PCA

    train_rows, test_rows = all_values(train, test, steps, seed)
    model = PCA(min(CODE, len(train_rows) - 1), random_state=seed).fit(train_rows)
    return model.transform(train_rows), model.transform(test_rows)


def moments(train: list[SeriesArray], test: list[SeriesArray], steps: int, seed: int) -> tuple[np.ndarray, np.ndarray]:
    """Returns means and standard deviations of the channels."""
    rows = [np.array([[*one.mean(0), *one.std(0)] for one in part]) for part in (train, test)]
    return rows[0], rows[1]


FEATURES: dict[str, Features] = {
    "codes, in windows (ours)": lambda train, test, steps, seed: codes(_windows(train))(train, test, steps, seed),
    "codes, as in the article": codes(SERIES["remedy-clipping"]),
    "codes, in windows, untrained": lambda train, test, steps, seed: untrained(_windows(train))(
        train, test, steps, seed
    ),
    "all values": all_values,
    "principal components": principal_components,
    "means and deviations": moments,
}


def _windows(series: list[SeriesArray]) -> SeriesConfig:
    name = "BasicMotions" if min(map(len, series)) >= 50 else "JapaneseVowels"
    return dataclasses.replace(SERIES["series"], **REPAIRED[name])


def cells(quick: bool) -> list[Cell]:
    """Returns one cell per data set and kind of features, the nearest neighbour included."""
    names = [*FEATURES, "nearest neighbour"]
    if quick:
        return [_cell("JapaneseVowels", name, (0,), 10) for name in (names[0], names[5])]
    return [_cell(data, name, SEEDS, STEPS) for data in REPAIRED for name in names]


def _cell(data: str, name: str, seeds: tuple[int, ...], steps: int) -> Cell:
    return Cell(f"{data} | {name}", seeds, {"data": data, "features": name, "steps": steps})


def measure(cell: Cell, folder: Path) -> dict[str, Any]:
    """Fits a probe to the features, once per seed."""
    (train, train_classes), (test, test_classes) = classified(cell.config["data"])
    accuracy = []
    for seed in cell.seeds:
        if cell.config["features"] == "nearest neighbour":
            from sklearn.neighbors import KNeighborsClassifier

            train_rows, test_rows = all_values(train, test, 0, seed)
            model: Any = KNeighborsClassifier(1)
        else:
            train_rows, test_rows = FEATURES[cell.config["features"]](train, test, cell.config["steps"], seed)
            model = probe()
        accuracy.append(float(model.fit(train_rows, train_classes).score(test_rows, test_classes)))
    return {"accuracy": accuracy, "size": int(train_rows.shape[1])}


def probe() -> Any:
    """Returns a logistic regression on scaled features."""
    from sklearn.linear_model import LogisticRegression
    from sklearn.pipeline import make_pipeline
    from sklearn.preprocessing import StandardScaler

    return make_pipeline(StandardScaler(), LogisticRegression(C=1.0, max_iter=2000))


def render(records: list[Record]) -> str:
    """Renders one row per kind of features, one column per data set."""
    numbers = {record["cell"]: record["numbers"] for record in records}
    lines = [f"| features | {' | '.join(REPAIRED)} |", f"|---|{'---|' * len(REPAIRED)}"]
    for name in (*FEATURES, "nearest neighbour"):
        cells = [numbers.get(f"{data} | {name}") for data in REPAIRED]
        shown = [
            f"{statistics.format_median([100 * x for x in each['accuracy']], 1)} %" if each else "-" for each in cells
        ]
        lines.append(f"| {name} | {' | '.join(shown)} |")
    return "\n".join(lines)


BENCHMARKS = [Benchmark("series_classification", cells, measure, render, peers=("scikit-learn",))]
