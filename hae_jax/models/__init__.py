"""The autoencoders as Flax modules, with the methods `encode`, `score`, `start` and `step`; a call returns `Losses`."""

from hae_jax.config import ModelConfig
from hae_jax.models.flat import Flat
from hae_jax.models.hierarchical import Hierarchical
from hae_jax.models.outputs import Code, Losses, Scores, objective

__all__ = ["Code", "Flat", "Hierarchical", "Losses", "Scores", "build", "objective"]


def build(config: ModelConfig, vocab: int) -> Hierarchical | Flat:
    """Returns the model that a config describes, for a vocabulary of `vocab` ids.

    Example:
        >>> build(ModelConfig(kind="flat"), vocab=11).vocab
        11
    """
    return (Flat if config.kind == "flat" else Hierarchical)(config, vocab)
