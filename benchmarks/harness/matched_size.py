"""How wide a model has to be to have as many parameters as another: what is compared must not differ in size."""

import dataclasses
from functools import cache
from typing import Any

import jax
import jax.numpy as jnp

from hae_jax import models
from hae_jax.batch import Batch
from hae_jax.config import ModelConfig

WIDEST = 1 << 15
"""Units beyond which no width is looked for."""


@cache
def parameters(config: ModelConfig, vocab: int) -> int:
    """Counts the numbers that training adjusts, without drawing any.

    Args:
        config: the model.
        vocab: number of word ids.

    Example:
        >>> parameters(ModelConfig(
        ...     kind="flat", embed_dim=2, hidden_dim=1, tie_embeddings=False, use_bias=False, bridge="all_states"
        ... ), vocab=5)
        47
    """
    batch = Batch((jnp.zeros((2, 2), jnp.int32),), jnp.arange(2)[None])
    model = models.build(config, vocab)
    shapes = jax.eval_shape(lambda: model.init(jax.random.key(0), batch)["params"])
    return sum(leaf.size for leaf in jax.tree.leaves(shapes))


def equalised(config: ModelConfig, vocab: int, target: int, fields: tuple[str, ...] = ("hidden_dim",)) -> ModelConfig:
    """Returns the model with those widths whose number of parameters comes nearest to the target.

    Args:
        config: the model; of its own widths only the proportions play a part.
        vocab: number of word ids.
        target: parameters wanted.
        fields: the widths, fields of the config, that keep their proportions.

    Raises:
        ValueError: if a model of one unit is too large already.
    """

    def of(width: int) -> ModelConfig:
        changed: dict[str, Any] = {
            field: max(1, round(width * getattr(config, field) / getattr(config, fields[0]))) for field in fields
        }
        return dataclasses.replace(config, **changed)

    if parameters(of(1), vocab) > target:
        raise ValueError(
            f"target must be at least {parameters(of(1), vocab):,} parameters, got {target:,}. "
            f"Shrink what is not model.{', model.'.join(fields)}."
        )
    low, high = 1, 2
    while parameters(of(high), vocab) < target and high < WIDEST:
        low, high = high, 2 * high
    while high - low > 1:
        middle = (low + high) // 2
        low, high = (middle, high) if parameters(of(middle), vocab) <= target else (low, middle)
    return of(min((low, high), key=lambda width: abs(parameters(of(width), vocab) - target)))
