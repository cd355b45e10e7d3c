"""Texts between two texts."""

import numpy as np
from jaxtyping import Float

from hae_jax.inference.decoding import GREEDY, Decoding
from hae_jax.inference.texts import TextModel, check_texts, iter_decode, iter_encode


def interpolate(model: TextModel, start: str, end: str, points: int = 7, decoding: Decoding = GREEDY) -> list[str]:
    """Decodes equidistant points on the line between the codes of two texts.

    Args:
        model: a model without attention.
        start: the text at the first point.
        end: the text at the last point.
        points: number of points, both ends included.
        decoding: how tokens are chosen.

    Returns:
        The text of each point.

    Raises:
        ValueError: if `points` is below 2, a text is blank, or the model has attention.

    Example:
        >>> len(interpolate(model, "The rain began.", "The bridge held.", points=3))
        3
    """
    share = shares(points)[:, None]
    first, last = (encoding.code for encoding in iter_encode(model, check_texts([start, end])))
    return list(iter_decode(model, (1 - share) * first + share * last, decoding))


def shares(points: int) -> Float[np.ndarray, "point"]:
    """Returns equidistant numbers from 0 to 1.

    Raises:
        ValueError: if there are fewer than 2.
    """
    if points < 2:
        raise ValueError(f"points must be at least 2, got {points}. Use 2 for the ends alone.")
    return np.linspace(0, 1, points, dtype=np.float32)
