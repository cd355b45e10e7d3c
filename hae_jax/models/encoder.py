"""Words -> sentences -> document."""

import flax.linen as nn
import jax.numpy as jnp
from jaxtyping import Array, Float

from hae_jax.batch import PAD, Batch
from hae_jax.config import ModelConfig
from hae_jax.layers.recurrent import LSTM
from hae_jax.models.bridge import final_vector, vector_size, vector_std
from hae_jax.models.embedding import EMBEDDING_STD, TokenEmbedding
from hae_jax.models.outputs import Code
from hae_jax.models.ragged import gather_documents, sentence_mask


class Encoder(nn.Module):
    """A word-level LSTM turns each sentence into a vector, a sentence-level LSTM the vectors into a code.

    With `reverse` both read backwards. The path from a word that was read to the same word being said is then shortest
    where decoding starts, and a start is what all that follows leans on.

    Reference:
        Li, Luong & Jurafsky, 2015, section 3.3, https://arxiv.org/abs/1506.01057; reading backwards: Sutskever,
        Vinyals & Le, 2014, https://arxiv.org/abs/1409.3215

    Attributes:
        config: sizes and options.
    """

    config: ModelConfig

    def setup(self) -> None:
        config = self.config
        self.word = LSTM(config, config.hidden_dim, config.embed_dim, spread=EMBEDDING_STD)
        self.sentence = LSTM(
            config, config.sentence_dim, vector_size(config, config.hidden_dim), spread=vector_std(config)
        )

    def sentences(self, words: TokenEmbedding, batch: Batch, train: bool = False) -> Float[Array, "row vec"]:
        """Returns one vector for each row of the stacked tables, spare rows included."""
        vectors = []
        # With this coupling a sentence is also read while it is being said, which goes forwards only.
        backwards = self.config.reverse and self.config.feedback != "sentence"
        for part, table in enumerate(batch.buckets):
            # Padding then comes first, where it does as little harm: a masked step leaves the state of zeros alone.
            table = table[:, ::-1] if backwards else table
            states, _ = self.word(words(table), table != PAD, train=train, part=part)
            vectors.append(final_vector(states, self.word.weights(), self.config))
        return jnp.concatenate(vectors)

    def documents(self, vectors: Float[Array, "row vec"], batch: Batch, train: bool = False) -> Code:
        """Returns the code of each document, given the vectors of its sentences."""
        inputs, mask = gather_documents(vectors, batch), sentence_mask(batch)
        if self.config.reverse:
            inputs, mask = inputs[:, ::-1], mask[:, ::-1]
        states, hidden = self.sentence(inputs, mask, train=train)
        code = final_vector(states, self.sentence.weights(), self.config)
        return Code(code, hidden, mask) if self.config.attention else Code(code)
