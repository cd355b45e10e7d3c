"""Series from files, and sliding windows over long series."""

import csv
from pathlib import Path
from zipfile import BadZipFile

import numpy as np

from hae_jax.data import aeon
from hae_jax.data.series import SeriesArray, SeriesError

KINDS = ".csv, .npy, .npz"
AEON = "aeon:"


def read_recordings(source: str) -> list[np.ndarray]:
    """Reads the series of a file; `as_series` validates them.

    Args:
        source: a .csv with one series, one row per step and one column per channel, with or without a header, missing
            values left empty; a .npy of shape [time], [time, channel] or [series, time, channel]; a .npz of such
            arrays; or `aeon:` and the name of a labelled data set, of which the training part is read.

    Raises:
        SeriesError: if it is none of these, or contains no numbers.
    """
    if source.startswith(AEON):
        return aeon.training_series(source.removeprefix(AEON))
    path = Path(source)
    if path.suffix.lower() not in KINDS.split(", "):
        raise SeriesError(f"series must be a file of type {KINDS}, got {source}. Convert the file.")
    if path.suffix.lower() == ".csv":
        return [_columns(path)]
    return [series for array in _arrays(path) for series in _split(array, path)]


def _columns(path: Path) -> SeriesArray:
    with path.open(encoding="utf-8-sig", newline="") as stream:
        rows = [row for row in csv.reader(stream) if row]
    if rows and not all(_is_number(value) for value in rows[0]):
        rows = rows[1:]
    if not rows:
        raise SeriesError(f"series must have at least one step, got {path} without a row of numbers. Fill it.")
    for number, row in enumerate(rows, 1):
        if len(row) != len(rows[0]) or not all(map(_is_number, row)):
            raise SeriesError(
                f"row {number} of {path} must hold {len(rows[0])} numbers, got {','.join(row)[:40]!r}. Correct it."
            )
    return np.array([[float(value or "nan") for value in row] for row in rows])


def _is_number(value: str) -> bool:
    try:
        float(value or "nan")
    except ValueError:
        return False
    return True


def _arrays(path: Path) -> list[np.ndarray]:
    try:
        with path.open("rb") as stream:
            loaded = np.load(stream, allow_pickle=False)
            return [loaded] if isinstance(loaded, np.ndarray) else [loaded[name] for name in loaded.files]
    except (ValueError, EOFError, BadZipFile) as error:
        raise SeriesError(
            f"series must be a complete {path.suffix} of numbers, got {path}: {error}. Save it again."
        ) from None


def _split(array: np.ndarray, path: Path) -> list[np.ndarray]:
    if array.ndim not in (1, 2, 3):
        shapes = "[time], [time, channel] or [series, time, channel]"
        raise SeriesError(f"series must have the shape {shapes}, got {list(array.shape)} in {path}. Reshape it.")
    return list(array) if array.ndim == 3 else [array]


def sliding_windows(series: SeriesArray, width: int) -> list[SeriesArray]:
    """Cuts a series into windows of at most `width` steps, which overlap by about seven eighths.

    Example:
        >>> [int(one[0, 0]) for one in sliding_windows(np.arange(20.0)[:, None], 16)]
        [0, 2, 4]
        >>> len(sliding_windows(np.zeros((7, 1)), 16))
        1
    """
    return [series[start : start + width] for start in _starts(len(series), width)]


def join_windows(scores: list[np.ndarray], time: int, width: int) -> np.ndarray:
    """Inverts `sliding_windows` for scores of steps: the mean over all windows with the step, NaN excluded.

    Example:
        >>> join_windows([np.ones(16), np.full(16, 3.0)], 18, 16)[[0, 8, 17]].tolist()
        [1.0, 2.0, 3.0]
    """
    total, count = np.zeros((time, *scores[0].shape[1:])), np.zeros((time, *scores[0].shape[1:]))
    for start, score in zip(_starts(time, width), scores, strict=True):
        total[start : start + width] += np.nan_to_num(score)
        count[start : start + width] += ~np.isnan(score)
    return np.where(count > 0, total / np.maximum(count, 1), np.nan)


def _starts(time: int, width: int) -> list[int]:
    last = max(time - width, 0)
    return sorted({*range(0, last, max(width // 8, 1)), last})
