"""What do codes know of a class that nobody told them?

    python -m benchmarks run classification

Autoencoders are trained on the training series without their classes; then a linear probe is fitted to the codes of the
training series, and its accuracy measured on those of the test series. Beside it the same probe on simpler features,
and the nearest neighbour of padded series.

Device: one CPU core, 15 minutes; resumable.
Expected: codes of mirrored windows hold much before they are trained; means and deviations of channels are hard to beat
on BasicMotions, which differ in little else.
"""

import dataclasses
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
from jaxtyping import Float

from benchmarks.harness import statistics
from benchmarks.harness.record import Benchmark, Cell, Record
from benchmarks.series.keras_examples import REPAIRED
from hae_jax.config.series import SERIES, SeriesConfig
from hae_jax.data import aeon
from hae_jax.data.series import One, Scaler, signals
from hae_jax.estimators import SeriesAutoencoder

SEEDS = (0, 1, 2)
STEPS = 500
CODE = 64

Features = Callable[[list[One], list[One], int, int], tuple[np.ndarray, np.ndarray]]
"""Takes training and test series, a number of steps of training and a seed; returns features of both."""


def codes(config: SeriesConfig) -> Features:
    """Codes of an autoencoder of training series."""

    def find(learned: list[One], held: list[One], steps: int, seed: int) -> tuple[np.ndarray, np.ndarray]:
        model = SeriesAutoencoder(config=config, steps=steps, random_state=seed).fit(learned)
        return model.transform(learned), model.transform(held)

    return find


def untrained(config: SeriesConfig) -> Features:
    """Codes of fresh weights, trained for a single step of no length."""
    still = dataclasses.replace(config, optim=dataclasses.replace(config.optim, learning_rate=1e-12))
    return lambda learned, held, steps, seed: codes(still)(learned, held, 1, seed)


def padded(series: list[One], scaler: Scaler, length: int) -> Float[np.ndarray, "series feat"]:
    """Scaled series with zeros behind their ends, as rows."""
    return np.asarray(signals(series, scaler, length=length).values).reshape(len(series), -1)


def whole(learned: list[One], held: list[One], steps: int, seed: int) -> tuple[np.ndarray, np.ndarray]:
    """All values, padded to the longest."""
    scaler, length = Scaler.of(learned), max(map(len, [*learned, *held]))
    return padded(learned, scaler, length), padded(held, scaler, length)


def components(learned: list[One], held: list[One], steps: int, seed: int) -> tuple[np.ndarray, np.ndarray]:
    """Principal components of all values, as many as a code has numbers, if there are so many."""
    from sklearn.decomposition import PCA

    train, test = whole(learned, held, steps, seed)
    model = PCA(min(CODE, len(train) - 1), random_state=seed).fit(train)
    return model.transform(train), model.transform(test)


def moments(learned: list[One], held: list[One], steps: int, seed: int) -> tuple[np.ndarray, np.ndarray]:
    """Means and deviations of the channels."""
    train, test = (np.array([[*one.mean(0), *one.std(0)] for one in part]) for part in (learned, held))
    return train, test


FEATURES: dict[str, Features] = {
    "codes, in windows (ours)": lambda learned, held, steps, seed: codes(_windows(learned))(learned, held, steps, seed),
    "codes, as in the article": codes(SERIES["remedy-clipping"]),
    "codes, in windows, untrained": lambda learned, held, steps, seed: untrained(_windows(learned))(
        learned, held, steps, seed
    ),
    "all values": whole,
    "principal components": components,
    "means and deviations": moments,
}


def _windows(series: list[One]) -> SeriesConfig:
    name = "BasicMotions" if min(map(len, series)) >= 50 else "JapaneseVowels"
    return dataclasses.replace(SERIES["series"], **REPAIRED[name])


def cells(quick: bool) -> list[Cell]:
    """One cell a data set and kind of features, and one for the nearest neighbour."""
    names = [*FEATURES, "nearest neighbour"]
    if quick:
        return [_cell("JapaneseVowels", name, (0,), 10) for name in (names[0], names[5])]
    return [_cell(data, name, SEEDS, STEPS) for data in REPAIRED for name in names]


def _cell(data: str, name: str, seeds: tuple[int, ...], steps: int) -> Cell:
    return Cell(f"{data} | {name}", seeds, {"data": data, "features": name, "steps": steps})


def measure(cell: Cell, folder: Path) -> dict[str, Any]:
    """Finds features and probes them, once a seed."""
    (learned, classes), (held, expected) = (aeon.classified(cell.config["data"], part) for part in ("TRAIN", "TEST"))  # type: ignore[arg-type]
    accuracy = []
    for seed in cell.seeds:
        if cell.config["features"] == "nearest neighbour":
            from sklearn.neighbors import KNeighborsClassifier

            train, test = whole(learned, held, 0, seed)
            model: Any = KNeighborsClassifier(1)
        else:
            train, test = FEATURES[cell.config["features"]](learned, held, cell.config["steps"], seed)
            model = probe()
        accuracy.append(float(model.fit(train, classes).score(test, expected)))
    return {"accuracy": accuracy, "size": int(train.shape[1])}


def probe() -> Any:
    """Returns a logistic regression on scaled features."""
    from sklearn.linear_model import LogisticRegression
    from sklearn.pipeline import make_pipeline
    from sklearn.preprocessing import StandardScaler

    return make_pipeline(StandardScaler(), LogisticRegression(C=1.0, max_iter=2000))


def render(records: list[Record]) -> str:
    """One row a kind of features, one column a data set."""
    found = {record["cell"]: record["numbers"] for record in records}
    lines = [f"| features | {' | '.join(REPAIRED)} |", f"|---|{'---|' * len(REPAIRED)}"]
    for name in (*FEATURES, "nearest neighbour"):
        cells = [found.get(f"{data} | {name}") for data in REPAIRED]
        shown = [f"{statistics.show([100 * x for x in each['accuracy']], 1)} %" if each else "-" for each in cells]
        lines.append(f"| {name} | {' | '.join(shown)} |")
    return "\n".join(lines)


BENCHMARKS = [Benchmark("series_classification", cells, measure, render, peers=("scikit-learn",))]
