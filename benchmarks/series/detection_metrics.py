"""Metrics of anomaly detection, and sliding windows."""

from typing import NamedTuple

import numpy as np
from jaxtyping import Bool, Float


class Detection(NamedTuple):
    """Metrics of anomaly scores.

    Attributes:
        auc_pr: area under the precision-recall curve of single steps; random scores get the share of anomalous steps.
        f1: of single steps, at the best of all thresholds.
        adjusted_f1: the same after point adjustment, that is, a single alarm in an event counts as detecting all of its
            steps. It is optimistic: with long events random scores appear good.
        hit: whether the highest score lies in an event, or at most `SLACK` steps from one.
    """

    auc_pr: float
    f1: float
    adjusted_f1: float
    hit: bool


SLACK = 100
"""As in the UCR archive."""


def detection(scores: Float[np.ndarray, "time"], anomalous: Bool[np.ndarray, "time"]) -> Detection:
    """Returns the metrics of a series of scores.

    Reference:
        Point adjustment and its bias: Kim et al., 2022, https://arxiv.org/abs/2109.05257

    Example:
        >>> labels = np.array([0, 0, 1, 1, 1, 0], bool)
        >>> detection(np.array([0.1, 0.2, 0.0, 0.9, 0.1, 0.3]), labels).adjusted_f1
        1.0
    """
    from sklearn.metrics import average_precision_score

    near = np.convolve(anomalous, np.ones(2 * SLACK + 1), "same") > 0 if len(scores) > 2 * SLACK else anomalous
    return Detection(
        float(average_precision_score(anomalous, scores)),
        best_f1(scores, anomalous),
        best_f1(point_adjusted(scores, anomalous), anomalous),
        bool(near[np.argmax(scores)]),
    )


def point_adjusted(scores: Float[np.ndarray, "time"], anomalous: Bool[np.ndarray, "time"]) -> Float[np.ndarray, "time"]:
    """Returns scores in which every step of an event has the highest score of the event."""
    edges = np.flatnonzero(np.diff(np.concatenate([[0], anomalous.astype(int), [0]])))
    adjusted = scores.copy()
    for first, end in zip(edges[::2], edges[1::2], strict=True):
        adjusted[first:end] = scores[first:end].max()
    return adjusted


def best_f1(scores: Float[np.ndarray, "time"], anomalous: Bool[np.ndarray, "time"]) -> float:
    """Returns the harmonic mean of precision and recall at the best threshold."""
    from sklearn.metrics import precision_recall_curve

    precision, recall, _ = precision_recall_curve(anomalous, scores)
    return float((2 * precision * recall / np.maximum(precision + recall, 1e-12)).max())


def sliding_windows(series: Float[np.ndarray, "time"], width: int, stride: int) -> Float[np.ndarray, "window width"]:
    """Cuts a series into windows, one every `stride` steps, and one that ends with the series."""
    starts = window_starts(len(series), width, stride)
    return np.stack([series[start : start + width] for start in starts])


def window_starts(time: int, width: int, stride: int) -> list[int]:
    """Returns the first step of every window."""
    return sorted({*range(0, time - width + 1, stride), time - width})


def average_windows(scores: Float[np.ndarray, "window width"], time: int, stride: int) -> Float[np.ndarray, "time"]:
    """Returns the score of every step of a series, the mean over the windows that contain it."""
    total, count = np.zeros(time), np.zeros(time)
    width = scores.shape[1]
    for score, start in zip(scores, window_starts(time, width, stride), strict=True):
        total[start : start + width] += score
        count[start : start + width] += 1
    return total / count
