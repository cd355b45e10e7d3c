"""Continuous series: validated, scaled, and padded to batches."""

from collections.abc import Sequence
from typing import Any, NamedTuple

import numpy as np
from jaxtyping import Bool, Float, Int

from hae_jax.batch import Signals

SeriesArray = Float[np.ndarray, "_ _"]
"""A series, [time, channel]; lengths differ."""
MULTIPLE = 8
"""Lengths are rounded up to a multiple of this, so that few shapes are compiled."""


class SeriesError(ValueError):
    """A series cannot be used."""


def as_series(series: Any, missing: bool = False, channels: int | None = None, name: str = "X") -> list[SeriesArray]:
    """Returns series as float64 arrays [time, channel].

    Args:
        series: a list of arrays [time] or [time, channel], whose lengths may differ; or one array [series, time] or
            [series, time, channel].
        missing: whether NaN marks a missing value.
        channels: required number of channels; None for any number, equal in all series.
        name: name of the argument in error messages.

    Raises:
        SeriesError: if there is no series, or one is empty, no array of numbers, not finite, entirely missing, or has
            another number of channels.

    Example:
        >>> [one.shape for one in as_series([[1.0, 2.0, 3.0], [4.0]])]
        [(3, 1), (1, 1)]
    """
    if isinstance(series, str | bytes) or not hasattr(series, "__len__"):
        raise SeriesError(f"{name} must be a list of series, got {type(series).__name__}. Put them into a list.")
    if isinstance(series, np.ndarray) and series.dtype != object and series.ndim not in (2, 3):
        shape = "[series, time] or [series, time, channel]"
        raise SeriesError(
            f"{name} must have the shape {shape}, got {list(series.shape)}. Put a single series into a list: [{name}]."
        )
    if not len(series):
        raise SeriesError(f"{name} must hold at least one series, got none. Pass some.")
    checked = []
    for index, one in enumerate(series):
        array = _check(one, f"{name}[{index}]", missing)
        channels = channels or array.shape[1]
        if array.shape[1] != channels:
            raise SeriesError(
                f"{name}[{index}] must have {channels} channel{'s' * (channels > 1)}, got {array.shape[1]}. "
                "Give every series the channels of training, as [time, channel]."
            )
        checked.append(array)
    return checked


def _check(one: Any, name: str, missing: bool) -> SeriesArray:
    try:
        array = np.asarray(one)
        if array.dtype == object:
            array = array.astype(np.float64)
    except (ValueError, TypeError):
        raise SeriesError(f"{name} must be an array of numbers, got {one!r:.60}. Convert it first.") from None
    if array.dtype.kind not in "fiub":
        raise SeriesError(f"{name} must hold real numbers, got {array.dtype}. Convert it first.")
    if array.ndim not in (1, 2):
        raise SeriesError(f"{name} must have the shape [time] or [time, channel], got {list(array.shape)}. Reshape it.")
    array = (array if array.ndim == 2 else array[:, None]).astype(np.float64)
    if not array.size:
        raise SeriesError(f"{name} must have at least one step and one channel, got {list(array.shape)}. Leave it out.")
    bad = ~np.isfinite(array) if not missing else np.isinf(array)
    if bad.any():
        step, channel = np.argwhere(bad)[0]
        value = array[step, channel]
        repair = "Replace it, or use missing=True." if np.isnan(value) else "Replace it, or mark it as missing by NaN."
        raise SeriesError(f"{name} must be finite, got {value} at step {step}, channel {channel}. {repair}")
    if np.isnan(array).all():
        raise SeriesError(f"{name} must have an observed value, got {len(array)} steps of NaN. Leave it out.")
    return array


class Scaler(NamedTuple):
    """Standardizes each channel to mean 0 and standard deviation 1 on the training data.

    Attributes:
        mean: mean of each channel over all observed values.
        deviation: standard deviation, likewise; 1 for a constant channel, which thus becomes a channel of zeros.
    """

    mean: Float[np.ndarray, "channel"]
    deviation: Float[np.ndarray, "channel"]

    @classmethod
    def fit(cls, series: Sequence[SeriesArray]) -> "Scaler":
        """Fits a scaler to series; NaN is ignored.

        Example:
            >>> Scaler.fit([np.array([[1.0, 5.0], [3.0, 5.0]])])
            Scaler(mean=array([2., 5.]), deviation=array([1., 1.]))
        """
        values = np.concatenate(series)
        observed = ~np.isnan(values)
        # Relative to the largest value, since squares of large values may overflow.
        peak = np.abs(np.where(observed, values, 0)).max(axis=0)
        peak = np.where(peak > 0, peak, 1)
        count = np.maximum(observed.sum(axis=0), 1)
        part = np.where(observed, values / peak, 0)
        mean = part.sum(axis=0) / count
        deviation = np.sqrt((np.square(part - mean) * observed).sum(axis=0) / count)
        # A channel that differs from its mean by rounding errors only is constant.
        constant = deviation <= 10 * np.finfo(np.float64).eps
        return cls(mean * peak, np.where(constant, 1, deviation * peak))

    @classmethod
    def identity(cls, channels: int) -> "Scaler":
        """Returns a scaler that changes nothing."""
        return cls(np.zeros(channels), np.ones(channels))

    def apply(self, series: SeriesArray) -> SeriesArray:
        """Scales a series."""
        return (series - self.mean) / self.deviation

    def invert(self, series: SeriesArray) -> SeriesArray:
        """Inverts `apply`."""
        return series * self.deviation + self.mean


def pad_series(
    series: Sequence[SeriesArray], scaler: Scaler, rows: int | None = None, length: int | None = None
) -> Signals:
    """Scales series and pads them to a batch of NumPy arrays.

    Args:
        series: what `as_series` returns.
        scaler: fitted to the training data.
        rows: rows of the batch, spare ones included; the number of series by default.
        length: steps of the batch; by default the longest series, rounded up to a multiple of `MULTIPLE`.

    Raises:
        SeriesError: if a scaled value is too large for float32.
    """
    rows, longest = rows or len(series), max(map(len, series))
    length = length or -(-longest // MULTIPLE) * MULTIPLE
    shape = (rows, length, len(scaler.mean))
    values, observed, mask = np.zeros(shape, np.float32), np.zeros(shape, bool), np.zeros(shape[:2], bool)
    for row, one in enumerate(series):
        present = ~np.isnan(one)
        scaled = np.where(present, scaler.apply(one), 0)
        # Squared errors must not overflow.
        if np.abs(scaled).max() > 1e15:
            raise SeriesError(
                f"series {row} must be near the training data, got {np.abs(scaled).max():.0e} deviations from it. "
                "Check it for outliers."
            )
        values[row, : len(one)], observed[row, : len(one)], mask[row, : len(one)] = scaled, present, True
    return Signals(values, observed, mask)  # type: ignore[arg-type]


def length_mask(lengths: Int[np.ndarray, "series"], rows: int, length: int) -> Bool[np.ndarray, "rows length"]:
    """Returns the mask of series of the given lengths, with spare rows."""
    padded = np.zeros(rows, int)
    padded[: len(lengths)] = lengths
    return np.arange(length) < padded[:, None]


def sample_series(number: int, size: int, seed: int, step: int) -> Int[np.ndarray, "size"]:
    """Returns the indices of the series in the batch of a step: a pure function of seed and step.

    Every series occurs once in each epoch, in a new order; a batch may straddle two epochs.

    Args:
        number: number of series.
        size: series per batch.
        seed: seed of the run.
        step: number of the step, from 0.
    """
    positions = np.arange(step * size, (step + 1) * size)
    epochs = set(positions // number)
    orders = {epoch: np.random.default_rng((seed, int(epoch))).permutation(number) for epoch in epochs}
    return np.array([orders[position // number][position % number] for position in positions])
