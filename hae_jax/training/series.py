"""Trains an autoencoder of continuous series on what fits into memory."""

from functools import lru_cache
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
import optax
from jaxtyping import Float, PyTree

from hae_jax.batch import Signals
from hae_jax.config import Config, OptimConfig
from hae_jax.config.series import SeriesConfig
from hae_jax.data.series import sample_series
from hae_jax.models.series import Series
from hae_jax.training import optim
from hae_jax.training.metrics import NonFinite
from hae_jax.training.pca_init import pca_init
from hae_jax.training.step import TrainStep, make_step, start

LIMIT = 10
"""Non-finite steps in a row after which training gives up."""


class SeriesFit(NamedTuple):
    """What training ends with.

    Attributes:
        params: the parameters.
        losses: mean squared error of each step's batch, before the step, noise included.
    """

    params: PyTree
    losses: Float[np.ndarray, "step"]


def fresh(config: SeriesConfig, data: Signals) -> PyTree:
    """Returns the parameters from which `train` starts; those of a mirrored model know the data."""
    model, own = Series(config.architecture, data.values.shape[-1]), jax.random.split(jax.random.key(config.seed))[0]
    drawn = jax.jit(model.init)({"params": own}, jax.tree.map(lambda x: x[:1], data))["params"]
    return pca_init(model, drawn, data) if config.memory else drawn


def train(config: SeriesConfig, data: Signals, params: PyTree = None) -> SeriesFit:
    """Trains a model on series.

    Args:
        config: the model and its training.
        data: all series, padded; the batch of a step is drawn from them as a pure function of seed and step.
        params: weights to start from; drawn from the seed if None.

    Raises:
        NonFinite: after `LIMIT` steps in a row with a loss or a gradient that is not finite.
    """
    optimizer, step = program(config.architecture, config.optim, config.steps, data.values.shape[-1])
    key = jax.random.split(jax.random.key(config.seed))[1]

    def pick(at: int) -> Signals:
        rows = sample_series(len(data.values), config.batch_size, config.seed, at)
        return jax.tree.map(lambda x: x[rows], data)

    params = fresh(config, data) if params is None else params
    # The step donates its state; the caller's parameters stay the caller's.
    state = start(jax.tree.map(jnp.array, params), optimizer)
    losses = []
    for at in range(config.steps):
        state, info = step(state, pick(at), key)
        losses.append(info.loss)
        if (at + 1) % LIMIT == 0 and int(state.skipped) >= LIMIT:
            raise NonFinite(
                f"steps {at + 2 - LIMIT} to {at + 1} must be finite, got NaN or infinity in each. "
                "Use a lower optim.learning_rate."
            )
    return SeriesFit(jax.device_get(state.params), np.array(jax.device_get(losses), np.float32))


@lru_cache(maxsize=32)
def program(
    config: SeriesConfig, update: OptimConfig, steps: int, channels: int
) -> tuple[optax.GradientTransformation, TrainStep]:
    """Trainings that differ in their seeds alone share a compiled step."""
    model, optimizer = Series(config, channels), optim.build(update, steps)
    return optimizer, make_step(model, optimizer, Config(model=config.cell))
