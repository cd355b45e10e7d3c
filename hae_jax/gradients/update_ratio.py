"""The size of an optimizer's update relative to the weights, kernel by kernel.

A ratio |update| / |weights| of about 1e-3 per step is usual. Adam normalizes gradients, so that their norms do not show
whether a learning rate is too high or too low; the ratio does.
"""

import jax
import jax.numpy as jnp
import optax
from jaxtyping import Array, Float

SAMPLE_SIZE = 1 << 13
"""Maximum number of weights of a kernel on which its update is measured."""


def sample_kernels(params: optax.Params) -> Float[Array, "kernel number"]:
    """Returns evenly spaced weights of every kernel, padded by zeros; vectors have no initial scale and are skipped.

    On all weights the measurement would read the whole model from memory once more, which on a CPU costs more than all
    other statistics of a step.
    """

    def sample(kernel: Float[Array, "..."]) -> Float[Array, "number"]:
        # An odd stride visits all columns where their number is a power of two.
        weights = kernel.reshape(-1)[:: -(-kernel.size // SAMPLE_SIZE) | 1]
        return jnp.pad(weights, (0, SAMPLE_SIZE - len(weights)))

    return jnp.stack([sample(leaf) for leaf in jax.tree.leaves(params) if leaf.ndim > 1])


def update_ratios(
    params: optax.Params, before: Float[Array, "kernel number"], update: Float[Array, "kernel number"]
) -> dict[str, Float[Array, ""]]:
    """Returns |update| / |weights| of every kernel by its path.

    Args:
        params: parameters; only paths and shapes are used.
        before: sample of the weights before the update, from `sample_kernels`.
        update: change of these weights.
    """
    leaves = jax.tree.leaves_with_path(params)
    names = [jax.tree_util.keystr(path, simple=True, separator="/") for path, leaf in leaves if leaf.ndim > 1]
    return dict(zip(names, jnp.linalg.norm(update, axis=1) / jnp.linalg.norm(before, axis=1), strict=True))
