"""Floating-point operations of a training step by formula; a multiplication and an addition count as two.

An LSTM layer of H units with F inputs takes 8 H (F + H) per step forward, the softmax over V words 2 E V per token. The
gradients with respect to weights and inputs take as much each, so training takes three times the forward pass. Only
matrix products are counted, and only those of the model's definition; a program that repeats a product that is the same
at every step takes more.
"""

import math
from typing import NamedTuple

from hae_jax.batch import PAD, Batch
from hae_jax.config import ModelConfig


class Size(NamedTuple):
    """Amount of text in a batch.

    Attributes:
        words: tokens, end marks included.
        sentences: sentences.
        documents: documents.
    """

    words: int
    sentences: int
    documents: int


def real_size(batch: Batch) -> Size:
    """Counts the real tokens, sentences and documents of a batch."""
    sentences = batch.row_index >= 0
    return Size(
        sum(int((table != PAD).sum()) for table in batch.buckets), int(sentences.sum()), int(sentences.any(-1).sum())
    )


def padded_size(batch: Batch) -> Size:
    """Counts tokens, sentences and documents of a batch, padding included."""
    return Size(sum(math.prod(table.shape) for table in batch.buckets), batch.row_index.size, len(batch.row_index))


def training_flops(config: ModelConfig, vocab: int, size: Size) -> dict[str, int]:
    """Returns the operations of each part of a training step.

    Args:
        config: a hierarchical model with `bridge` "top_hidden" and `feedback` "none".
        vocab: vocabulary size.
        size: of the batch.

    Example:
        >>> work = training_flops(ModelConfig(embed_dim=3, hidden_dim=2, sentence_dim=5), 7, Size(1, 1, 1))
        >>> work["encoder, words"], work["softmax"]
        (240, 162)
    """
    e, h, s = config.embed_dim, config.hidden_dim, config.sentence_dim
    bridge = 2 * h * e if config.tie_embeddings and e != h else 0
    layers, context = config.layers, 8 * h * h if config.conditioning == "every_step" else 0
    forward = {
        "encoder, words": size.words * stack_flops(e, h, layers),
        "encoder, sentences": size.sentences * stack_flops(h, s, layers),
        "decoder, sentences": size.sentences * (stack_flops(0, s, layers) + 2 * s * h)
        + size.documents * (8 * s * s + 4 * layers * s * s),
        "decoder, words": size.words * stack_flops(e, h, layers) + size.sentences * (context + 4 * layers * h * h),
        "softmax": size.words * (2 * (e if config.tie_embeddings else h) * vocab + bridge),
    }
    return {part: 3 * operations for part, operations in forward.items()}


def stack_flops(feat: int, hidden: int, layers: int) -> int:
    """Returns the operations of one forward step of a stack."""
    return 8 * hidden * (feat + hidden) + (layers - 1) * 16 * hidden * hidden
