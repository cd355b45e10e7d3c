"""LSTM layers of different sizes upon each other, as a Flax module."""

import dataclasses

import flax.linen as nn
import jax
from jaxtyping import Array, Bool, Float

from hae_jax.config import ModelConfig
from hae_jax.layers.cell import LSTMState
from hae_jax.layers.recurrent import LSTM
from hae_jax.layers.stack import States, stack_step, zero_states


class StackedLSTM(nn.Module):
    """A stack whose layers each have a size of their own: one-layer `LSTM`s, each reading what the one below says.

    Attributes:
        config: options of the cells; its number of layers plays no part.
        sizes: units of each layer, bottom first.
        feat: size of the inputs; 0 for a tower that reads nothing.
        vec: size of a context, read by the bottom layer at every step; 0 for a tower without one.
        tells: size of what the tower has to give back at each step, for the scheme "mirror"; 0 for one that reads.

    Example:
        >>> import jax.numpy as jnp
        >>> tower = StackedLSTM(ModelConfig(), sizes=(5, 3), feat=2)
        >>> x, mask = jnp.ones((4, 7, 2)), jnp.ones((4, 7), bool)
        >>> states, hidden = tower.apply(tower.init(jax.random.key(0), x, mask), x, mask)
        >>> hidden.shape, [state.hidden.shape for state in states]
        ((4, 7, 3), [(4, 5), (4, 3)])
    """

    config: ModelConfig
    sizes: tuple[int, ...]
    feat: int
    vec: int = 0
    tells: int = 0

    def setup(self) -> None:
        self._one = dataclasses.replace(self.config, layers=1)
        below = (self.feat, *self.sizes[:-1])
        vecs = (self.vec, *[0] * (len(self.sizes) - 1))
        self.layer = [LSTM(self._one, *each, tells=self.tells) for each in zip(self.sizes, below, vecs, strict=True)]

    def __call__(
        self,
        inputs: Float[Array, "*part time feat"] | None,
        mask: Bool[Array, "*batch time"],
        context: Float[Array, "*batch vec"] | None = None,
        train: bool = False,
        states: States | None = None,
    ) -> tuple[States, Float[Array, "*batch time hidden"]]:
        """Runs all layers over time, from states of zeros unless others are given; see `LSTM`.

        Returns:
            The states after each row's last real step, bottom layer first, and the top layer's output at every step.
        """
        last: list[LSTMState] = []
        hidden = inputs
        begun = (None,) * len(self.layer) if states is None else tuple((state,) for state in states)
        for layer, start in zip(self.layer, begun, strict=True):
            after, hidden = layer(hidden, mask, start, context, train)
            context = None
            last += after
        return tuple(last), hidden  # type: ignore[return-value]  # there is a layer

    def zeros(self, batch: int) -> States:
        """Returns the states before the first step."""
        return tuple(zero_states(self._one, batch, size)[0] for size in self.sizes)

    def step(
        self,
        states: States,
        inputs: Float[Array, "batch feat"] | None,
        context: Float[Array, "batch vec"] | None = None,
    ) -> tuple[States, Float[Array, "batch hidden"]]:
        """Advances all layers by one step, without noise; returns the states after it and the top layer's output."""
        after: list[LSTMState] = []
        hidden = inputs
        for layer, state in zip(self.layer, states, strict=True):
            noises = jax.tree.map(lambda x: x[:, 0], layer.noises(len(state.hidden), 1, False))
            fresh, hidden, _ = stack_step((state,), hidden, layer.weights(), noises, (None,), context)
            context = None
            after += fresh
        return tuple(after), hidden  # type: ignore[return-value]
