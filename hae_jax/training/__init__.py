"""From a config to a trained workdir, and back from the workdir to a model."""

from hae_jax.training.checkpoint import CheckpointError
from hae_jax.training.fit import Outcome, fit
from hae_jax.training.run import Run
from hae_jax.training.step import StepInfo, TrainState, make_step, start
from hae_jax.training.window import NonFinite

__all__ = ["CheckpointError", "NonFinite", "Outcome", "Run", "StepInfo", "TrainState", "fit", "make_step", "start"]
