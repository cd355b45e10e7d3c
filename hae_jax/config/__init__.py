"""Configurations as frozen dataclasses: every field is an option of the command line."""

from hae_jax.config.model import CellConfig, Initializer, ModelConfig
from hae_jax.config.presets import PRESETS, preset
from hae_jax.config.run import Clip, Config, DataConfig, OptimConfig, TrainConfig, differences
from hae_jax.config.series import SERIES, SeriesConfig

__all__ = [
    "PRESETS",
    "SERIES",
    "CellConfig",
    "Clip",
    "Config",
    "DataConfig",
    "Initializer",
    "ModelConfig",
    "OptimConfig",
    "SeriesConfig",
    "TrainConfig",
    "differences",
    "preset",
]
