"""Words -> sentences -> document."""

import flax.linen as nn
import jax.numpy as jnp
from jaxtyping import Array, Float

from hae_jax.batch import PAD, Batch
from hae_jax.config import ModelConfig
from hae_jax.layers.recurrent import LSTM
from hae_jax.models.handover import summarize, vector_size
from hae_jax.models.interface import Code
from hae_jax.models.tables import by_document, real_sentences
from hae_jax.models.words import Words


class Encoder(nn.Module):
    """A word-level LSTM turns each sentence into a vector, a sentence-level LSTM the vectors into a code.

    Reference:
        Li, Luong & Jurafsky, 2015, section 3.3, https://arxiv.org/abs/1506.01057

    Attributes:
        config: sizes and options.
    """

    config: ModelConfig

    def setup(self) -> None:
        config = self.config
        self.word = LSTM(config, config.hidden, feat=config.embed)
        self.sentence = LSTM(config, config.sentence_hidden, feat=vector_size(config, config.hidden))

    def sentences(self, words: Words, batch: Batch, train: bool = False) -> Float[Array, "row vec"]:
        """Returns one vector for each row of the stacked tables, spare rows included."""
        vectors = []
        for part, table in enumerate(batch.tables):
            states, _ = self.word(words(table), table != PAD, train=train, part=part)
            vectors.append(summarize(states, self.config))
        return jnp.concatenate(vectors)

    def documents(self, vectors: Float[Array, "row vec"], batch: Batch, train: bool = False) -> Code:
        """Returns the code of each document, given the vectors of its sentences."""
        mask = real_sentences(batch)
        states, hidden = self.sentence(by_document(vectors, batch), mask, train=train)
        code = summarize(states, self.config)
        return Code(code, hidden, mask) if self.config.attention else Code(code)
