"""The autoencoder of continuous series: flat, or windows -> segments -> series, with squared error."""

import dataclasses

import flax.linen as nn
import jax.numpy as jnp
from jaxtyping import Array, Bool, Float

from hae_jax.batch import Signals
from hae_jax.config.series import SeriesConfig
from hae_jax.layers import mirror_init
from hae_jax.layers.cell import layer_output
from hae_jax.layers.dropout import dropout_mask
from hae_jax.layers.losses import squared_error
from hae_jax.layers.stack import States
from hae_jax.layers.stacked import StackedLSTM
from hae_jax.models.bridge import Bridge, initial_states
from hae_jax.models.outputs import Code, Losses
from hae_jax.models.windows import join_windows, split_windows, window_masks


class Series(nn.Module):
    """Turns series of several channels into codes, and codes into series.

    Without spans it is the stack that everybody writes first, its layers all reading every step. With spans each layer
    is a level, as words and sentences are of a text: the bottom layer reads each window by itself, the next one the
    windows' vectors, and so on. The decoder mirrors the encoder; every one of its levels reads a vector of the level
    above at each of its steps, so that the way from a value to the code is as short as the levels are, and all windows
    are decoded side by side.

    With the scheme "mirror" each level piles up what it reads, and an affine map turns the pile into a vector; the
    decoder's starts from the pile that another one makes of the vector. `hae_jax.training.pca_init` finds both maps.

    The length is given, not decoded: a series is decoded for the steps of a mask.

    Attributes:
        config: sizes and options.
        channels: number of channels.

    Example:
        >>> import jax
        >>> model = Series(SeriesConfig(sizes=(5, 3)), channels=2)
        >>> batch = Signals(jnp.ones((4, 7, 2)), jnp.ones((4, 7, 2), bool), jnp.ones((4, 7), bool))
        >>> params = model.init(jax.random.key(0), batch)
        >>> model.apply(params, batch, method="encode").document.shape
        (4, 3)

    Reference:
        Srivastava, Mansimov & Salakhutdinov, 2015, https://arxiv.org/abs/1502.04681; for anomalies: Malhotra et al.,
        2016, https://arxiv.org/abs/1607.00148
    """

    config: SeriesConfig
    channels: int

    def setup(self) -> None:
        config, levels = self.config, len(self.config.spans) + 1
        # What each level says at a step, and what an encoder's reads: one that knows of missing values reads beside
        # each value whether there was one.
        said = [self.channels, *config.sizes[: levels - 1]]
        feat = [self.channels * (2 if config.missing else 1), *said[1:]]
        told = [self.channels if config.decoding == "previous" else 0, *[0] * (levels - 1)]
        stacks = [(size,) for size in self.units] if levels > 1 or config.memory else [config.sizes]
        # A mirrored level says vectors of the level below; any other shows its states.
        above = config.sizes if config.memory else (*config.sizes[1:levels], config.sizes[-1])
        tells = said if config.memory else [0] * levels
        self.encoder = [StackedLSTM(config.cell, *each) for each in zip(stacks, feat, strict=True)]
        self.decoder = [
            StackedLSTM(config.cell, stack[::-1], *each)
            for stack, *each in zip(stacks, told, above, tells, strict=True)
        ]
        self.output = self._said(self.channels)
        if config.memory:
            one = dataclasses.replace(config.cell, layers=1)
            self.summary = [nn.Dense(size) for size in config.sizes]
            self.opening = [
                Bridge(one, *each) for each in zip(self.units, config.sizes, said, strict=True)
            ]  # fmt: skip
            self.readout = [self._said(size) for size in said[1:]]

    def _said(self, size: int) -> nn.Dense:
        """Makes the layer that reads off a decoder's state what is said."""
        if not self.config.memory:
            return nn.Dense(size)
        return nn.Dense(
            size, kernel_init=mirror_init.first_block_readout(1 / (mirror_init.INPUT_STD * mirror_init.GATE_GAIN))
        )

    @property
    def units(self) -> tuple[int, ...]:
        """Units of each level's LSTM, or of each layer of a flat stack, bottom first."""
        config = self.config
        if not config.memory:
            return config.sizes
        feat = [self.channels * (2 if config.missing else 1), *config.sizes[:-1]]
        return (*(span * size for span, size in zip(config.spans, feat, strict=False)), config.memory)

    def __call__(self, batch: Signals, train: bool = False) -> Losses:
        """Sums the squared errors of all observed values, encoded and decoded.

        Args:
            batch: the series.
            train: draws dropout from the stream `dropout`.
        """
        contexts = self._contexts(self._read(batch, train), batch.mask, train)
        real = batch.observed & batch.mask[..., None]
        prediction = self._write(contexts, batch.mask, jnp.where(real, batch.values, 0), train)
        return Losses(squared_error(prediction, batch.values, real))

    def encode(self, batch: Signals) -> Code:
        """Returns the codes of series."""
        return Code(self._read(batch, False))

    def decode(self, code: Code, mask: Bool[Array, "series time"]) -> Float[Array, "series time channel"]:
        """Returns the series of codes, for the real steps of a mask; zeros elsewhere. No true value is seen."""
        contexts = self._contexts(code.document, mask, False)
        if self.config.decoding == "previous":
            said = self._say(contexts, mask)
        else:
            said = self._write(contexts, mask, None, False)
        return jnp.where(mask[..., None], said, 0)

    def _read(self, batch: Signals, train: bool) -> Float[Array, "series code"]:
        observed = batch.observed & batch.mask[..., None]
        inputs, mask = jnp.where(observed, batch.values, 0), batch.mask
        if self.config.missing:
            inputs = jnp.concatenate([inputs, observed.astype(inputs.dtype)], axis=-1)
        inputs = inputs.astype(self.config.cell.dtype)
        for level in range(len(self.encoder)):
            if level < len(self.config.spans):
                inputs, mask = (split_windows(x, self.config.spans[level]) for x in (inputs, mask))
            inputs = self.pile(level, inputs, mask, train)
            if self.config.memory:
                inputs = self.summary[level](inputs).astype(self.config.cell.dtype)
            mask = mask.any(-1)
        return inputs

    def pile(
        self, level: int, inputs: Float[Array, "*part time feat"], mask: Bool[Array, "*part time"], train: bool = False
    ) -> Float[Array, "*part hidden"]:
        """Returns the states in which a level of the encoder ends that reads these inputs."""
        time, tower = mask.ndim - 1, self.encoder[level]
        read = (inputs, mask) if not self.config.reverse else (jnp.flip(inputs, time), jnp.flip(mask, time))
        states, _ = tower(*read, train=train)
        return layer_output(states[-1].hidden, tower.layer[-1].weights()[-1])

    def tell(
        self,
        level: int,
        vectors: Float[Array, "*part vec"],
        mask: Bool[Array, "*part time"],
        inputs: Float[Array, "*part time feat"] | None = None,
        train: bool = False,
        start: Float[Array, "*part hidden"] | None = None,
    ) -> Float[Array, "*part time _"]:
        """Returns what a level of the decoder says at every step: vectors for the level below, or values.

        Args:
            level: from 0, which says values.
            vectors: what it reads at every step, and, if mirrored, starts from.
            mask: True where a step is real.
            inputs: what else it reads.
            train: draws dropout.
            start: hidden states to start in instead.
        """
        states = self._opened(level, vectors)
        if states is not None and start is not None:
            states = (states[0]._replace(hidden=start),)
        _, hidden = self.decoder[level](inputs, mask, vectors, train, states)
        if level == 0:
            return self.output(hidden)
        return self.readout[level - 1](hidden).astype(vectors.dtype) if self.config.memory else hidden

    def _opened(self, level: int, vectors: Float[Array, "*part vec"]) -> States | None:
        """Returns the states in which a level of the decoder starts; None for zeros."""
        if not self.config.memory:
            return None
        return initial_states(vectors.reshape(-1, vectors.shape[-1]), self.opening[level](), self.opening[level].config)

    def _contexts(
        self, code: Float[Array, "series code"], mask: Bool[Array, "series time"], train: bool
    ) -> Float[Array, "*window vec"]:
        """Runs all levels above the bottom one; returns what the bottom level reads at every step, one a window."""
        masks = window_masks(mask, self.config.spans)
        vectors = self._drop(code, train)
        for level in range(len(self.decoder) - 1, 0, -1):
            real = (
                masks[level]
                if level == len(self.config.spans)
                else split_windows(masks[level], self.config.spans[level])
            )
            said = self.tell(level, vectors, real, train=train)
            vectors = said if level == len(self.config.spans) else join_windows(said, masks[level].shape[1])
            vectors = self._drop(vectors, train)
        return vectors

    def _write(
        self,
        contexts: Float[Array, "*window vec"],
        mask: Bool[Array, "series time"],
        values: Float[Array, "series time channel"] | None,
        train: bool,
    ) -> Float[Array, "series time channel"]:
        """Decodes all steps at once; `values` are what a decoder that reads the previous value is told."""
        windows = (lambda x: split_windows(x, self.config.spans[0])) if self.config.spans else (lambda x: x)
        inputs = None
        if self.config.decoding == "previous" and values is not None:
            inputs = windows(values.astype(self.config.cell.dtype))
            inputs = jnp.pad(inputs, [(0, 0)] * (inputs.ndim - 2) + [(1, 0), (0, 0)])[..., :-1, :]
        said = self.tell(0, contexts, windows(mask), inputs, train)
        said = join_windows(said, mask.shape[1]) if self.config.spans else said
        return said.astype(jnp.promote_types(said.dtype, jnp.float32))

    def _say(
        self, contexts: Float[Array, "*window vec"], mask: Bool[Array, "series time"]
    ) -> Float[Array, "series time channel"]:
        """Decodes step by step, each window by itself, each step told what was said before it."""
        rows = contexts.reshape(-1, contexts.shape[-1])
        span = self.config.spans[0] if self.config.spans else mask.shape[1]
        said = jnp.zeros((len(rows), self.channels), rows.dtype)
        states = self._opened(0, rows) or self.decoder[0].zeros(len(rows))
        advance = nn.scan(
            lambda module, carry, _: module._advance(carry, rows), variable_broadcast="params",
            split_rngs={"params": False}, length=span,
        )  # fmt: skip
        _, steps = advance(self, (states, said), None)
        windows = jnp.swapaxes(steps, 0, 1).reshape(*contexts.shape[:-1], span, self.channels)
        said = join_windows(windows, mask.shape[1]) if self.config.spans else windows
        return said.astype(jnp.promote_types(said.dtype, jnp.float32))

    def _advance(self, carry, rows):
        states, said = carry
        states, hidden = self.decoder[0].step(states, said, rows)
        said = self.output(hidden).astype(rows.dtype)
        return (states, said), said

    def _drop(self, vectors: Float[Array, "*batch vec"], train: bool) -> Float[Array, "*batch vec"]:
        """Input dropout of what a decoder reads at every step, as of a Keras layer behind a RepeatVector."""
        rate = self.config.cell.input_dropout
        if not (train and rate):
            return vectors
        return vectors * dropout_mask(self.make_rng("dropout"), rate, vectors.shape).astype(vectors.dtype)
