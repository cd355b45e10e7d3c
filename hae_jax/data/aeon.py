"""Series from the files of the package aeon, read without importing it: importing it compiles for a minute.

Only the package's files are needed, none of its dependencies: `pip install --no-deps aeon`.
"""

import importlib.util
from pathlib import Path
from typing import NamedTuple

import numpy as np

from hae_jax.data.series import SeriesArray, SeriesError

CLASSIFICATION = ("JapaneseVowels", "BasicMotions")
"""Series with classes: 640 utterances by nine speakers, 12 channels and 7 to 29 steps; 80 recordings of four motions, 6
channels and 100 steps."""
ANOMALIES = {
    "KDD-TSAD_135": ("KDD-TSAD_135/135_UCR_Anomaly_InternalBleeding16", "TRAIN", "TEST"),
    "ecg-diff-count-3": ("UnitTest/ecg-diff-count-3", "TRAIN_NA", "TEST"),
}
"""Long series with labelled anomalies: file stem, and suffixes of the training and the test file. Blood pressure with
one anomaly, of 12 steps, among 6,301; a synthetic electrocardiogram with three, of 100 steps each, among 10,000."""


class Labelled(NamedTuple):
    """Series and the class of each."""

    series: list[SeriesArray]
    labels: list[str]


def training_series(name: str) -> list[SeriesArray]:
    """Returns the training series of a data set; NaN where a value is missing.

    Raises:
        SeriesError: if the name is unknown, or the package is not installed.
    """
    if name in ANOMALIES:
        return [read_csv(name, ANOMALIES[name][1])[:, :-1]]
    if name in CLASSIFICATION:
        return read_ts(folder() / name / f"{name}_TRAIN.ts").series
    names = ", ".join([*CLASSIFICATION, *ANOMALIES])
    raise SeriesError(f"corpus must be aeon: and one of {names}, got 'aeon:{name}'. Choose one of them.")


def read_csv(name: str, part: str) -> SeriesArray:
    """Reads a file of a series with labelled anomalies: the channels, and a last column that is 1 in an anomaly."""
    return np.loadtxt(folder() / f"{ANOMALIES[name][0]}_{part}.csv", delimiter=",", skiprows=1)[:, 1:]


def read_ts(path: Path) -> Labelled:
    """Reads a .ts file: one series per line, its channels separated by colons, its class last.

    Raises:
        SeriesError: if a line has another form.

    Reference:
        https://www.aeon-toolkit.org/en/stable/api_reference/file_specifications/ts.html
    """
    lines = path.read_text(encoding="utf-8").splitlines()
    start = next((at for at, line in enumerate(lines, 1) if line.strip().lower() == "@data"), len(lines))
    data = Labelled([], [])
    for number, line in enumerate(lines[start:], start + 1):
        if not line.strip():
            continue
        *channels, label = line.strip().split(":")
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
        data.series.append(series)
        data.labels.append(label)
    return data


def folder() -> Path:
    """Returns the folder of the package's data files.

    Raises:
        SeriesError: if the package is not installed.
    """
    spec = importlib.util.find_spec("aeon")
    if spec is None or not spec.submodule_search_locations:
        raise SeriesError("package aeon must be installed, got none of that name. Try: pip install --no-deps aeon")
    return Path(spec.submodule_search_locations[0]) / "datasets" / "data"
