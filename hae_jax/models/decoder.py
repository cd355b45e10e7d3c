"""The two levels of the hierarchical decoder.

The sentence decoder decodes the code into one vector per sentence; the word decoder decodes each vector into tokens.
"""

from typing import NamedTuple

import flax.linen as nn
import jax
import jax.numpy as jnp
from jaxtyping import Array, Bool, Float

from hae_jax.config import ModelConfig
from hae_jax.layers.attention import AttentionWeights, attend
from hae_jax.layers.cell import Gates, LSTMWeights
from hae_jax.layers.model_init import model_init
from hae_jax.layers.recurrent import LSTM
from hae_jax.layers.stack import StackDropout, States, stack_step
from hae_jax.models.bridge import Bridge, BridgeParams, final_vector, initial_states, vector_size
from hae_jax.models.outputs import Code, order_part
from hae_jax.models.registers import sentence_register, word_register


class Readout(NamedTuple):
    """Parameters of the affine map from the sentence decoder's output to a sentence vector."""

    kernel: Float[Array, "hidden vec"]
    bias: Float[Array, "vec"]


class SentenceWeights(NamedTuple):
    """Parameters of the sentence decoder.

    Attributes:
        layers: of the LSTM stack.
        bridge: from the code to the initial states; None with `bridge="all_states"`.
        readout: from the top layer's output to a sentence vector; None with `bridge="all_states"`.
        attention: None without attention.
    """

    layers: tuple[LSTMWeights, ...]
    bridge: BridgeParams | None
    readout: Readout | None
    attention: AttentionWeights | None


def next_sentence(
    states: States,
    feedback: Float[Array, "doc vec"] | None,
    code: Code,
    weights: SentenceWeights,
    dropout: StackDropout,
    perturbations: tuple[Float[Array, "doc hidden"] | None, ...],
    config: ModelConfig,
) -> tuple[States, Float[Array, "doc vec"], tuple[Gates, ...]]:
    """Advances the sentence decoder by one sentence.

    Args:
        states: its states before the sentence.
        feedback: its input, which represents the previous sentence; None with `feedback="none"`.
        code: the documents' codes, with the encoder's sentence states for attention.
        weights: the parameters.
        dropout: masks of this step.
        perturbations: see `stack_step`.
        config: options.

    Returns:
        Its new states, the vector of the sentence, and the gates.

    Reference:
        Li, Luong & Jurafsky, 2015, sections 3.3 and 3.4

    Differs from the paper:
        There the first sentence is decoded from the document's code itself, and only later ones after a step of the
        sentence decoder, with attention. Here every sentence follows a step, the first one with an input of zeros.
    """
    parts = [] if feedback is None else [feedback]
    if weights.attention is not None and code.memory is not None and code.memory_mask is not None:
        parts.append(attend(states[-1].hidden, code.memory, code.memory_mask, weights.attention))
    states, _, gates = stack_step(
        states,
        jnp.concatenate(parts, axis=-1) if parts else None,
        weights.layers,
        dropout,
        perturbations,
        order_part(code, config) if config.conditioning == "every_step" else None,
    )
    return states, readout_vectors(final_vector(states, weights.layers, config), weights.readout), gates


def readout_vectors(hidden: Float[Array, "*batch hidden"], readout: Readout | None) -> Float[Array, "*batch vec"]:
    """Maps the sentence decoder's outputs to sentence vectors."""
    if readout is None:
        return hidden
    return hidden @ readout.kernel.astype(hidden.dtype) + readout.bias.astype(hidden.dtype)


class SentenceDecoder(nn.Module):
    """Decodes a document's code into one vector for each of its sentences.

    Attributes:
        config: sizes and options.
    """

    config: ModelConfig

    def setup(self) -> None:
        config, init, hidden = self.config, model_init(self.config), self.config.sentence_dim
        vector, code = vector_size(config, config.hidden_dim), vector_size(config, config.sentence_dim)
        input_size = (0 if config.feedback == "none" else vector) + (hidden if config.attention else 0)
        context_size = code if config.conditioning == "every_step" else 0
        register = sentence_register(config)
        schemes = init.decoder_layers(register, config.layers, config.feedback == "sentence")
        self.recurrent = LSTM(config, hidden, input_size, context_size, config.layers, schemes)
        self.bridge = self.readout = self.attention = None
        if config.bridge == "top_hidden":
            self.bridge = Bridge(config, hidden, code, register, config.layers, name="opening")
            self.readout = Readout(
                self.param("readout_kernel", init.readout, (hidden, vector)),
                self.param("readout_bias", nn.initializers.zeros, (vector,)),
            )
        if config.attention:
            glorot = nn.initializers.glorot_uniform()
            self.attention = AttentionWeights(
                self.param("attention_query", glorot, (hidden, hidden)),
                self.param("attention_memory", glorot, (hidden, hidden)),
                self.param("attention_score", nn.initializers.normal(hidden**-0.5), (hidden,)),
            )

    def weights(self) -> SentenceWeights:
        """Returns the parameters, for loops that must not contain Flax modules."""
        bridge = None if self.bridge is None else self.bridge()
        return SentenceWeights(self.recurrent.weights(), bridge, self.readout, self.attention)

    def __call__(
        self,
        code: Code,
        previous: Float[Array, "doc sent vec"] | None,
        mask: Bool[Array, "doc sent"],
        train: bool = False,
    ) -> Float[Array, "doc sent vec"]:
        """Decodes the codes, for `feedback` "none" and "sentence".

        Args:
            code: the documents' codes.
            previous: with `feedback="sentence"` the vector of the sentence before each sentence, zeros for the first.
            mask: True where a document has a sentence; the vectors of others are undefined.
            train: samples dropout and zoneout.

        Returns:
            The vector of each sentence.
        """
        weights = self.weights()
        states = initial_states(order_part(code, self.config), weights.bridge, self.config, self.config.layers)
        if self.config.attention or self.config.bridge == "all_states":
            return self._scan_sentences(states, code, previous, mask, weights, train)
        # Only the top layer's outputs are needed: the loop over sentences consists of the cell alone.
        context = order_part(code, self.config) if self.config.conditioning == "every_step" else None
        return readout_vectors(self.recurrent(previous, mask, states, context, train)[1], weights.readout)

    def _scan_sentences(self, states, code, previous, mask, weights, train):
        """Sequential scan, needed for attention and `bridge="all_states"`."""
        docs, sentences = mask.shape
        masks = repeat_over_time(self.recurrent.dropout_masks(docs, sentences, train), docs, sentences)
        steps = (previous, masks, self.recurrent.perturbations(docs, sentences))

        def advance(states, step):
            previous, dropout, perturbations = step
            states, vector, gates = next_sentence(states, previous, code, weights, dropout, perturbations, self.config)
            return states, (vector, gates)

        steps = jax.tree.map(lambda x: jnp.swapaxes(x, 0, 1), steps)
        _, (vectors, gates) = jax.lax.scan(advance, states, steps, length=sentences)
        self.recurrent.sow_activations(jax.tree.map(lambda x: jnp.swapaxes(x, 0, 1), gates), mask)
        return jnp.swapaxes(vectors, 0, 1)


def repeat_over_time(dropout: StackDropout, batch: int, time: int) -> StackDropout:
    """Broadcasts every mask to [batch, time, feat], including those that are the same at every step."""

    def repeat(x: Float[Array, "..."], constant: bool) -> Float[Array, "batch time feat"]:
        return jnp.broadcast_to(x[:, None] if constant else x, (batch, time, x.shape[-1]))

    return tuple(
        (
            None if input_mask is None else repeat(input_mask, True),
            type(masks)(*(None if x is None else repeat(x, name == "hidden") for name, x in masks._asdict().items())),
        )
        for input_mask, masks in dropout
    )


class WordDecoder(nn.Module):
    """Decodes a sentence's vector into the hidden states from which its tokens are predicted.

    Attributes:
        config: sizes and options.
    """

    config: ModelConfig

    def setup(self) -> None:
        config = self.config
        vector, embed = vector_size(config, config.hidden_dim), config.embed_dim
        context_size = vector if config.conditioning == "every_step" else 0
        register = word_register(config)
        schemes = model_init(config).decoder_layers(register, config.layers, True)
        self.recurrent = LSTM(config, config.hidden_dim, embed, context_size, config.layers, schemes)
        self.bridge = None
        if config.bridge == "top_hidden":
            self.bridge = Bridge(config, config.hidden_dim, vector, register, config.layers, name="opening")

    def weights(self) -> tuple[tuple[LSTMWeights, ...], BridgeParams | None]:
        """Returns the parameters of the stack and of its bridge, for loops that must not contain Flax modules."""
        return self.recurrent.weights(), self._bridge_params()

    def initial_states(self, vectors: Float[Array, "row vec"]) -> States:
        """Returns the states before the first token of sentences with these vectors."""
        return initial_states(vectors, self._bridge_params(), self.config, self.config.layers)

    def _bridge_params(self) -> BridgeParams | None:
        return None if self.bridge is None else self.bridge()

    def context(self, vectors: Float[Array, "*batch vec"]) -> Float[Array, "*batch vec"] | None:
        """Returns the stack's input at every step besides the token: the vectors, or None with
        `conditioning="initial_state"`."""
        return vectors if self.config.conditioning == "every_step" else None

    def __call__(
        self,
        vectors: Float[Array, "row vec"],
        inputs: Float[Array, "part word embed"],
        mask: Bool[Array, "row word"],
        train: bool = False,
        part: int = 0,
    ) -> Float[Array, "row word hidden"]:
        """Decodes all rows in parallel, teacher-forced.

        Args:
            vectors: the sentences' vectors.
            inputs: embeddings of the preceding tokens; if there are fewer inputs than rows, they are repeated.
            mask: True where there is a token to predict.
            train: samples dropout and zoneout.
            part: see `LSTM`.

        Returns:
            The top layer's outputs.
        """
        context = self.context(vectors)
        return self.recurrent(inputs, mask, self.initial_states(vectors), context, train, part)[1]
