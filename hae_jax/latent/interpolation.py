"""Texts between two texts."""

import numpy as np
from jaxtyping import Float

from hae_jax.inference.decoding import GREEDY, Decoding
from hae_jax.inference.text_batches import TextModel, Windows, check_texts, encode_texts
from hae_jax.inference.texts import iter_decode, iter_encode
from hae_jax.latent.rows import decode_vectors, embed_rows, recode


def interpolate(model: TextModel, start: str, end: str, points: int = 7, decoding: Decoding = GREEDY) -> list[str]:
    """Decodes equidistant points on the line between the codes of two texts.

    Of texts longer than one code, each window moves to that at the same place of the other text. Surplus windows of
    the longer text are those of the nearer end.

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
    ends: tuple[list, list] = ([], [])
    for encoding in iter_encode(model, check_texts([start, end]), windows=True):
        ends[encoding.text].append(encoding.code)
    both = min(map(len, ends))
    codes, owners = [], []
    for point, share in enumerate(shares(points).tolist()):
        first, last = (np.stack(end[:both]) for end in ends)
        found = [*((1 - share) * first + share * last), *ends[share >= 0.5][both:]]
        codes.extend(found)
        owners.extend([point] * len(found))
    return list(iter_decode(model, Windows(np.stack(codes), np.array(owners)), decoding))


def morph(model: TextModel, start: str, end: str, points: int = 7, decoding: Decoding = GREEDY) -> list[str]:
    """Turns one text into another, one sentence after the other.

    The vector of each sentence moves in its turn on a straight line to that of the sentence at the same place of the
    other text, and is decoded by itself. All other sentences are those of one of the texts, so that at each point at
    most one sentence is between two; on the line between two codes all of them are at once. Surplus sentences of the
    longer text appear or disappear in their turn.

    Args:
        model: a hierarchical model without attention.
        start: the text at the first point.
        end: the text at the last point.
        points: number of points, both ends included.
        decoding: how the code of each point is decoded.

    Returns:
        The text of each point; the first and the last are the reconstructions of both texts.

    Raises:
        ValueError: as `interpolate`, or if the model is flat.

    Example:
        >>> len(morph(model, "The rain began.", "The bridge held.", points=3))
        3
    """
    texts = [text.windows for text in encode_texts(model, check_texts([start, end]))]
    ends = [[row.tolist() for window in text for row in window] for text in texts]
    vectors = [np.concatenate(embed_rows(model, [[row] for row in rows])) for rows in ends]
    both, places = min(map(len, ends)), max(map(len, ends))
    documents: list[list[list[int] | None]] = []
    moving = [np.zeros((0, vectors[0].shape[1]), np.float32)]
    for share in shares(points).tolist():
        documents.append([])
        for place in range(places):
            # The turn of a sentence begins when that of the one before it ends.
            turn = round(min(max(share * places - place, 0.0), 1.0), 6)
            nearer = ends[turn >= 0.5]
            if place < both and 0 < turn < 1:
                moving.append(((1 - turn) * vectors[0][place] + turn * vectors[1][place])[None])
                documents[-1].append(None)
            elif place < len(nearer):
                documents[-1].append(nearer[place])
    decoded = decode_vectors(model, np.concatenate(moving))
    return recode(model, ([next(decoded) if row is None else row for row in rows] for rows in documents), decoding)


def shares(points: int) -> Float[np.ndarray, "point"]:
    """Returns equidistant numbers from 0 to 1.

    Raises:
        ValueError: if there are fewer than 2.
    """
    if points < 2:
        raise ValueError(f"points must be at least 2, got {points}. Use 2 for the ends alone.")
    return np.linspace(0, 1, points, dtype=np.float32)
