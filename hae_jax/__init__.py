"""Hierarchical LSTM autoencoders that train, in JAX, Flax and Optax.

    import hae_jax

    model = hae_jax.load("runs/first")  # trained by `hae train --workdir runs/first`, or by hae_jax.train
    codes = model.encode(["Peace was made. Trade recovered."])  # [text, code]
    model.decode(codes)

The names below are imported when they are first used, so that `import hae_jax` and `hae --help` do not import JAX.
"""

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from hae_jax import latent as latent
    from hae_jax.config import Config as Config
    from hae_jax.config import DataConfig as DataConfig
    from hae_jax.config import ModelConfig as ModelConfig
    from hae_jax.config import OptimConfig as OptimConfig
    from hae_jax.config import TrainConfig as TrainConfig
    from hae_jax.config import preset as preset
    from hae_jax.doctor import TrainingSetup as TrainingSetup
    from hae_jax.doctor import examine as examine
    from hae_jax.doctor import repair as repair
    from hae_jax.inference.decoding import BeamSearch as BeamSearch
    from hae_jax.inference.decoding import Greedy as Greedy
    from hae_jax.inference.decoding import Refined as Refined
    from hae_jax.inference.decoding import Sampling as Sampling
    from hae_jax.trained import TrainedModel as TrainedModel
    from hae_jax.trained import load as load
    from hae_jax.trainer import train as train

__version__ = "0.5.0"

_MODULES = {
    "load": "hae_jax.trained",
    "train": "hae_jax.trainer",
    "TrainedModel": "hae_jax.trained",
    "Greedy": "hae_jax.inference.decoding",
    "Sampling": "hae_jax.inference.decoding",
    "Refined": "hae_jax.inference.decoding",
    "BeamSearch": "hae_jax.inference.decoding",
    "preset": "hae_jax.config",
    "Config": "hae_jax.config",
    "ModelConfig": "hae_jax.config",
    "DataConfig": "hae_jax.config",
    "OptimConfig": "hae_jax.config",
    "TrainConfig": "hae_jax.config",
    "examine": "hae_jax.doctor",
    "repair": "hae_jax.doctor",
    "TrainingSetup": "hae_jax.doctor",
}

__all__ = list(_MODULES)


def __getattr__(name: str) -> Any:
    """Imports a public name when it is first used (PEP 562)."""
    if name == "latent":
        return import_module("hae_jax.latent")
    if name not in _MODULES:
        raise AttributeError(f"module 'hae_jax' has no attribute {name!r}")
    return globals().setdefault(name, getattr(import_module(_MODULES[name]), name))


def __dir__() -> list[str]:
    return sorted([*__all__, "__version__"])
