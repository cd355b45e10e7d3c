"""Training of an autoencoder of continuous series that fit into memory."""

from collections.abc import Callable
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

MAX_NONFINITE = 10
"""Consecutive non-finite steps after which training stops."""


class SeriesFit(NamedTuple):
    """The result of training.

    Attributes:
        params: the parameters.
        losses: mean squared error of each step's batch, with dropout, before the update.
    """

    params: PyTree
    losses: Float[np.ndarray, "step"]


def initial_params(config: SeriesConfig, data: Signals) -> PyTree:
    """Returns the parameters from which `train` starts; with `memory` they depend on the data, see `pca_init`."""
    model, key = Series(config.architecture, data.values.shape[-1]), jax.random.split(jax.random.key(config.seed))[0]
    params = jax.jit(model.init)({"params": key}, jax.tree.map(lambda x: x[:1], data))["params"]
    return pca_init(model, params, data) if config.memory else params


def train(
    config: SeriesConfig, data: Signals, params: PyTree = None, on_step: Callable[[int], None] | None = None
) -> SeriesFit:
    """Trains a model on series.

    Args:
        config: the model and its training.
        data: all series, padded; the batch of a step is a pure function of the seed and the step.
        params: initial parameters; computed by `initial_params` if None.
        on_step: called with the number of steps done, after each step.

    Raises:
        NonFinite: after `MAX_NONFINITE` consecutive steps with a non-finite loss or gradient.
    """
    optimizer, step = shared_step(config.architecture, config.optim, config.steps, data.values.shape[-1])
    key = jax.random.split(jax.random.key(config.seed))[1]

    def batch(at: int) -> Signals:
        rows = sample_series(len(data.values), config.batch_size, config.seed, at)
        return jax.tree.map(lambda x: x[rows], data)

    params = initial_params(config, data) if params is None else params
    # Copied, since the step donates its state.
    state = start(jax.tree.map(jnp.array, params), optimizer)
    losses = []
    for at in range(config.steps):
        state, info = step(state, batch(at), key)
        losses.append(info.loss)
        if on_step:
            on_step(at + 1)
        if (at + 1) % MAX_NONFINITE == 0 and int(state.skipped) >= MAX_NONFINITE:
            raise NonFinite(
                f"steps {at + 2 - MAX_NONFINITE} to {at + 1} must be finite, got NaN or infinity in each. "
                "Use a lower optim.learning_rate."
            )
    return SeriesFit(jax.device_get(state.params), np.array(jax.device_get(losses), np.float32))


@lru_cache(maxsize=32)
def shared_step(
    config: SeriesConfig, update: OptimConfig, steps: int, channels: int
) -> tuple[optax.GradientTransformation, TrainStep]:
    """Returns an optimizer and a jitted step, shared by trainings that differ only in their seeds."""
    model, optimizer = Series(config, channels), optim.build(update, steps)
    return optimizer, make_step(model, optimizer, Config())
