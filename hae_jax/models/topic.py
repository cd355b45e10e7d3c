"""The topic part of a code: a sum of word vectors that predicts which words occur, in any order."""

import flax.linen as nn
import jax
import jax.numpy as jnp
from jaxtyping import Array, Bool, Float, Int

from hae_jax.batch import EOD, PAD, Batch
from hae_jax.config import ModelConfig
from hae_jax.layers.cell import normalize
from hae_jax.layers.losses import Loss
from hae_jax.models.ragged import dense_tokens

BLANKED = 0.5
"""Share of the input words that are left out in training, so that the others have to predict them."""
SCALE = 10.0
"""Factor of the word vectors. Adam changes every weight by the learning rate, which suits the shift registers; the word
vectors of topics start from noise, and need ten times as much."""
STD = 0.01
"""Standard deviation of their initial weights."""


class TopicEncoder(nn.Module):
    """Encodes a document as the normalized sum of its words' topic vectors, whatever their order.

    A shift register moves every word by its position, so that equal words of two documents have nothing in common that
    a linear probe or a cosine could detect. This part of the code is never shifted. It is trained by predicting the
    words of its own document and of the next one of the same group from half of the document's words.

    Attributes:
        config: `topic_dim` is the size of the sum.
        vocab: number of token ids.

    Reference:
        bag-of-words loss: Zhao et al., 2017, https://arxiv.org/abs/1703.10960; sums of word vectors that predict the
        neighbouring sentence (FastSent): Hill et al., 2016, https://arxiv.org/abs/1602.03483
    """

    config: ModelConfig
    vocab: int

    def setup(self) -> None:
        self.table = self.param("embedding", nn.initializers.normal(STD), (self.vocab, self.config.topic_dim))
        self.bias = self.param("bias", nn.initializers.zeros, (self.vocab,))

    def __call__(self, batch: Batch, train: bool = False) -> Float[Array, "doc topic"]:
        """Returns the topic vectors of documents, with mean 0 and variance 1 over their components.

        Args:
            batch: the documents.
            train: leaves out words, drawn from the stream `dropout`.
        """
        tokens = _flat(batch)
        counted = tokens > EOD
        if train:
            counted &= jax.random.bernoulli(self.make_rng("dropout"), 1 - BLANKED, tokens.shape)
        total = jnp.where(counted[..., None], SCALE * self.table[tokens], 0).sum(1)
        return normalize(total).astype(self.config.dtype)

    def loss(self, vectors: Float[Array, "doc topic"], batch: Batch) -> Loss:
        """Sums over documents the mean -ln p(word) of a document's words, and of the next one's where there is one.

        All words of a document have the same distribution, the softmax over the vocabulary given its topic vector.
        """
        wide = vectors.astype(jnp.promote_types(vectors.dtype, jnp.float32))
        log_probabilities = jax.nn.log_softmax(SCALE * wide @ self.table.T + self.bias)
        own, documents = _mean_nll(log_probabilities, _flat(batch))
        if batch.next_tokens is not None:
            own += _mean_nll(log_probabilities, batch.next_tokens)[0]
        return Loss(own, documents)


def _flat(batch: Batch) -> Int[Array, "doc token"]:
    tokens = dense_tokens(batch)
    return tokens.reshape(len(tokens), -1)


def _mean_nll(
    log_probabilities: Float[Array, "doc vocab"], tokens: Int[Array, "doc token"]
) -> tuple[Float[Array, ""], Float[Array, ""]]:
    """Sums the documents' mean -ln p over their words, end marks excluded; and counts documents with words."""
    words: Bool[Array, "doc token"] = tokens > EOD
    nll = -jnp.take_along_axis(log_probabilities, jnp.where(words, tokens, PAD), axis=1)
    count = words.sum(1)
    total = (jnp.where(words, nll, 0).sum(1) / jnp.maximum(count, 1)).sum()
    return total, (count > 0).sum(dtype=jnp.float32)
