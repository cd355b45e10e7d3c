"""Labelled series that come with the package aeon, read without importing it: it would compile for a minute.

Only the package's files are needed, none of its dependencies: `pip install --no-deps aeon`.
"""

import importlib.util
from collections.abc import Iterator
from pathlib import Path
from typing import Literal, NamedTuple

import numpy as np
from jaxtyping import Bool

from hae_jax.data.series import One, SeriesError

CLASSIFICATION = ("JapaneseVowels", "BasicMotions")
"""Series with classes: 640 utterances by nine speakers, 12 channels and 7 to 29 steps; 80 recordings of four motions, 6
channels and 100 steps."""


class Labelled(NamedTuple):
    """Series and the class of each."""

    series: list[One]
    labels: list[str]


class Monitored(NamedTuple):
    """A long series with anomalies, and one, or its beginning, without.

    Attributes:
        train: clean, [time, 1].
        test: [time, 1]; nothing of it stands in `train`.
        anomalous: True at the steps of `test` that are part of an anomaly.
    """

    train: One
    test: One
    anomalous: Bool[np.ndarray, "_"]


_WATCHED = {
    "KDD-TSAD_135": ("KDD-TSAD_135/135_UCR_Anomaly_InternalBleeding16", "TRAIN", "TEST"),
    "ecg-diff-count-3": ("UnitTest/ecg-diff-count-3", "TRAIN_NA", "TEST"),
}
ANOMALIES = tuple(_WATCHED)
"""Long series with labelled anomalies: blood pressure with one, of 12 steps, among 6,301; a made electrocardiogram with
three, of 100 steps each, among 10,000."""


def classified(name: str, part: Literal["TRAIN", "TEST"]) -> Labelled:
    """Reads series with classes; NaN where a value is missing.

    Raises:
        SeriesError: if there is no such collection, or the package is not installed.
    """
    if name not in CLASSIFICATION:
        raise SeriesError(f"name must be one of {', '.join(CLASSIFICATION)}, got {name!r}. Choose one of them.")
    return read_ts(_folder() / name / f"{name}_{part}.ts")


def monitored(name: str) -> Monitored:
    """Reads a long series with labelled anomalies.

    Raises:
        SeriesError: as `classified`.
    """
    if name not in _WATCHED:
        raise SeriesError(f"name must be one of {', '.join(_WATCHED)}, got {name!r}. Choose one of them.")
    stem, *parts = _WATCHED[name]
    train, test = (np.loadtxt(_folder() / f"{stem}_{part}.csv", delimiter=",", skiprows=1) for part in parts)
    values, anomalous = test[:, 1:-1], test[:, -1] > 0
    # The test file of the UCR archive begins with the training data.
    if len(train) < len(test) and np.array_equal(train[:, 1:-1], values[: len(train)]):
        values, anomalous = values[len(train) :], anomalous[len(train) :]
    return Monitored(train[:, 1:-1], values, anomalous)


def read_ts(path: Path) -> Labelled:
    """Reads a .ts file: a series a line, its channels between colons, its class last.

    Raises:
        SeriesError: if a line is no such thing.

    Reference:
        https://www.aeon-toolkit.org/en/stable/api_reference/file_specifications/ts.html
    """
    found = Labelled([], [])
    for number, line in _data(path):
        *channels, label = line.split(":")
        try:
            columns = [[float("nan" if value == "?" else value) for value in each.split(",")] for each in channels]
            series = np.array(columns).T
        except ValueError:
            series = np.zeros(0)
        if series.ndim != 2:
            raise SeriesError(
                f"line {number} of {path} must hold channels of equal lengths between colons, got {line[:40]!r}. "
                "Fetch the file again."
            )
        found.series.append(series)
        found.labels.append(label)
    return found


def _data(path: Path) -> Iterator[tuple[int, str]]:
    begun = False
    for number, line in enumerate(path.read_text(encoding="utf-8").splitlines(), 1):
        if begun and line.strip():
            yield number, line.strip()
        begun = begun or line.strip().lower() == "@data"


def _folder() -> Path:
    spec = importlib.util.find_spec("aeon")
    if spec is None or not spec.submodule_search_locations:
        raise SeriesError("package aeon must be installed, got none of that name. Try: pip install --no-deps aeon")
    return Path(spec.submodule_search_locations[0]) / "datasets" / "data"
