"""Document -> sentences -> words: the encoder's mirror.

The sentence decoder unfolds the code into a vector for each sentence; the word decoder unfolds each vector into words.
"""

from typing import NamedTuple

import flax.linen as nn
import jax
import jax.numpy as jnp
from jaxtyping import Array, Bool, Float

from hae_jax.config import ModelConfig
from hae_jax.layers import mirror_init
from hae_jax.layers.attention import AttentionWeights, attend
from hae_jax.layers.cell import Gates, LSTMWeights
from hae_jax.layers.recurrent import LSTM
from hae_jax.layers.stack import StackDropout, States, stack_step
from hae_jax.models.bridge import Bridge, BridgeParams, final_vector, initial_states, vector_size
from hae_jax.models.outputs import Code


class Readout(NamedTuple):
    """Parameters of the affine map from the sentence decoder's h to a sentence vector."""

    kernel: Float[Array, "hidden vec"]
    bias: Float[Array, "vec"]


class SentenceWeights(NamedTuple):
    """Parameters of the sentence decoder.

    Attributes:
        layers: of the LSTM stack.
        opening: from the code to the stack's first states; None with `bridge="all_states"`.
        readout: from the stack's top h to a sentence vector; None with `bridge="all_states"`.
        attention: None without attention.
    """

    layers: tuple[LSTMWeights, ...]
    opening: BridgeParams | None
    readout: Readout | None
    attention: AttentionWeights | None


def next_sentence(
    states: States,
    feedback: Float[Array, "doc vec"] | None,
    code: Code,
    weights: SentenceWeights,
    noises: StackDropout,
    nudges: tuple[Float[Array, "doc hidden"] | None, ...],
    config: ModelConfig,
) -> tuple[States, Float[Array, "doc vec"], tuple[Gates, ...]]:
    """Advances the sentence decoder by one sentence.

    Args:
        states: its states before the sentence.
        feedback: what it reads of the previous sentence; None with `feedback="none"`.
        code: the documents' codes, with the encoder's sentence states where there is attention.
        weights: the parameters.
        noises: dropout and zoneout of this step.
        nudges: see `stack_step`.
        config: options.

    Returns:
        Its states, the vector of the sentence, and the gates.

    Reference:
        Li, Luong & Jurafsky, 2015, sections 3.3 and 3.4

    Differs from the paper:
        There the first sentence is decoded from the document's code itself, and only the others after a step of the
        sentence decoder, with attention. Here every sentence follows a step, and the first one's reads zeros.
    """
    parts = [] if feedback is None else [feedback]
    if weights.attention is not None and code.memory is not None and code.memory_mask is not None:
        parts.append(attend(states[-1].hidden, code.memory, code.memory_mask, weights.attention))
    states, _, gates = stack_step(
        states,
        jnp.concatenate(parts, axis=-1) if parts else None,
        weights.layers,
        noises,
        nudges,
        code.document if config.conditioning == "every_step" else None,
    )
    return states, readout_vectors(final_vector(states, weights.layers, config), weights.readout), gates


def readout_vectors(hidden: Float[Array, "*batch hidden"], readout: Readout | None) -> Float[Array, "*batch vec"]:
    """Maps the sentence decoder's outputs to sentence vectors."""
    if readout is None:
        return hidden
    return hidden @ readout.kernel.astype(hidden.dtype) + readout.bias.astype(hidden.dtype)


class SentenceDecoder(nn.Module):
    """Unfolds a document's code into a vector for each of its sentences.

    Attributes:
        config: sizes and options.
    """

    config: ModelConfig

    def setup(self) -> None:
        config = self.config
        self.vec = vector_size(config, config.hidden_dim)
        self.code = vector_size(config, config.sentence_dim)
        read = (0 if config.feedback == "none" else self.vec) + (config.sentence_dim if config.attention else 0)
        context = self.code if config.conditioning == "every_step" else 0
        self.recurrent = LSTM(config, config.sentence_dim, read, context, tells=self.vec)
        self.opening = Bridge(config, config.sentence_dim, self.code, self.vec)
        glorot, hidden = nn.initializers.glorot_uniform(), config.sentence_dim
        if config.bridge == "top_hidden":
            init = nn.initializers.lecun_normal()
            if config.initializer == "mirror":
                init = mirror_init.first_block_readout(
                    1.0 if config.layer_norm == "output" else mirror_init.STATE_STD / mirror_init.INPUT_STD
                )
            self.readout = Readout(
                self.param("readout_kernel", init, (hidden, self.vec)),
                self.param("readout_bias", nn.initializers.zeros, (self.vec,)),
            )
        if config.attention:
            self.attention = AttentionWeights(
                self.param("attention_query", glorot, (hidden, hidden)),
                self.param("attention_memory", glorot, (hidden, hidden)),
                self.param("attention_score", nn.initializers.normal(hidden**-0.5), (hidden,)),
            )

    def weights(self) -> SentenceWeights:
        """Returns the parameters, for loops that must not hold Flax modules."""
        config = self.config
        return SentenceWeights(
            self.recurrent.weights(),
            self.opening(),
            self.readout if config.bridge == "top_hidden" else None,
            self.attention if config.attention else None,
        )

    def __call__(
        self,
        code: Code,
        previous: Float[Array, "doc sent vec"] | None,
        mask: Bool[Array, "doc sent"],
        train: bool = False,
    ) -> Float[Array, "doc sent vec"]:
        """Unfolds the codes side by side, for the couplings that do not wait for the words.

        Args:
            code: the documents' codes.
            previous: with `feedback="sentence"` the vector before each sentence, zeros before the first.
            mask: True where a document has a sentence; a vector is found for the others as well, and means nothing.
            train: draws dropout and zoneout.

        Returns:
            The vector of each sentence.
        """
        weights = self.weights()
        states = initial_states(code.document, weights.opening, self.config)
        if self.config.attention or self.config.bridge == "all_states":
            return self._in_turn(states, code, previous, mask, weights, train)
        # Only the top layer's outputs are asked for: the loop over sentences holds nothing but the cell.
        context = code.document if self.config.conditioning == "every_step" else None
        return readout_vectors(self.recurrent(previous, mask, states, context, train)[1], weights.readout)

    def _in_turn(self, states, code, previous, mask, weights, train):
        """Does so where each step looks around, or all states are handed on."""
        docs, sentences = mask.shape
        noises = self.recurrent.noises(docs, sentences, train)
        steps = (previous, every_step(noises, docs, sentences), self.recurrent.nudges(docs, sentences))

        def advance(states, step):
            previous, noises, nudges = step
            states, vector, gates = next_sentence(states, previous, code, weights, noises, nudges, self.config)
            return states, (vector, gates)

        steps = jax.tree.map(lambda x: jnp.swapaxes(x, 0, 1), steps)
        _, (vectors, gates) = jax.lax.scan(advance, states, steps, length=sentences)
        self.recurrent.show(jax.tree.map(lambda x: jnp.swapaxes(x, 0, 1), gates), mask)
        return jnp.swapaxes(vectors, 0, 1)


def every_step(noises: StackDropout, batch: int, time: int) -> StackDropout:
    """Gives every part of the noise a time axis after the batch axis, those that stay the same at every step too."""

    def spread(x: Float[Array, "..."], same: bool) -> Float[Array, "batch time feat"]:
        return jnp.broadcast_to(x[:, None] if same else x, (batch, time, x.shape[-1]))

    return tuple(
        (
            None if drop is None else spread(drop, True),
            type(noise)(*(None if x is None else spread(x, name == "hidden") for name, x in noise._asdict().items())),
        )
        for drop, noise in noises
    )


class WordDecoder(nn.Module):
    """Unfolds a sentence's vector into the hidden states from which its words are read.

    Attributes:
        config: sizes and options.
    """

    config: ModelConfig

    def setup(self) -> None:
        config = self.config
        vec = vector_size(config, config.hidden_dim)
        context = vec if config.conditioning == "every_step" else 0
        self.recurrent = LSTM(config, config.hidden_dim, config.embed_dim, context, tells=config.embed_dim)
        self.opening = Bridge(config, config.hidden_dim, vec, config.embed_dim)

    def weights(self) -> tuple[tuple[LSTMWeights, ...], BridgeParams | None]:
        """Returns the parameters of the stack and of its start, for loops that must not hold Flax modules."""
        return self.recurrent.weights(), self.opening()

    def context(self, vectors: Float[Array, "*batch vec"]) -> Float[Array, "*batch vec"] | None:
        """Returns what the stack reads of the vectors at every step: with `conditioning="initial_state"` nothing."""
        return vectors if self.config.conditioning == "every_step" else None

    def __call__(
        self,
        vectors: Float[Array, "row vec"],
        inputs: Float[Array, "part word embed"],
        mask: Bool[Array, "row word"],
        train: bool = False,
        part: int = 0,
    ) -> Float[Array, "row word hidden"]:
        """Decodes all rows side by side, teacher forced.

        Args:
            vectors: the sentences' vectors.
            inputs: vectors of the words before those to be said; fewer inputs than rows are read over and over.
            mask: True where there is a word to be said.
            train: draws dropout and zoneout.
            part: see `LSTM`.

        Returns:
            The top layer's outputs.
        """
        states = initial_states(vectors, self.opening(), self.config)
        _, hidden = self.recurrent(inputs, mask, states, self.context(vectors), train, part)
        return hidden
