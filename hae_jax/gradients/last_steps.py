"""Indices of the last unmasked steps of padded sequences."""

import jax.numpy as jnp
from jaxtyping import Array, Bool, Int


def last_steps(mask: Bool[Array, "batch time"], steps: int) -> Int[Array, "batch steps"]:
    """Returns the indices of the last `steps` unmasked steps of each row, in order of time.

    Rows with fewer unmasked steps begin with masked positions.

    Example:
        >>> last_steps(jnp.array([[True, True, False, True]]), 2).tolist()
        [[1, 3]]
    """
    # Stable: masked positions come first, and unmasked ones keep their order.
    return jnp.argsort(mask, axis=1, stable=True)[:, -steps:]
