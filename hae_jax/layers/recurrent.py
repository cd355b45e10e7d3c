"""A stack of LSTM layers as a Flax module: it owns the parameters and draws the noise, and leaves the arithmetic to
pure functions."""

import math
from functools import partial
from typing import NamedTuple

import flax.linen as nn
import jax
import jax.numpy as jnp
from jaxtyping import Array, Bool, Float

from hae_jax.config import ModelConfig
from hae_jax.layers.cell import Gates, LSTMWeights, Norm, OutputNorm
from hae_jax.layers.dropout import dropout_mask, sample_recurrent_dropout
from hae_jax.layers.initializers import Scheme, scheme
from hae_jax.layers.mirror_init import decoder_scheme, encoder_scheme, passthrough_scheme
from hae_jax.layers.stack import StackDropout, States, checkpointed_scan, stack_scan, zero_states


class Layer(nn.Module):
    """The parameters of one LSTM layer.

    Attributes:
        config: says whether there are biases and normalisation.
        weights: the weight scheme.
        hidden: number of units.
        feat: size of the inputs; 0 for a layer that reads nothing.
        vec: size of the context; 0 for a layer without one.
    """

    config: ModelConfig
    weights: Scheme
    hidden: int
    feat: int
    vec: int

    @nn.compact
    def __call__(self) -> LSTMWeights:
        config, init, gates = self.config, self.weights, 4 * self.hidden
        gain, zeros = nn.initializers.constant(config.layer_norm_gain), nn.initializers.zeros
        norm = output = None
        if config.layer_norm == "cell":
            norm = Norm(
                input=self.param("norm_input", gain, (gates,)),
                recurrent=self.param("norm_recurrent", gain, (gates,)),
                cell=self.param("norm_cell", gain, (self.hidden,)),
                bias=self.param("norm_bias", zeros, (self.hidden,)) if config.use_bias else None,
            )
        if config.layer_norm == "output":
            output = OutputNorm(
                gain=self.param("output_gain", gain, (self.hidden,)),
                bias=self.param("output_bias", zeros, (self.hidden,)) if config.use_bias else None,
            )
        return LSTMWeights(
            kernel=self.param("kernel", init.kernel, (self.feat, gates)) if self.feat else None,
            context=self.param("context", init.kernel, (self.vec, gates)) if self.vec else None,
            recurrent=self.param("recurrent", init.recurrent, (self.hidden, gates)),
            bias=self.param("bias", init.bias, (gates,)) if config.use_bias else None,
            norm=norm,
            output=output,
        )


class LSTMInputs(NamedTuple):
    """What a stack is run on; see `lstm_scan`."""

    states: States
    inputs: Float[Array, "part time feat"] | None
    mask: Bool[Array, "batch time"]
    context: Float[Array, "batch vec"] | None


class LSTM(nn.Module):
    """A stack of LSTM layers over batches of masked sequences.

    The gradient of the loss with respect to the hidden states can be read off `perturbations`, and the gates off
    `gates`, when those collections are handed in or asked for; otherwise they cost nothing.

    Attributes:
        config: options of the cell.
        hidden: units of every layer.
        feat: size of the inputs; 0 for a stack that reads nothing.
        vec: size of a context, read by the bottom layer at every step; 0 for a stack without one.
        spread: standard deviation of a number of the inputs, for the scheme "mirror".
        tells: size of what the stack has to give back at each step, for the same; 0 for a stack that reads.

    Example:
        >>> lstm = LSTM(ModelConfig(layers=2), hidden=5, feat=4)
        >>> x, mask = jnp.ones((2, 3, 4)), jnp.array([[True, True, True], [False, False, False]])
        >>> params = lstm.init(jax.random.key(0), x, mask)
        >>> states, hidden = lstm.apply(params, x, mask)
        >>> hidden.shape, bool((states[-1].hidden[1] == 0).all())
        ((2, 3, 5), True)
    """

    config: ModelConfig
    hidden: int
    feat: int
    vec: int = 0
    spread: float = 1.0
    tells: int = 0

    def setup(self) -> None:
        above = self.config.layers - 1
        below, context = [self.feat] + [self.hidden] * above, [self.vec] + [0] * above
        self.layer = [
            Layer(self.config, init, self.hidden, f, v)
            for init, f, v in zip(self._schemes(), below, context, strict=True)
        ]

    def _schemes(self) -> list[Scheme]:
        config = self.config
        if config.initializer == "mirror":
            bottom = decoder_scheme(self.tells) if self.tells else encoder_scheme(self.feat, self.spread)
            return [bottom] + [passthrough_scheme()] * (config.layers - 1)
        return [scheme(config.initializer, config.forget_bias, config.timescale, config.recurrent_gain)] * config.layers

    def weights(self) -> tuple[LSTMWeights, ...]:
        """Returns the parameters of every layer, bottom layer first, for `stack_step`."""
        return tuple(layer() for layer in self.layer)

    def noises(self, batch: int, time: int, train: bool) -> StackDropout:
        """Draws for every layer its input dropout [batch, feat] and the noise of all steps."""
        drawn = []
        for layer in range(self.config.layers):
            key = self.make_rng("dropout") if train and self._noisy else None
            drop = None
            feat = self.feat if layer == 0 else self.hidden
            if key is not None and self.config.input_dropout and feat:
                key, own = jax.random.split(key)
                drop = dropout_mask(own, self.config.input_dropout, (batch, feat))
            drawn.append((drop, sample_recurrent_dropout(key, self.config, batch, time, self.hidden)))
        return tuple(drawn)

    @property
    def _noisy(self) -> bool:
        c = self.config
        return any((c.input_dropout, c.recurrent_dropout, c.zoneout_cell, c.zoneout_hidden))

    def __call__(
        self,
        inputs: Float[Array, "*part time feat"] | None,
        mask: Bool[Array, "*batch time"],
        states: States | None = None,
        context: Float[Array, "*batch vec"] | None = None,
        train: bool = False,
        part: int = 0,
    ) -> tuple[States, Float[Array, "*batch time hidden"]]:
        """Runs the stack over time.

        Args:
            inputs: any number of batch axes; leading ones of size 1, or left out, are shared by all rows; None for a
                stack that reads nothing.
            mask: True where a step is real; at the others every state stays as it was.
            states: states before the first step; zeros if None.
            context: what the bottom layer reads at every step.
            train: draws dropout and zoneout from the stream `dropout`.
            part: tells several calls of one forward pass apart in the collections that probes read.

        Returns:
            The states after each row's last real step, and the top layer's output at every step.
        """
        *leading, time = mask.shape
        batch = math.prod(leading)
        given = LSTMInputs(
            zero_states(self.config, batch, self.hidden)
            if states is None
            else jax.tree.map(lambda x: x.reshape(batch, -1), states),
            None if inputs is None else inputs.reshape(-1, time, inputs.shape[-1]),
            mask.reshape(batch, time),
            None if context is None else context.reshape(batch, -1),
        )
        scan = checkpointed_scan if self.config.remat else stack_scan
        states, hidden, gates = scan(
            *given[:3],
            self.weights(),
            self.noises(batch, time, train),
            self.nudges(batch, time, part=part),
            given.context,
        )
        self.show(gates, given.mask, part, given)
        unfold = partial(jax.tree.map, lambda x: x.reshape(*leading, *x.shape[1:]))
        return unfold(states), unfold(hidden)

    def nudges(self, *steps: int, part: int = 0) -> tuple[Float[Array, "..."] | None, ...]:
        """Returns for each layer zeros to add to its hidden states, if the collection `perturbations` is in use.

        The loss's gradient with respect to the perturbation `hidden_p_k` is dL/dh_t of layer k, for every t of part p.
        """
        names = [f"hidden_{part}_{layer}" for layer in range(self.config.layers)]
        wanted = self.is_mutable_collection("perturbations") or self.has_variable("perturbations", names[0])
        if self.is_initializing() or not wanted:
            return (None,) * len(names)
        zeros = jnp.zeros((*steps, self.hidden), self.config.dtype)
        return tuple(self.perturb(name, zeros) for name in names)

    def show(
        self, gates: tuple[Gates, ...], mask: Bool[Array, "*steps"], part: int = 0, given: LSTMInputs | None = None
    ) -> None:
        """Puts what passed through the stack into the collection `gates`, if it is asked for: the gates of every layer
        as `gates_p_k`, which of the steps are real as `mask_p`, and what it was given, where known, as `given_p`."""
        if self.is_initializing():
            return
        for layer, values in enumerate(gates):
            self.sow("gates", f"gates_{part}_{layer}", values)
        self.sow("gates", f"mask_{part}", mask)
        if given is not None:
            self.sow("gates", f"given_{part}", given)
