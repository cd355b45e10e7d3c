"""Continuous series from what people have: arrays and lists, checked, scaled, and padded to batches."""

from collections.abc import Sequence
from typing import Any, NamedTuple

import numpy as np
from jaxtyping import Bool, Float, Int

from hae_jax.batch import Signals

One = Float[np.ndarray, "_ _"]
"""A series, [time, channel]; each has a length of its own."""
MULTIPLE = 8
"""Lengths are rounded up to a multiple of this, so that few programs are compiled."""


class SeriesError(ValueError):
    """A series cannot be used."""


def series_of(given: Any, missing: bool = False, channels: int | None = None, name: str = "X") -> list[One]:
    """Returns series as float64 arrays [time, channel].

    Args:
        given: a list of arrays [time] or [time, channel], whose lengths may differ; or one array [series, time] or
            [series, time, channel].
        missing: whether NaN stands for a missing value.
        channels: how many there must be; None if any number will do, as long as all have the same.
        name: what the caller calls it.

    Raises:
        SeriesError: if there is no series, or one is empty, no array of numbers, not finite, all missing, or of another
            number of channels.

    Example:
        >>> [one.shape for one in series_of([[1.0, 2.0, 3.0], [4.0]])]
        [(3, 1), (1, 1)]
    """
    if isinstance(given, str | bytes) or not hasattr(given, "__len__"):
        raise SeriesError(f"{name} must be a list of series, got {type(given).__name__}. Put them into a list.")
    if isinstance(given, np.ndarray) and given.dtype != object and given.ndim not in (2, 3):
        shape = "[series, time] or [series, time, channel]"
        raise SeriesError(
            f"{name} must have the shape {shape}, got {list(given.shape)}. Put a single series into a list: [{name}]."
        )
    if not len(given):
        raise SeriesError(f"{name} must hold at least one series, got none. Pass some.")
    found = []
    for place, one in enumerate(given):
        array = _checked(one, f"{name}[{place}]", missing)
        channels = channels or array.shape[1]
        if array.shape[1] != channels:
            raise SeriesError(
                f"{name}[{place}] must have {channels} channel{'s' * (channels > 1)}, got {array.shape[1]}. "
                "Give every series the channels of training, as [time, channel]."
            )
        found.append(array)
    return found


def _checked(one: Any, name: str, missing: bool) -> One:
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
    """What brings each channel to mean 0 and deviation 1, as learned on the training data.

    Attributes:
        mean: of each channel, over all observed values.
        deviation: likewise; 1 for a channel that never changes, which thus becomes a channel of zeros.
    """

    mean: Float[np.ndarray, "channel"]
    deviation: Float[np.ndarray, "channel"]

    @classmethod
    def of(cls, series: Sequence[One]) -> "Scaler":
        """Learns from series; NaN plays no part.

        Example:
            >>> Scaler.of([np.array([[1.0, 5.0], [3.0, 5.0]])])
            Scaler(mean=array([2., 5.]), deviation=array([1., 1.]))
        """
        values = np.concatenate(series)
        observed = ~np.isnan(values)
        # Relative to the largest: squares of measurable numbers need not be numbers.
        peak = np.abs(np.where(observed, values, 0)).max(axis=0)
        peak = np.where(peak > 0, peak, 1)
        count = np.maximum(observed.sum(axis=0), 1)
        part = np.where(observed, values / peak, 0)
        mean = part.sum(axis=0) / count
        deviation = np.sqrt((np.square(part - mean) * observed).sum(axis=0) / count)
        # What differs from its mean by rounding alone is constant.
        constant = deviation <= 10 * np.finfo(np.float64).eps
        return cls(mean * peak, np.where(constant, 1, deviation * peak))

    @classmethod
    def none(cls, channels: int) -> "Scaler":
        """Leaves everything as it is."""
        return cls(np.zeros(channels), np.ones(channels))

    def apply(self, series: One) -> One:
        """Scales a series."""
        return (series - self.mean) / self.deviation

    def invert(self, series: One) -> One:
        """Undoes `apply`."""
        return series * self.deviation + self.mean


def signals(series: Sequence[One], scaler: Scaler, rows: int | None = None, length: int | None = None) -> Signals:
    """Scales series and pads them to a batch of NumPy arrays.

    Args:
        series: what `series_of` returned.
        scaler: learned on the training data.
        rows: series of the batch, spare rows included; as many as there are by default.
        length: steps of the batch; by default those of the longest, rounded up.

    Raises:
        SeriesError: if a scaled value is too large for float32.
    """
    rows, longest = rows or len(series), max(map(len, series))
    length = length or -(-longest // MULTIPLE) * MULTIPLE
    shape = (rows, length, len(scaler.mean))
    values, seen, mask = np.zeros(shape, np.float32), np.zeros(shape, bool), np.zeros(shape[:2], bool)
    for row, one in enumerate(series):
        observed = ~np.isnan(one)
        scaled = np.where(observed, scaler.apply(one), 0)
        # Squares of errors have to be numbers, too.
        if np.abs(scaled).max() > 1e15:
            raise SeriesError(
                f"series {row} must be near the training data, got {np.abs(scaled).max():.0e} deviations from it. "
                "Look for a broken value."
            )
        values[row, : len(one)], seen[row, : len(one)], mask[row, : len(one)] = scaled, observed, True
    return Signals(values, seen, mask)  # type: ignore[arg-type]


def length_mask(lengths: Int[np.ndarray, "series"], rows: int, length: int) -> Bool[np.ndarray, "rows length"]:
    """Returns the mask of series of the given lengths, with spare rows."""
    padded = np.zeros(rows, int)
    padded[: len(lengths)] = lengths
    return np.arange(length) < padded[:, None]


def sample_series(number: int, size: int, seed: int, step: int) -> Int[np.ndarray, "size"]:
    """Says which series stand in the batch of a step: a pure function of seed and step.

    Every series comes once in each epoch, in a fresh order; a batch may reach over the end of an epoch.

    Args:
        number: series there are.
        size: series a batch.
        seed: of the run.
        step: from 0 on.
    """
    places = np.arange(step * size, (step + 1) * size)
    orders = {epoch: np.random.default_rng((seed, int(epoch))).permutation(number) for epoch in set(places // number)}
    return np.array([orders[place // number][place % number] for place in places])
