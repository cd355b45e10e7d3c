"""Splits series into windows and joins them."""

import jax.numpy as jnp
from jaxtyping import Array, Bool, Shaped


def split_windows(x: Shaped[Array, "series time *feat"], span: int) -> Shaped[Array, "series window span *feat"]:
    """Splits the time axis into windows of `span` steps; the last one is padded with zeros, or False.

    Example:
        >>> split_windows(jnp.arange(1, 6)[None], 3).tolist()
        [[[1, 2, 3], [4, 5, 0]]]
    """
    spare = -x.shape[1] % span
    padded = jnp.pad(x, [(0, 0), (0, spare)] + [(0, 0)] * (x.ndim - 2))
    return padded.reshape(len(x), -1, span, *x.shape[2:])


def join_windows(x: Shaped[Array, "series window span *feat"], time: int) -> Shaped[Array, "series time *feat"]:
    """Inverts `split_windows`, given the original number of steps."""
    return x.reshape(len(x), -1, *x.shape[3:])[:, :time]


def window_masks(mask: Bool[Array, "series time"], spans: tuple[int, ...]) -> list[Bool[Array, "series _"]]:
    """Returns the masks of all levels: steps, windows with an unmasked step, segments with such a window, and so on.

    Example:
        >>> mask = jnp.array([[True, True, True, False, False]])
        >>> [level.tolist() for level in window_masks(mask, (2, 2))]
        [[[True, True, True, False, False]], [[True, True, False]], [[True, False]]]
    """
    masks = [mask]
    for span in spans:
        masks.append(split_windows(masks[-1], span).any(-1))
    return masks
