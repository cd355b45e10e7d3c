"""A stack of LSTM layers as a Flax module: it owns the parameters and samples dropout; the arithmetic is in pure
functions."""

import math
from functools import partial
from typing import NamedTuple

import flax.linen as nn
import jax
import jax.numpy as jnp
from jaxtyping import Array, Bool, Float

from hae_jax.config import CellConfig
from hae_jax.layers.cell import Gates, LSTMWeights, Norm, OutputNorm
from hae_jax.layers.dropout import dropout_mask, sample_recurrent_dropout
from hae_jax.layers.initializers import Scheme
from hae_jax.layers.mirror_init import Register
from hae_jax.layers.model_init import model_init
from hae_jax.layers.stack import StackDropout, States, checkpointed_scan, stack_scan, zero_states


class Layer(nn.Module):
    """The parameters of one LSTM layer.

    Attributes:
        config: options of the cell.
        weights: the weight scheme.
        hidden: number of units.
        input_size: size of the inputs; 0 for a layer without inputs.
        context_size: size of the context; 0 for a layer without one.
    """

    config: CellConfig
    weights: Scheme
    hidden: int
    input_size: int
    context_size: int

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
            kernel=self.param("kernel", init.kernel, (self.input_size, gates)) if self.input_size else None,
            context=self.param("context", init.context or init.kernel, (self.context_size, gates))
            if self.context_size
            else None,
            recurrent=self.param("recurrent", init.recurrent, (self.hidden, gates)),
            bias=self.param("bias", init.bias, (gates,)) if config.use_bias else None,
            norm=norm,
            output=output,
        )


class LSTMInputs(NamedTuple):
    """Arguments of one run of a stack; see `lstm_scan`."""

    states: States
    inputs: Float[Array, "part time feat"] | None
    mask: Bool[Array, "batch time"]
    context: Float[Array, "batch context"] | None


class LSTM(nn.Module):
    """A stack of LSTM layers over batches of masked sequences.

    The gradient of the loss with respect to the hidden states is available through the collection `perturbations`, and
    the gates through the collection `gates`, if these are passed or mutable; otherwise they cost nothing.

    Attributes:
        config: options of the cell.
        hidden: units of every layer.
        input_size: size of the inputs; 0 for a stack without inputs.
        context_size: size of the context, a second input of the bottom layer at every step; 0 for none.
        layers: number of layers.
        schemes: weight schemes of the layers, bottom first; None for those of an encoder.

    Example:
        >>> lstm = LSTM(CellConfig(), hidden=5, input_size=4, layers=2)
        >>> x, mask = jnp.ones((2, 3, 4)), jnp.array([[True, True, True], [False, False, False]])
        >>> params = lstm.init(jax.random.key(0), x, mask)
        >>> states, hidden = lstm.apply(params, x, mask)
        >>> hidden.shape, bool((states[-1].hidden[1] == 0).all())
        ((2, 3, 5), True)
    """

    config: CellConfig
    hidden: int
    input_size: int
    context_size: int = 0
    layers: int = 1
    schemes: tuple[Scheme, ...] | None = None

    def setup(self) -> None:
        above = self.layers - 1
        schemes = self.schemes or model_init(self.config).encoder_layers(Register(self.input_size), self.layers)
        input_sizes, context_sizes = [self.input_size] + [self.hidden] * above, [self.context_size] + [0] * above
        self.layer = [
            Layer(self.config, scheme, self.hidden, input_size, context_size)
            for scheme, input_size, context_size in zip(schemes, input_sizes, context_sizes, strict=True)
        ]

    def weights(self) -> tuple[LSTMWeights, ...]:
        """Returns the parameters of every layer, bottom layer first, for `stack_step`."""
        return tuple(layer() for layer in self.layer)

    def dropout_masks(self, batch: int, time: int, train: bool) -> StackDropout:
        """Samples for every layer the mask of its input dropout [batch, feat] and the masks of all steps."""
        masks = []
        for layer in range(self.layers):
            key = self.make_rng("dropout") if train and self._has_dropout else None
            input_mask = None
            size = self.input_size if layer == 0 else self.hidden
            if key is not None and self.config.input_dropout and size:
                key, input_key = jax.random.split(key)
                input_mask = dropout_mask(input_key, self.config.input_dropout, (batch, size))
            masks.append((input_mask, sample_recurrent_dropout(key, self.config, batch, time, self.hidden)))
        return tuple(masks)

    def deterministic_masks(self, batch: int) -> StackDropout:
        """Returns the masks of a single step in evaluation: no dropout, and the expectation of zoneout."""
        return jax.tree.map(lambda x: x[:, 0], self.dropout_masks(batch, 1, False))

    @property
    def _has_dropout(self) -> bool:
        c = self.config
        return any((c.input_dropout, c.recurrent_dropout, c.zoneout_cell, c.zoneout_hidden))

    def __call__(
        self,
        inputs: Float[Array, "*part time feat"] | None,
        mask: Bool[Array, "*batch time"],
        states: States | None = None,
        context: Float[Array, "*batch context"] | None = None,
        train: bool = False,
        part: int = 0,
    ) -> tuple[States, Float[Array, "*batch time hidden"]]:
        """Runs the stack over time.

        Args:
            inputs: any number of batch axes; if leading ones are of size 1 or missing, all rows share the inputs; None
                for a stack without inputs.
            mask: True where a step is valid; the others leave the states unchanged.
            states: states before the first step; zeros if None.
            context: second input of the bottom layer at every step.
            train: samples dropout and zoneout from the stream `dropout`.
            part: number of this call among several in one forward pass, part of the names in `perturbations` and
                `gates`.

        Returns:
            The states after each row's last unmasked step, and the top layer's output at every step.
        """
        *leading, time = mask.shape
        batch = math.prod(leading)
        flat = LSTMInputs(
            zero_states(self.config, batch, self.hidden, self.layers)
            if states is None
            else jax.tree.map(lambda x: x.reshape(batch, -1), states),
            None if inputs is None else inputs.reshape(-1, time, inputs.shape[-1]),
            mask.reshape(batch, time),
            None if context is None else context.reshape(batch, -1),
        )
        scan = checkpointed_scan if self.config.remat else stack_scan
        states, hidden, gates = scan(
            flat.states,
            flat.inputs,
            flat.mask,
            self.weights(),
            self.dropout_masks(batch, time, train),
            self.perturbations(batch, time, part=part),
            flat.context,
        )
        self.sow_activations(gates, flat.mask, part, flat)
        restore = partial(jax.tree.map, lambda x: x.reshape(*leading, *x.shape[1:]))
        return restore(states), restore(hidden)

    def perturbations(self, *steps: int, part: int = 0) -> tuple[Float[Array, "..."] | None, ...]:
        """Returns for each layer zeros to add to its hidden states, or None unless `perturbations` is in use.

        The gradient of the loss with respect to `hidden_p_k` is dL/dh_t of layer k, for every t of part p.
        """
        names = [f"hidden_{part}_{layer}" for layer in range(self.layers)]
        in_use = self.is_mutable_collection("perturbations") or self.has_variable("perturbations", names[0])
        if self.is_initializing() or not in_use:
            return (None,) * len(names)
        zeros = jnp.zeros((*steps, self.hidden), self.config.dtype)
        return tuple(self.perturb(name, zeros) for name in names)

    def sow_activations(
        self, gates: tuple[Gates, ...], mask: Bool[Array, "*steps"], part: int = 0, inputs: LSTMInputs | None = None
    ) -> None:
        """Stores activations in the collection `gates`, if it is mutable: the gates of every layer as `gates_p_k`, the
        mask of valid steps as `mask_p`, and the stack's arguments, if passed, as `given_p`."""
        if self.is_initializing():
            return
        for layer, values in enumerate(gates):
            self.sow("gates", f"gates_{part}_{layer}", values)
        self.sow("gates", f"mask_{part}", mask)
        if inputs is not None:
            self.sow("gates", f"given_{part}", inputs)
