"""The paper's "standard" autoencoder: one LSTM encodes the whole text, and another decodes it."""

from typing import NamedTuple

import flax.linen as nn
import jax.numpy as jnp
from jaxtyping import Array, Float, Int

from hae_jax.batch import PAD, Batch
from hae_jax.config import ModelConfig
from hae_jax.layers.model_init import model_init
from hae_jax.layers.recurrent import LSTM
from hae_jax.layers.stack import States, stack_step
from hae_jax.models.bridge import final_vector
from hae_jax.models.decoder import WordDecoder
from hae_jax.models.embedding import TokenEmbedding, word_dropout
from hae_jax.models.outputs import Code, Losses, Scores
from hae_jax.models.ragged import flatten_tokens, shift_right
from hae_jax.models.registers import word_register


class DecoderState(NamedTuple):
    """State of the decoder between two tokens."""

    code: Code
    word: States


class Flat(nn.Module):
    """The baseline without a hierarchy, with `config.hidden_dim` units; end marks are ordinary tokens.

    Attributes:
        config: sizes and options; those of the sentence level are not used.
        vocab: number of token ids.

    Reference:
        Li, Luong & Jurafsky, 2015, section 3.2, https://arxiv.org/abs/1506.01057
    """

    config: ModelConfig
    vocab: int

    def setup(self) -> None:
        config = self.config
        # Flax folds names of submodules into random keys and parameter paths: "words" is that of all checkpoints.
        self.embedding = TokenEmbedding(config, self.vocab, name="words")
        schemes = model_init(config).encoder_layers(word_register(config), config.layers)
        self.encoder = LSTM(config, config.hidden_dim, config.embed_dim, layers=config.layers, schemes=schemes)
        self.decoder = WordDecoder(config)

    def __call__(self, batch: Batch, train: bool = False) -> Losses:
        """Sums the negative log-likelihood of a batch, encoded and decoded; see `Hierarchical`."""
        tokens, _ = flatten_tokens(batch)
        hidden = self._decode(self._encode(tokens, train), tokens, train)
        return Losses(self.embedding.loss(hidden.reshape(-1, hidden.shape[-1]), tokens.ravel()))

    def encode(self, batch: Batch) -> Code:
        """Returns the documents' codes."""
        return self._encode(flatten_tokens(batch)[0], False)

    def score(self, code: Code, batch: Batch) -> Scores:
        """Scores the tokens of a batch, teacher-forced, decoded from the given codes."""
        tokens, sent = flatten_tokens(batch)
        hidden = self._decode(code, tokens, False)
        nll, correct = self.embedding.scores(hidden.reshape(-1, hidden.shape[-1]), tokens.ravel())
        doc = jnp.broadcast_to(jnp.arange(len(tokens))[:, None], tokens.shape)
        return Scores(nll, correct, (tokens != PAD).ravel(), doc.ravel(), sent.ravel())

    def start(self, code: Code, max_tokens: int) -> DecoderState:
        """Returns the decoder's state before the first token; see `Hierarchical`."""
        return DecoderState(code, self.decoder.initial_states(code.document))

    def step(self, state: DecoderState, token: Int[Array, "doc"]) -> tuple[DecoderState, Float[Array, "doc vocab"]]:
        """Reads the previous token, PAD before the first one; returns the new state, and the next token's logits."""
        layers, _ = self.decoder.weights()
        masks, no_perturbation = self.decoder.recurrent.deterministic_masks(len(token)), (None,) * self.config.layers
        context = self.decoder.context(state.code.document)
        word, hidden, _ = stack_step(state.word, self.embedding(token), layers, masks, no_perturbation, context)
        return DecoderState(state.code, word), self.embedding.logits(hidden)

    def _encode(self, tokens: Int[Array, "doc word"], train: bool) -> Code:
        tokens = tokens[:, ::-1] if self.config.reverse else tokens
        states, _ = self.encoder(self.embedding(tokens), tokens != PAD, train=train)
        return Code(final_vector(states, self.encoder.weights(), self.config))

    def _decode(self, code: Code, tokens: Int[Array, "doc word"], train: bool) -> Float[Array, "doc word hidden"]:
        inputs = word_dropout(self, self.embedding(shift_right(tokens)), train)
        return self.decoder(code.document, inputs, tokens != PAD, train)
