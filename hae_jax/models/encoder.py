"""The hierarchical encoder: words -> sentences -> document."""

import flax.linen as nn
import jax
import jax.numpy as jnp
from jaxtyping import Array, Bool, Float

from hae_jax.batch import PAD, Batch
from hae_jax.config import ModelConfig
from hae_jax.layers.model_init import model_init
from hae_jax.layers.recurrent import LSTM
from hae_jax.layers.stack import stack_step, zero_states
from hae_jax.models.bridge import final_vector, vector_size
from hae_jax.models.embedding import TokenEmbedding
from hae_jax.models.outputs import Code
from hae_jax.models.ragged import gather_documents, sentence_mask
from hae_jax.models.registers import sentence_register, word_register


class Encoder(nn.Module):
    """Encodes sentences into vectors with a word-level LSTM, and the vectors into a code with a sentence-level LSTM.

    With `reverse` both read their inputs in reverse order. This minimizes the distance between an input and its
    reconstruction at the start of decoding, on which all later steps depend.

    Reference:
        Li, Luong & Jurafsky, 2015, section 3.3, https://arxiv.org/abs/1506.01057; reversed input: Sutskever, Vinyals
        & Le, 2014, https://arxiv.org/abs/1409.3215

    Attributes:
        config: sizes and options.
    """

    config: ModelConfig

    def setup(self) -> None:
        config = self.config
        init, vector = model_init(config), vector_size(config, config.hidden_dim)
        words = init.encoder_layers(word_register(config), config.layers)
        sentences = init.encoder_layers(sentence_register(config), config.layers)
        self.word = LSTM(config, config.hidden_dim, config.embed_dim, layers=config.layers, schemes=words)
        self.sentence = LSTM(config, config.sentence_dim, vector, layers=config.layers, schemes=sentences)

    def sentences(self, embedding: TokenEmbedding, batch: Batch, train: bool = False) -> Float[Array, "row vec"]:
        """Returns one vector for each row of the concatenated buckets, unused rows included."""
        vectors = []
        for part, tokens in enumerate(batch.buckets):
            # The padding is then first, where masked steps leave the zero state unchanged.
            tokens = tokens[:, ::-1] if self.config.reverse else tokens
            states, _ = self.word(embedding(tokens), tokens != PAD, train=train, part=part)
            vectors.append(final_vector(states, self.word.weights(), self.config))
        return jnp.concatenate(vectors)

    def generated_sentences(
        self, inputs: Float[Array, "row word embed"], mask: Bool[Array, "row word"]
    ) -> Float[Array, "row vec"]:
        """Returns the vectors of sentences that were generated, in as many steps as the longest has tokens.

        Args:
            inputs: embeddings of the tokens, in rows that are wide enough for the longest possible sentence.
            mask: True at the tokens, which are first in each row.
        """
        config, rows, longest = self.config, len(mask), mask.sum(1).max()
        layers, masks, no_perturbation = (
            self.word.weights(),
            self.word.deterministic_masks(rows),
            (None,) * config.layers,
        )

        def read(step, states):
            at = longest - 1 - step if config.reverse else step
            new, *_ = stack_step(states, inputs[:, at], layers, masks, no_perturbation)
            return jax.tree.map(lambda new, old: jnp.where(mask[:, at, None], new, old), new, states)

        zeros = zero_states(config, rows, config.hidden_dim, config.layers)
        return final_vector(jax.lax.fori_loop(0, longest, read, zeros), layers, config)

    def documents(self, vectors: Float[Array, "row vec"], batch: Batch, train: bool = False) -> Code:
        """Returns the code of each document, given the vectors of its sentences."""
        inputs, mask = gather_documents(vectors, batch), sentence_mask(batch)
        if self.config.reverse:
            inputs, mask = inputs[:, ::-1], mask[:, ::-1]
        states, hidden = self.sentence(inputs, mask, train=train)
        code = final_vector(states, self.sentence.weights(), self.config)
        return Code(code, hidden, mask) if self.config.attention else Code(code)
