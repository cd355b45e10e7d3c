"""Continuous series to codes, codes to series, and reconstruction errors."""

from collections.abc import Callable, Sequence
from functools import lru_cache, partial
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Float, Int, PyTree

from hae_jax.batch import Signals
from hae_jax.data.series import MULTIPLE, Scaler, SeriesArray, length_mask, pad_series
from hae_jax.layers.losses import squared_error
from hae_jax.models.outputs import Code
from hae_jax.models.series import Series

ROWS = 64
"""Maximum number of series in a batch."""


@lru_cache(maxsize=32)
def _compiled(model: Series, method: str) -> Callable[..., Any]:
    return jax.jit(partial(model.apply, method=method))


def encode(
    model: Series, params: PyTree, scaler: Scaler, series: Sequence[SeriesArray]
) -> Float[np.ndarray, "series code"]:
    """Encodes series.

    Args:
        model: the autoencoder.
        params: its parameters.
        scaler: the one it was trained with.
        series: what `hae_jax.data.series.as_series` returns.
    """
    run, codes = _compiled(model, "encode"), []
    for start in range(0, len(series), ROWS):
        part = series[start : start + ROWS]
        code = run({"params": params}, pad_series(part, scaler, rows=min(ROWS, _round_up(len(series)))))
        codes.append(np.asarray(code.document[: len(part)], np.float32))
    return np.concatenate(codes)


def decode(
    model: Series,
    params: PyTree,
    scaler: Scaler,
    codes: Float[np.ndarray, "series code"],
    lengths: Int[np.ndarray, "series"],
) -> list[SeriesArray]:
    """Decodes codes to series of the given lengths, in the units of the data."""
    run, rows, decoded = _compiled(model, "decode"), min(ROWS, _round_up(len(codes))), []
    for start in range(0, len(codes), ROWS):
        part, steps = codes[start : start + ROWS], lengths[start : start + ROWS]
        length = -(-int(steps.max()) // MULTIPLE) * MULTIPLE
        padded = np.zeros((rows, codes.shape[1]), np.float32)
        padded[: len(part)] = part
        code = Code(jnp.asarray(padded, model.config.cell.dtype))
        values = np.asarray(run({"params": params}, code, jnp.asarray(length_mask(steps, rows, length))), np.float64)
        decoded += [scaler.invert(one[:number]) for one, number in zip(values, steps, strict=False)]
    return decoded


def residuals(model: Series, params: PyTree, scaler: Scaler, series: Sequence[SeriesArray]) -> list[SeriesArray]:
    """Returns reconstructions minus series, in units of the scaled data; NaN where nothing was observed."""
    codes = encode(model, params, scaler, series)
    decoded = decode(model, params, scaler, codes, np.array([len(one) for one in series]))
    return [scaler.apply(other) - scaler.apply(one) for one, other in zip(series, decoded, strict=True)]


def squares(residual: SeriesArray) -> Float[np.ndarray, "_"]:
    """Returns the mean square of every step over its observed channels."""
    total, count = np.square(np.nan_to_num(residual)).sum(axis=1), (~np.isnan(residual)).sum(axis=1)
    return np.where(count > 0, total / np.maximum(count, 1), np.nan)


def error(model: Series, params: PyTree, batch: Signals) -> float:
    """Returns the mean squared error of all observed values of a batch, decoded free-running from its codes."""
    total = count = 0.0
    for start in range(0, len(batch.values), ROWS):
        part = jax.tree.map(lambda x, start=start: jnp.asarray(x[start : start + ROWS]), batch)
        code = _compiled(model, "encode")({"params": params}, part)
        decoded = _compiled(model, "decode")({"params": params}, code, part.mask)
        loss = squared_error(decoded, part.values, part.observed)
        total, count = total + float(loss.total), count + float(loss.count)
    return total / count


def _round_up(number: int) -> int:
    """Rounds a number of rows up, so that few shapes are compiled."""
    return -(-number // MULTIPLE) * MULTIPLE
