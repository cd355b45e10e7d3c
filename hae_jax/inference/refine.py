"""Codes to token ids by decoding, encoding what was decoded, and correcting the code by the difference.

The code of a text is known exactly, and an encoder is available: whether a decoded text is right can be checked. The
difference between the given code and that of the decoded text is, near enough, the superposition of what the text lacks
or has wrong. Added to the code that is decoded next, it raises the scores of these words.
"""

import math
from typing import SupportsInt

import flax.linen as nn
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float, Int, PyTree

from hae_jax.batch import Batch
from hae_jax.data.bucketing import pack, rows_needed
from hae_jax.data.documents import Corpus
from hae_jax.inference.generate import greedy, split
from hae_jax.inference.teacher_forcing import encode
from hae_jax.models.outputs import Code
from hae_jax.models.ragged import from_dense

STEP = 0.25
"""Share of the difference that is added to a code in the first round; larger steps change words that were right."""
EXACT = 1e-3
"""Distance, relative to the code, below which a text has the code within rounding."""
MULTIPLE = 4
"""Widths and numbers of rows of a document are rounded up to a multiple of this: each new shape is compiled anew."""
PADDING = 4
"""Cells of a bucket, as a multiple of the tokens of all documents, above which long rows have a bucket of their own."""


def refine(model: nn.Module, params: PyTree, code: Code, max_tokens: int, rounds: int) -> Int[Array, "doc token"]:
    """Decodes codes greedily, and corrects each in `rounds` rounds of decoding and encoding.

    With z the given code, a round decodes the corrected code c, which starts as z, to a text y, and adds to c

        step * (z - encode(y))        step = 1/4

    A step after which the text's code is farther from z than before is not made, and the next one is half as long. Of
    each document's texts the one whose code is nearest to z is kept, so that no round increases this distance. It is
    the Euclidean distance of the units that hold the order of the words; those that hold the topic are corrected too.

    Args:
        model: an autoencoder of `hae_jax.models`.
        params: its parameters.
        code: the codes, as returned by the model's `encode`, or near such codes.
        max_tokens: maximum length of a document in tokens, end marks included; at this length it stops without EOD.
        rounds: maximum number of rounds, each of which takes as long as decoding and encoding; they end early if each
            text has the given code. 0 is greedy.

    Returns:
        Token ids as from `greedy`.

    Raises:
        ValueError: if `rounds` is negative, `max_tokens` not positive, or the model has attention.

    Reference:
        Morris et al., 2023, https://arxiv.org/abs/2310.06816, who train a model for the correction.
    """
    if rounds < 0:
        raise ValueError(f"rounds must be at least 0, got {rounds}. 0 decodes greedily.")
    if code.memory is not None:
        raise ValueError(
            "codes must have a fixed size to be refined, got those of a model with attention. "
            "Decode greedily, or train with model.attention off."
        )
    best = np.asarray(greedy(model, params, code, max_tokens))
    if rounds == 0:
        return jnp.asarray(best)
    given = np.asarray(code.document, np.float32)
    order = slice(given.shape[1] - model.config.topic_dim)
    close = EXACT * np.linalg.norm(given[:, order], axis=1)

    def check(tokens: Int[np.ndarray, "doc token"]) -> tuple[Float[np.ndarray, "doc code"], Float[np.ndarray, " doc"]]:
        found = encode(model, params, as_batch(model, tokens)).document
        difference = given - np.asarray(found, np.float32)
        return difference, np.linalg.norm(difference[:, order], axis=1)

    difference, distance = check(best)
    corrected, step = given, np.full(len(given), STEP, np.float32)
    for _ in range(rounds):
        if (distance <= close).all():
            break
        proposal = corrected + step[:, None] * difference
        document = jnp.asarray(proposal, code.document.dtype)
        tokens = np.asarray(greedy(model, params, Code(document), max_tokens))
        new_difference, new_distance = check(tokens)
        nearer = new_distance < distance
        # The same text again has the same difference, of which more has to be added.
        made = nearer | (tokens == best).all(1)
        corrected, step = np.where(made[:, None], proposal, corrected), np.where(made, step, step / 2)
        best = np.where(nearer[:, None], tokens, best)
        difference = np.where(nearer[:, None], new_difference, difference)
        distance = np.where(nearer, new_distance, distance)
    return jnp.asarray(best)


def as_batch(model: nn.Module, tokens: Int[np.ndarray, "doc token"]) -> Batch:
    """Returns decoded documents as a batch; their rows may be longer, and more, than those of the model's own data.

    Args:
        model: the autoencoder that encodes them.
        tokens: token ids as from `greedy`.

    Returns:
        The batch, with EOD after a document that was decoded without.

    Example:
        >>> from hae_jax.batch import EOD, EOS, PAD
        >>> from hae_jax.config import ModelConfig
        >>> from hae_jax.models import build
        >>> model = build(ModelConfig(), 20)
        >>> batch = as_batch(model, np.array([[7, EOS, 8, 9, EOD], [6, EOD, PAD, PAD, PAD]]))
        >>> batch.row_index.tolist()
        [[0, 2, -1, -1], [1, -1, -1, -1]]
    """
    if model.config.kind == "flat":
        return from_dense(jnp.asarray(tokens)[:, None])
    corpus = Corpus.from_documents(split(tokens))
    documents = np.arange(len(corpus))
    widest = _ceil(np.diff(corpus.sentences).max() + 1, MULTIPLE)
    ragged = (len(corpus.sentences) - 1) * widest > PADDING * tokens.size
    widths = (math.isqrt(widest), widest) if ragged else (widest,)
    needs = rows_needed(corpus, documents, widths).sum(axis=0)
    rows = tuple(_ceil(max(count, 1), len(corpus)) for count in (needs - np.append(needs[1:], 0)).tolist())
    return pack(corpus, documents, widths, rows, len(corpus), _ceil(np.diff(corpus.documents).max(), MULTIPLE))


def _ceil(value: SupportsInt, multiple: int) -> int:
    return -(-int(value) // multiple) * multiple
