"""How many floating-point operations a training step asks for, by formula; a product and a sum are two.

An LSTM layer of H units that reads F numbers takes 8 H (F + H) a step forward, the softmax over V words 2 E V a token.
The gradients with respect to weights and to inputs take as much each, so training takes three times the forward pass.
What is not a matrix product is left out. Counted are products that the model asks for; a program that multiplies what
is the same at every step anew does more.
"""

import math
from typing import NamedTuple

from hae_jax.batch import PAD, Batch
from hae_jax.config import ModelConfig


class Size(NamedTuple):
    """How much text a batch holds.

    Attributes:
        words: tokens, end marks included.
        sentences: sentences.
        documents: documents.
    """

    words: int
    sentences: int
    documents: int


def real(batch: Batch) -> Size:
    """Counts what is real in a batch."""
    sentences = batch.row_index >= 0
    return Size(
        sum(int((table != PAD).sum()) for table in batch.buckets), int(sentences.sum()), int(sentences.any(-1).sum())
    )


def room(batch: Batch) -> Size:
    """Counts the cells of a batch, padding included."""
    return Size(sum(math.prod(table.shape) for table in batch.buckets), batch.row_index.size, len(batch.row_index))


def training(config: ModelConfig, vocab: int, size: Size) -> dict[str, int]:
    """Returns the operations of a training step's parts.

    Args:
        config: a hierarchical model with `bridge` "top_hidden" and `feedback` "none".
        vocab: number of word ids.
        size: of the batch.

    Example:
        >>> work = training(ModelConfig(embed_dim=3, hidden_dim=2, sentence_dim=5), 7, Size(1, 1, 1))
        >>> work["encoder, words"], work["softmax"]
        (240, 162)
    """
    e, h, s = config.embed_dim, config.hidden_dim, config.sentence_dim
    bridge = 2 * h * e if config.tie_embeddings and e != h else 0
    layers, beside = config.layers, 8 * h * h if config.conditioning == "every_step" else 0
    forward = {
        "encoder, words": size.words * stack(e, h, layers),
        "encoder, sentences": size.sentences * stack(h, s, layers),
        "decoder, sentences": size.sentences * (stack(0, s, layers) + 2 * s * h)
        + size.documents * (8 * s * s + 4 * layers * s * s),
        "decoder, words": size.words * stack(e, h, layers) + size.sentences * (beside + 4 * layers * h * h),
        "softmax": size.words * (2 * (e if config.tie_embeddings else h) * vocab + bridge),
    }
    return {part: 3 * operations for part, operations in forward.items()}


def stack(feat: int, hidden: int, layers: int) -> int:
    """Returns the operations of a stack's step, forward."""
    return 8 * hidden * (feat + hidden) + (layers - 1) * 16 * hidden * hidden
