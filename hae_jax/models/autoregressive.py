"""Free-running decoding with a decoder of two levels, given the code alone: by sentences, or token by token."""

from typing import NamedTuple, cast

import flax.linen as nn
import jax
import jax.numpy as jnp
from jaxtyping import Array, Bool, Float, Int

from hae_jax.batch import EOS, PAD
from hae_jax.config import ModelConfig
from hae_jax.layers.stack import States, stack_step, zero_states
from hae_jax.models.bridge import final_vector, initial_states, vector_size
from hae_jax.models.decoder import SentenceDecoder, WordDecoder, next_sentence
from hae_jax.models.embedding import TokenEmbedding
from hae_jax.models.encoder import Encoder
from hae_jax.models.outputs import Code, order_part

PARALLEL_SENTENCES = 4
"""Sentences of a document that are decoded in parallel where none depends on the others."""


class SentenceState(NamedTuple):
    """State of the sentence decoder between two sentences.

    Attributes:
        states: states of its LSTM stack.
        feedback: its next input, the vector of the last sentence; None with `feedback="none"`.
    """

    states: States
    feedback: Float[Array, "doc vec"] | None


class DecoderState(NamedTuple):
    """State of the decoder between two tokens.

    Attributes:
        code: the documents' codes.
        sentence: states of the sentence decoder.
        word: states of the word decoder.
        vector: vector of the current sentence.
        tokens: with `feedback="sentence"` the current sentence's tokens, PAD after them; else None.
    """

    code: Code
    sentence: States
    word: States
    vector: Float[Array, "doc vec"]
    tokens: Int[Array, "doc token"] | None


class AutoregressiveDecoder:
    """Mixin of `Hierarchical`: decodes token by token. The attributes below are set by the class that uses it."""

    config: ModelConfig
    embedding: TokenEmbedding
    encoder: Encoder
    sentence_decoder: SentenceDecoder
    word_decoder: WordDecoder

    @property
    def parallel_sentences(self) -> int:
        """Sentences of a document that can be decoded at the same time; 0 if the next sentence depends on the word
        decoder's state, so that documents are decoded token by token."""
        return {"none": PARALLEL_SENTENCES, "sentence": 1, "word": 0}[self.config.feedback]

    def start(self, code: Code, max_tokens: int) -> DecoderState:
        """Returns the decoder's state before the first token.

        Args:
            code: the documents' codes.
            max_tokens: number of steps that follow at most; the first input of `step` is PAD.
        """
        config, docs = self.config, len(code.document)
        return DecoderState(
            code,
            self.init_sentence_state(code).states,
            zero_states(config, docs, config.hidden_dim, config.layers),
            self._no_vector(docs),
            jnp.full((docs, max_tokens), PAD, jnp.int32) if config.feedback == "sentence" else None,
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

        tokens, feedback = None, None
        if config.feedback == "word":
            final_states, _ = self._read_token(state.word, token, state.vector)
            layers = self.word_decoder.recurrent.weights()
            feedback = jnp.where(continues, final_vector(final_states, layers, config), 0)
        if state.tokens is not None:
            length = (state.tokens != PAD).sum(1, keepdims=True)
            tokens = jnp.where(jnp.arange(state.tokens.shape[1]) == length, token[:, None], state.tokens)
            feedback, tokens = self._encode_where(continues, tokens), jnp.where(starts, PAD, tokens)
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
        return DecoderState(state.code, sentence, word, vector, tokens), logits

    def init_sentence_state(self, code: Code) -> SentenceState:
        """Returns the sentence decoder's state before the first sentence."""
        bridge = self.sentence_decoder.weights().bridge
        states = initial_states(order_part(code, self.config), bridge, self.config, self.config.layers)
        return SentenceState(states, None if self.config.feedback == "none" else self._no_vector(len(code.document)))

    def next_sentence_vectors(
        self, state: SentenceState, code: Code, sentences: int
    ) -> tuple[SentenceState, Float[Array, "doc sent vec"]]:
        """Returns the sentence decoder's state after the next sentences, and their vectors; one sentence at a time with
        feedback, which `feed_back` sets."""
        weights, docs = self.sentence_decoder.weights(), len(code.document)
        masks, no_perturbation = self.sentence_decoder.recurrent.deterministic_masks(docs), (None,) * self.config.layers

        def advance(states, _):
            return next_sentence(states, state.feedback, code, weights, masks, no_perturbation, self.config)[:2]

        states, vectors = jax.lax.scan(advance, state.states, None, length=sentences)
        return state._replace(states=states), jnp.swapaxes(vectors, 0, 1)

    def feed_back(self, state: SentenceState, tokens: Int[Array, "doc token"]) -> SentenceState:
        """Returns the sentence decoder's state with the last sentence as its next input, unless it has none.

        Args:
            state: the state after the last sentence.
            tokens: the tokens of that sentence with its end mark, PAD after them.
        """
        return state if state.feedback is None else state._replace(feedback=self.encode_sentences(tokens))

    def encode_sentences(self, tokens: Int[Array, "doc token"]) -> Float[Array, "doc vec"]:
        """Returns the encoder's vector of one sentence of each document, given its tokens and PAD after them."""
        return self.encoder.generated_sentences(self.embedding(tokens), tokens != PAD)

    def _encode_where(self, ended: Bool[Array, "doc 1"], tokens: Int[Array, "doc token"]) -> Float[Array, "doc vec"]:
        """Returns the encoder's vectors of sentences that have ended, and zeros for the others. In most steps none has,
        and the loop over tokens is left out."""
        vectors = nn.cond(
            ended.any(),
            lambda model, tokens: model.encode_sentences(tokens),
            lambda model, tokens: model._no_vector(len(tokens)),
            cast(nn.Module, self),
            jnp.where(ended, tokens, PAD),
        )
        return jnp.where(ended, vectors, 0)

    def _no_vector(self, docs: int) -> Float[Array, "doc vec"]:
        """Returns zeros in place of the vector of a sentence before the first."""
        return jnp.zeros((docs, vector_size(self.config, self.config.hidden_dim)), self.config.dtype)

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
