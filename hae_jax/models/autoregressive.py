"""A decoder of two levels by itself: what it says, word after word, when nobody tells it the words."""

from typing import NamedTuple

import flax.linen as nn
import jax
import jax.numpy as jnp
from jaxtyping import Array, Float, Int

from hae_jax.batch import EOS, PAD
from hae_jax.config import ModelConfig
from hae_jax.layers.stack import StackDropout, States, stack_step, zero_states
from hae_jax.models.bridge import final_vector, initial_states, vector_size
from hae_jax.models.decoder import SentenceDecoder, WordDecoder, next_sentence
from hae_jax.models.embedding import TokenEmbedding
from hae_jax.models.encoder import Encoder
from hae_jax.models.outputs import Code


class DecoderState(NamedTuple):
    """What the decoder carries from one word to the next.

    Attributes:
        code: the documents' codes.
        sentence: states of the sentence decoder.
        word: states of the word decoder.
        vector: the vector of the sentence that is being said.
        reader: with `feedback="sentence"` the word encoder's states over what has been said of this sentence.
    """

    code: Code
    sentence: States
    word: States
    vector: Float[Array, "doc vec"]
    reader: States | None


class AutoregressiveDecoder(nn.Module):
    """The parts of a hierarchical autoencoder, and how it decodes without a text.

    Attributes:
        config: sizes and options.
        vocab: number of word ids.
    """

    config: ModelConfig
    vocab: int

    def setup(self) -> None:
        self.words = TokenEmbedding(self.config, self.vocab)
        self.encoder = Encoder(self.config)
        self.sentence_decoder = SentenceDecoder(self.config)
        self.word_decoder = WordDecoder(self.config)

    @property
    def side_by_side(self) -> bool:
        """Whether sentences can be said at the same time: no sentence's vector waits for the words before it."""
        return self.config.feedback == "none"

    def start(self, code: Code) -> DecoderState:
        """Returns the decoder's state before the first word; hand PAD to the first `step`."""
        config, docs = self.config, len(code.document)
        zeros = zero_states(config, docs, config.hidden_dim)
        return DecoderState(
            code,
            self.open(code),
            zeros,
            jnp.zeros((docs, vector_size(config, config.hidden_dim)), config.dtype),
            zeros if config.feedback == "sentence" else None,
        )

    def step(self, state: DecoderState, token: Int[Array, "doc"]) -> tuple[DecoderState, Float[Array, "doc vocab"]]:
        """Reads the word that was just said and returns the logits of the next.

        Args:
            state: the state before.
            token: the word; PAD before the first word of a document. After EOS the next sentence is begun.

        Returns:
            The state after, and the logits.
        """
        config, docs = self.config, len(token)
        begins, follows = ((token == PAD) | (token == EOS))[:, None], (token == EOS)[:, None]
        layers, still = self.word_decoder.recurrent.weights(), (None,) * config.layers

        def choose(new, old):
            return jax.tree.map(lambda n, o: jnp.where(begins, n, o), new, old)

        reader, feedback = None, None
        if config.feedback == "word":
            said, _ = self._read(state.word, self.words(token), state.vector)
            feedback = jnp.where(follows, final_vector(said, layers, config), 0)
        if state.reader is not None:
            reading, lower = self.encoder.word.weights(), _silence(self.encoder.word, docs)
            reader, *_ = stack_step(state.reader, self.words(token), reading, lower, still)
            feedback = jnp.where(follows, final_vector(reader, reading, config), 0)
            reader = choose(zero_states(config, docs, config.hidden_dim), reader)
        weights, upper = self.sentence_decoder.weights(), _silence(self.sentence_decoder.recurrent, docs)
        sentence, vector, _ = next_sentence(state.sentence, feedback, state.code, weights, upper, still, config)
        sentence, vector = choose((sentence, vector), (state.sentence, state.vector))
        word, logits = self.say(choose(self.begin(vector), state.word), jnp.where(begins[:, 0], PAD, token), vector)
        return DecoderState(state.code, sentence, word, vector, reader), logits

    def open(self, code: Code) -> States:
        """Returns the sentence decoder's states before the first sentence."""
        return initial_states(code.document, self.sentence_decoder.weights().opening, self.config)

    def go_on(self, states: States, code: Code, sentences: int) -> tuple[States, Float[Array, "doc sent vec"]]:
        """Returns the vectors of the next so many sentences, and the states after them; where `side_by_side`."""
        weights = self.sentence_decoder.weights()
        upper, still = _silence(self.sentence_decoder.recurrent, len(code.document)), (None,) * self.config.layers

        def advance(states, _):
            return next_sentence(states, None, code, weights, upper, still, self.config)[:2]

        states, vectors = jax.lax.scan(advance, states, None, length=sentences)
        return states, jnp.swapaxes(vectors, 0, 1)

    def begin(self, vector: Float[Array, "row vec"]) -> States:
        """Returns the word decoder's states before the first word of a sentence of that vector."""
        return initial_states(vector, self.word_decoder.weights()[1], self.config)

    def say(
        self, states: States, token: Int[Array, "row"], vector: Float[Array, "row vec"]
    ) -> tuple[States, Float[Array, "row vocab"]]:
        """Reads a word of a sentence of that vector, PAD before its first; returns the states, and logits of the next
        word."""
        states, hidden = self._read(states, self.words(token), vector)
        return states, self.words.logits(hidden)

    def _read(self, states, inputs, vector):
        layers, context = self.word_decoder.recurrent.weights(), self.word_decoder.context(vector)
        lower = _silence(self.word_decoder.recurrent, len(vector))
        return stack_step(states, inputs, layers, lower, (None,) * self.config.layers, context)[:2]


def _silence(recurrent: nn.Module, rows: int) -> StackDropout:
    """Returns what stands for the noise of a single step where there is none."""
    return jax.tree.map(lambda x: x[:, 0], recurrent.noises(rows, 1, False))
