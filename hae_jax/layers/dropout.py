"""Samples dropout and zoneout masks for a whole sequence, so that the loop over time needs no random numbers."""

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float, Key

from hae_jax.config import CellConfig
from hae_jax.layers.cell import RecurrentDropout


def dropout_mask(key: Key[Array, ""], rate: float, shape: tuple[int, ...]) -> Float[Array, "..."]:
    """Returns 0 with probability `rate`, and 1 / (1 - rate) otherwise, so that the mean is 1.

    Reference:
        Srivastava et al., 2014, https://jmlr.org/papers/v15/srivastava14a.html
    """
    return jax.random.bernoulli(key, 1 - rate, shape) / (1 - rate)


def sample_recurrent_dropout(
    key: Key[Array, ""] | None, config: CellConfig, batch: int, time: int, hidden: int
) -> RecurrentDropout:
    """Samples dropout masks and zoneout decisions for every step of one LSTM layer.

    Args:
        key: random key in training; None in evaluation, where there is no dropout and zoneout is its expectation.
        config: holds the rates.
        batch: number of rows.
        time: number of steps.
        hidden: number of units.

    Returns:
        Masks [batch, time, hidden], except `hidden`: one mask [batch, hidden] for all steps.
    """
    steps = (batch, time, hidden)
    if key is None:
        return RecurrentDropout(
            keep_cell=jnp.full((1, time, 1), config.zoneout_cell) if config.zoneout_cell else None,
            keep_hidden=jnp.full((1, time, 1), config.zoneout_hidden) if config.zoneout_hidden else None,
        )
    dropped, cell, unit = jax.random.split(key, 3)
    rate, variational = config.recurrent_dropout, config.recurrent_dropout_kind == "variational"
    return RecurrentDropout(
        hidden=dropout_mask(dropped, rate, (batch, hidden)) if rate and variational else None,
        candidate=dropout_mask(dropped, rate, steps) if rate and not variational else None,
        keep_cell=jax.random.bernoulli(cell, config.zoneout_cell, steps) * 1.0 if config.zoneout_cell else None,
        keep_hidden=jax.random.bernoulli(unit, config.zoneout_hidden, steps) * 1.0 if config.zoneout_hidden else None,
    )
