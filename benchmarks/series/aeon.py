"""Training and test series of the package aeon, with their labels."""

from typing import NamedTuple

import numpy as np
from jaxtyping import Bool

from hae_jax.data.aeon import ANOMALIES, CLASSIFICATION, Labelled, folder, read_csv, read_ts
from hae_jax.data.series import SeriesArray, SeriesError


class Monitored(NamedTuple):
    """A long series with anomalies, and a clean one to train on.

    Attributes:
        train: without anomalies, [time, 1].
        test: [time, 1]; disjoint from `train`.
        anomalous: True at the steps of `test` that are part of an anomaly.
    """

    train: SeriesArray
    test: SeriesArray
    anomalous: Bool[np.ndarray, "_"]


def classified(name: str) -> tuple[Labelled, Labelled]:
    """Returns the training and the test series of a data set with classes; NaN where a value is missing.

    Raises:
        SeriesError: if the name is unknown, or the package is not installed.
    """
    if name not in CLASSIFICATION:
        raise SeriesError(f"name must be one of {', '.join(CLASSIFICATION)}, got {name!r}. Choose one of them.")
    train, test = (read_ts(folder() / name / f"{name}_{part}.ts") for part in ("TRAIN", "TEST"))
    return train, test


def monitored(name: str) -> Monitored:
    """Returns a long series with labelled anomalies, and its training series.

    Raises:
        SeriesError: if the name is unknown, or the package is not installed.
    """
    if name not in ANOMALIES:
        raise SeriesError(f"name must be one of {', '.join(ANOMALIES)}, got {name!r}. Choose one of them.")
    train, test = (read_csv(name, part) for part in ANOMALIES[name][1:])
    # The test file of the UCR archive begins with the training data.
    if len(train) < len(test) and np.array_equal(train[:, :-1], test[: len(train), :-1]):
        test = test[len(train) :]
    return Monitored(train[:, :-1], test[:, :-1], test[:, -1] > 0)
