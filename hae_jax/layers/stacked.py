"""A stack of LSTM layers of different sizes as a Flax module."""

import flax.linen as nn
from jaxtyping import Array, Bool, Float

from hae_jax.config import CellConfig
from hae_jax.layers.cell import LSTMState
from hae_jax.layers.initializers import Scheme
from hae_jax.layers.mirror_init import SERIES_SIGNAL, Register
from hae_jax.layers.model_init import model_init
from hae_jax.layers.recurrent import LSTM
from hae_jax.layers.stack import States, stack_step, zero_states


class StackedLSTM(nn.Module):
    """A stack of one-layer `LSTM`s, each with a size of its own and the output of the layer below as its input.

    Attributes:
        config: options of the cells.
        sizes: units of each layer, bottom first.
        input_size: size of the inputs; 0 for a stack without inputs.
        context_size: size of the context, a second input of the bottom layer at every step; 0 for none.
        output_size: size of the vector that a decoder outputs at each step, for the initializer "mirror"; 0 for an
            encoder.

    Example:
        >>> import jax
        >>> import jax.numpy as jnp
        >>> stack = StackedLSTM(CellConfig(), sizes=(5, 3), input_size=2)
        >>> x, mask = jnp.ones((4, 7, 2)), jnp.ones((4, 7), bool)
        >>> states, hidden = stack.apply(stack.init(jax.random.key(0), x, mask), x, mask)
        >>> hidden.shape, [state.hidden.shape for state in states]
        ((4, 7, 3), [(4, 5), (4, 3)])
    """

    config: CellConfig
    sizes: tuple[int, ...]
    input_size: int
    context_size: int = 0
    output_size: int = 0

    def setup(self) -> None:
        input_sizes = (self.input_size, *self.sizes[:-1])
        context_sizes = (self.context_size, *[0] * (len(self.sizes) - 1))
        self.layer = [
            LSTM(self.config, hidden, input_size, context_size, schemes=self._schemes(input_size))
            for hidden, input_size, context_size in zip(self.sizes, input_sizes, context_sizes, strict=True)
        ]

    def _schemes(self, input_size: int) -> tuple[Scheme, ...]:
        """Returns the weight scheme of a layer; mirrored ones are those with which the benchmarks were measured."""
        register = Register(self.output_size or input_size, signal=SERIES_SIGNAL, exact=False)
        init = model_init(self.config)
        return init.decoder_layers(register, 1, False) if self.output_size else init.encoder_layers(register, 1)

    def __call__(
        self,
        inputs: Float[Array, "*part time feat"] | None,
        mask: Bool[Array, "*batch time"],
        context: Float[Array, "*batch context"] | None = None,
        train: bool = False,
        states: States | None = None,
    ) -> tuple[States, Float[Array, "*batch time hidden"]]:
        """Runs all layers over time, from states of zeros if `states` is None; see `LSTM`.

        Returns:
            The states after each row's last unmasked step, bottom layer first, and the top layer's output at every
            step.
        """
        last_states: list[LSTMState] = []
        hidden = inputs
        first_states = (None,) * len(self.layer) if states is None else tuple((state,) for state in states)
        for layer, first in zip(self.layer, first_states, strict=True):
            last, hidden = layer(hidden, mask, first, context, train)
            context = None
            last_states += last
        return tuple(last_states), hidden  # type: ignore[return-value]  # there is a layer

    def zeros(self, batch: int) -> States:
        """Returns states of zeros for every layer."""
        return tuple(zero_states(self.config, batch, size)[0] for size in self.sizes)

    def step(
        self,
        states: States,
        inputs: Float[Array, "batch feat"] | None,
        context: Float[Array, "batch context"] | None = None,
    ) -> tuple[States, Float[Array, "batch hidden"]]:
        """Advances all layers by one step without dropout; returns the new states and the top layer's output."""
        new_states: list[LSTMState] = []
        hidden = inputs
        for layer, state in zip(self.layer, states, strict=True):
            masks = layer.deterministic_masks(len(state.hidden))
            new, hidden, _ = stack_step((state,), hidden, layer.weights(), masks, (None,), context)
            context = None
            new_states += new
        return tuple(new_states), hidden  # type: ignore[return-value]
