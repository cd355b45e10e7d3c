"""The paper's "standard" autoencoder: one LSTM over the whole text, and one to say it again."""

from typing import NamedTuple

import flax.linen as nn
import jax
import jax.numpy as jnp
from jaxtyping import Array, Float, Int

from hae_jax.batch import PAD, Batch
from hae_jax.config import ModelConfig
from hae_jax.layers.recurrent import LSTM
from hae_jax.layers.stack import States, stack_step
from hae_jax.models.bridge import final_vector, initial_states
from hae_jax.models.decoder import WordDecoder
from hae_jax.models.embedding import EMBEDDING_STD, TokenEmbedding, word_dropout
from hae_jax.models.outputs import Code, Losses, Scores
from hae_jax.models.ragged import flatten_tokens, shift_right


class DecoderState(NamedTuple):
    """What the decoder carries from one word to the next."""

    code: Code
    word: States


class Flat(nn.Module):
    """The baseline without a hierarchy, of `config.hidden` units; the end marks are words like any other.

    Attributes:
        config: sizes and options; those of the sentence level play no part.
        vocab: number of word ids.

    Reference:
        Li, Luong & Jurafsky, 2015, section 3.2, https://arxiv.org/abs/1506.01057
    """

    config: ModelConfig
    vocab: int

    def setup(self) -> None:
        self.words = TokenEmbedding(self.config, self.vocab)
        self.encoder = LSTM(self.config, self.config.hidden_dim, self.config.embed_dim, spread=EMBEDDING_STD)
        self.decoder = WordDecoder(self.config)

    def __call__(self, batch: Batch, train: bool = False) -> Losses:
        """Sums the nats of a batch, encoded and decoded; see `Hierarchical`."""
        words, _ = flatten_tokens(batch)
        hidden = self._say(self._read(words, train), words, train)
        return Losses(self.words.loss(hidden.reshape(-1, hidden.shape[-1]), words.ravel()))

    def encode(self, batch: Batch) -> Code:
        """Returns the documents' codes."""
        return self._read(flatten_tokens(batch)[0], False)

    def score(self, code: Code, batch: Batch) -> Scores:
        """Scores the words of a batch, teacher forced, decoded through the given codes."""
        words, sent = flatten_tokens(batch)
        hidden = self._say(code, words, False)
        nll, hit = self.words.scores(hidden.reshape(-1, hidden.shape[-1]), words.ravel())
        doc = jnp.broadcast_to(jnp.arange(len(words))[:, None], words.shape)
        return Scores(nll, hit, (words != PAD).ravel(), doc.ravel(), sent.ravel())

    def start(self, code: Code) -> DecoderState:
        """Returns the decoder's state before the first word; hand PAD to the first `step`."""
        return DecoderState(code, initial_states(code.document, self.decoder.weights()[1], self.config))

    def step(self, state: DecoderState, token: Int[Array, "doc"]) -> tuple[DecoderState, Float[Array, "doc vocab"]]:
        """Reads the word that was just said, PAD before the first, and returns the logits of the next."""
        layers, _ = self.decoder.weights()
        noises = jax.tree.map(lambda x: x[:, 0], self.decoder.recurrent.noises(len(token), 1, False))
        still, context = (None,) * self.config.layers, self.decoder.context(state.code.document)
        word, hidden, _ = stack_step(state.word, self.words(token), layers, noises, still, context)
        return DecoderState(state.code, word), self.words.logits(hidden)

    def _read(self, words: Int[Array, "doc word"], train: bool) -> Code:
        words = words[:, ::-1] if self.config.reverse else words
        states, _ = self.encoder(self.words(words), words != PAD, train=train)
        return Code(final_vector(states, self.encoder.weights(), self.config))

    def _say(self, code: Code, words: Int[Array, "doc word"], train: bool) -> Float[Array, "doc word hidden"]:
        inputs = word_dropout(self, self.words(shift_right(words)), train)
        return self.decoder(code.document, inputs, words != PAD, train)
