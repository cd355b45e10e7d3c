"""Training: from a config to a trained workdir."""

from hae_jax.training.checkpoint import CheckpointError
from hae_jax.training.fit import FitResult, fit
from hae_jax.training.metrics import NonFinite
from hae_jax.training.step import StepInfo, TrainState, make_step, start

__all__ = [
    "CheckpointError",
    "FitResult",
    "NonFinite",
    "StepInfo",
    "TrainState",
    "fit",
    "make_step",
    "start",
]
