"""Widths that give models equal numbers of parameters, so that comparisons are not confounded by size."""

import dataclasses
from functools import cache
from typing import Any

import jax
import jax.numpy as jnp

from hae_jax import models
from hae_jax.batch import Batch
from hae_jax.config import ModelConfig

MAX_UNITS = 1 << 15
"""Upper bound of the search."""


@cache
def count_parameters(config: ModelConfig, vocab: int) -> int:
    """Counts the trainable parameters of a model without allocating them.

    Args:
        config: the model.
        vocab: vocabulary size.

    Example:
        >>> count_parameters(ModelConfig(
        ...     kind="flat", embed_dim=2, hidden_dim=1, tie_embeddings=False, use_bias=False, bridge="all_states"
        ... ), vocab=5)
        47
    """
    batch = Batch((jnp.zeros((2, 2), jnp.int32),), jnp.arange(2)[None])
    model = models.build(config, vocab)
    shapes = jax.eval_shape(lambda: model.init(jax.random.key(0), batch)["params"])
    return sum(leaf.size for leaf in jax.tree.leaves(shapes))


def match_size(config: ModelConfig, vocab: int, target: int, fields: tuple[str, ...] = ("hidden_dim",)) -> ModelConfig:
    """Returns the config with widths whose number of parameters is nearest to the target.

    Args:
        config: the model; only the proportions of its widths are used.
        vocab: vocabulary size.
        target: number of parameters.
        fields: fields of the config that hold the widths, which keep their proportions.

    Raises:
        ValueError: if a model of one unit is too large already.
    """

    def with_width(width: int) -> ModelConfig:
        widths: dict[str, Any] = {
            field: max(1, round(width * getattr(config, field) / getattr(config, fields[0]))) for field in fields
        }
        return dataclasses.replace(config, **widths)

    def size(width: int) -> int:
        return count_parameters(with_width(width), vocab)

    if size(1) > target:
        raise ValueError(
            f"target must be at least {size(1):,} parameters, got {target:,}. "
            f"Shrink what is not model.{', model.'.join(fields)}."
        )
    low, high = 1, 2
    while size(high) < target and high < MAX_UNITS:
        low, high = high, 2 * high
    while high - low > 1:
        middle = (low + high) // 2
        low, high = (middle, high) if size(middle) <= target else (low, middle)
    return with_width(min((low, high), key=lambda width: abs(size(width) - target)))
