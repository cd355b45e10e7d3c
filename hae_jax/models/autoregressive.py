"""Free-running decoding with a decoder of two levels: one token after the other, given the code alone."""

from typing import NamedTuple

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float, Int

from hae_jax.batch import EOS, PAD
from hae_jax.config import ModelConfig
from hae_jax.layers.stack import States, stack_step, zero_states
from hae_jax.models.bridge import final_vector, initial_states, vector_size
from hae_jax.models.decoder import SentenceDecoder, WordDecoder, next_sentence
from hae_jax.models.embedding import TokenEmbedding
from hae_jax.models.encoder import Encoder
from hae_jax.models.outputs import Code


class DecoderState(NamedTuple):
    """State of the decoder between two tokens.

    Attributes:
        code: the documents' codes.
        sentence: states of the sentence decoder.
        word: states of the word decoder.
        vector: vector of the current sentence.
        encoder: with `feedback="sentence"` the word encoder's states after the current sentence's tokens; else None.
    """

    code: Code
    sentence: States
    word: States
    vector: Float[Array, "doc vec"]
    encoder: States | None


class AutoregressiveDecoder:
    """Mixin of `Hierarchical`: decodes token by token. The attributes below are set by the class that uses it."""

    config: ModelConfig
    embedding: TokenEmbedding
    encoder: Encoder
    sentence_decoder: SentenceDecoder
    word_decoder: WordDecoder

    def start(self, code: Code) -> DecoderState:
        """Returns the decoder's state before the first token; the first input of `step` is PAD."""
        config, docs = self.config, len(code.document)
        zeros = zero_states(config, docs, config.hidden_dim, config.layers)
        return DecoderState(
            code,
            self.init_sentence_state(code),
            zeros,
            jnp.zeros((docs, vector_size(config, config.hidden_dim)), config.dtype),
            zeros if config.feedback == "sentence" else None,
        )

    def step(self, state: DecoderState, token: Int[Array, "doc"]) -> tuple[DecoderState, Float[Array, "doc vocab"]]:
        """Reads one token and predicts the next one.

        Args:
            state: the state before.
            token: the previous token of each document; PAD before the first one. EOS starts the next sentence.

        Returns:
            The new state, and the logits of the next token.
        """
        config, docs, no_perturbation = self.config, len(token), (None,) * self.config.layers
        starts, continues = ((token == PAD) | (token == EOS))[:, None], (token == EOS)[:, None]

        def where_starts(new, old):
            return jax.tree.map(lambda n, o: jnp.where(starts, n, o), new, old)

        encoder, feedback = None, None
        if config.feedback == "word":
            final_states, _ = self._read_token(state.word, token, state.vector)
            layers = self.word_decoder.recurrent.weights()
            feedback = jnp.where(continues, final_vector(final_states, layers, config), 0)
        if state.encoder is not None:
            layers, masks = self.encoder.word.weights(), self.encoder.word.deterministic_masks(docs)
            encoder, *_ = stack_step(state.encoder, self.embedding(token), layers, masks, no_perturbation)
            feedback = jnp.where(continues, final_vector(encoder, layers, config), 0)
            encoder = where_starts(zero_states(config, docs, config.hidden_dim, config.layers), encoder)
        sentence, vector, _ = next_sentence(
            state.sentence,
            feedback,
            state.code,
            self.sentence_decoder.weights(),
            self.sentence_decoder.recurrent.deterministic_masks(docs),
            no_perturbation,
            config,
        )
        sentence, vector = where_starts((sentence, vector), (state.sentence, state.vector))
        word = where_starts(self.init_word_state(vector), state.word)
        word, logits = self.decode_token(word, jnp.where(starts[:, 0], PAD, token), vector)
        return DecoderState(state.code, sentence, word, vector, encoder), logits

    def init_sentence_state(self, code: Code) -> States:
        """Returns the sentence decoder's states before the first sentence."""
        bridge = self.sentence_decoder.weights().bridge
        return initial_states(code.document, bridge, self.config, self.config.layers)

    def next_sentence_vectors(
        self, states: States, code: Code, sentences: int
    ) -> tuple[States, Float[Array, "doc sent vec"]]:
        """Returns the sentence decoder's states after the next `sentences` sentences, and their vectors; for
        `feedback="none"`."""
        weights, docs = self.sentence_decoder.weights(), len(code.document)
        masks, no_perturbation = self.sentence_decoder.recurrent.deterministic_masks(docs), (None,) * self.config.layers

        def advance(states, _):
            return next_sentence(states, None, code, weights, masks, no_perturbation, self.config)[:2]

        states, vectors = jax.lax.scan(advance, states, None, length=sentences)
        return states, jnp.swapaxes(vectors, 0, 1)

    def init_word_state(self, vector: Float[Array, "row vec"]) -> States:
        """Returns the word decoder's states before the first token of sentences with these vectors."""
        return self.word_decoder.initial_states(vector)

    def decode_token(
        self, states: States, token: Int[Array, "row"], vector: Float[Array, "row vec"]
    ) -> tuple[States, Float[Array, "row vocab"]]:
        """Reads one token of sentences with these vectors, PAD before the first; returns the word decoder's new states,
        and the logits of the next token."""
        states, hidden = self._read_token(states, token, vector)
        return states, self.embedding.logits(hidden)

    def _read_token(self, states, token, vector):
        layers, context = self.word_decoder.recurrent.weights(), self.word_decoder.context(vector)
        masks = self.word_decoder.recurrent.deterministic_masks(len(vector))
        no_perturbation = (None,) * self.config.layers
        return stack_step(states, self.embedding(token), layers, masks, no_perturbation, context)[:2]
