"""The autoencoder of continuous series: flat, or windows -> segments -> series, with squared error."""

import flax.linen as nn
import jax.numpy as jnp
from jaxtyping import Array, Bool, Float

from hae_jax.batch import Signals
from hae_jax.config.series import SeriesConfig
from hae_jax.layers.cell import layer_output
from hae_jax.layers.dropout import dropout_mask
from hae_jax.layers.losses import squared_error
from hae_jax.layers.mirror_init import SERIES_SIGNAL, Register
from hae_jax.layers.model_init import model_init
from hae_jax.layers.stack import States
from hae_jax.layers.stacked import StackedLSTM
from hae_jax.models.bridge import Bridge, initial_states
from hae_jax.models.outputs import Code, Losses
from hae_jax.models.windows import join_windows, split_windows, window_masks


class Series(nn.Module):
    """Encodes series of several channels into codes, and decodes codes into series.

    Without spans it is an ordinary stack of LSTM layers, which all read every step. With spans each layer is a level,
    like the words and sentences of a text: the bottom layer encodes each window independently, the next one the
    windows' vectors, and so on. The decoder mirrors the encoder; the input of each of its levels at every step is a
    vector of the level above. The path from a value to the code is therefore as short as the levels' spans, and all
    windows are decoded in parallel.

    With the initializer "mirror" each level of the encoder is a shift register, and an affine map compresses its state
    to a vector; another affine map expands the vector to the initial state of the decoder's level.
    `hae_jax.training.pca_init` computes both maps.

    The length is an argument, and not decoded: a series is decoded for the steps of a mask.

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
        readout = model_init(config.cell).series_readout
        # Sizes of the vectors that each level of the decoder outputs at a step: values, or vectors of the level below.
        outputs = [self.channels, *config.sizes[: levels - 1]]
        # With missing values, the bottom encoder has a second input per channel: whether the value was observed.
        inputs = [self.channels * (2 if config.missing else 1), *outputs[1:]]
        previous = [self.channels if config.decoding == "previous" else 0, *[0] * (levels - 1)]
        stacks = [(size,) for size in self.units] if levels > 1 or config.memory else [config.sizes]
        # With `memory` a level's vector is of its configured size; otherwise it is the state of the level above.
        contexts = config.sizes if config.memory else (*config.sizes[1:levels], config.sizes[-1])
        output_sizes = outputs if config.memory else [0] * levels
        self.encoder = [StackedLSTM(config.cell, *sizes) for sizes in zip(stacks, inputs, strict=True)]
        self.decoder = [
            StackedLSTM(config.cell, stack[::-1], *sizes)
            for stack, *sizes in zip(stacks, previous, contexts, output_sizes, strict=True)
        ]
        self.output = nn.Dense(self.channels, kernel_init=readout)
        if config.memory:
            self.summary = [nn.Dense(size) for size in config.sizes]
            # Flax folds names of submodules into random keys and parameter paths: "opening" is that of saved models.
            self.bridge = [
                Bridge(config.cell, units, size, _register(output), name=f"opening_{level}")
                for level, (units, size, output) in enumerate(zip(self.units, config.sizes, outputs, strict=True))
            ]
            self.readout = [nn.Dense(size, kernel_init=readout) for size in outputs[1:]]

    @property
    def units(self) -> tuple[int, ...]:
        """Units of each level's LSTM, or of each layer of a flat stack, bottom first."""
        config = self.config
        if not config.memory:
            return config.sizes
        inputs = [self.channels * (2 if config.missing else 1), *config.sizes[:-1]]
        return (*(span * size for span, size in zip(config.spans, inputs, strict=False)), config.memory)

    def __call__(self, batch: Signals, train: bool = False) -> Losses:
        """Sums the squared errors of all observed values, encoded and decoded.

        Args:
            batch: the series.
            train: samples dropout from the stream `dropout`.
        """
        contexts = self._contexts(self._encode(batch, train), batch.mask, train)
        observed = batch.observed & batch.mask[..., None]
        prediction = self._decode_parallel(contexts, batch.mask, jnp.where(observed, batch.values, 0), train)
        return Losses(squared_error(prediction, batch.values, observed))

    def encode(self, batch: Signals) -> Code:
        """Returns the codes of series."""
        return Code(self._encode(batch, False))

    def decode(self, code: Code, mask: Bool[Array, "series time"]) -> Float[Array, "series time channel"]:
        """Decodes codes, free-running, for the steps of a mask; zeros elsewhere."""
        contexts = self._contexts(code.document, mask, False)
        if self.config.decoding == "previous":
            values = self._decode_sequential(contexts, mask)
        else:
            values = self._decode_parallel(contexts, mask, None, False)
        return jnp.where(mask[..., None], values, 0)

    def _encode(self, batch: Signals, train: bool) -> Float[Array, "series code"]:
        observed = batch.observed & batch.mask[..., None]
        inputs, mask = jnp.where(observed, batch.values, 0), batch.mask
        if self.config.missing:
            inputs = jnp.concatenate([inputs, observed.astype(inputs.dtype)], axis=-1)
        inputs = inputs.astype(self.config.cell.dtype)
        for level in range(len(self.encoder)):
            if level < len(self.config.spans):
                inputs, mask = (split_windows(x, self.config.spans[level]) for x in (inputs, mask))
            inputs = self.encode_level(level, inputs, mask, train)
            if self.config.memory:
                inputs = self.summary[level](inputs).astype(self.config.cell.dtype)
            mask = mask.any(-1)
        return inputs

    def encode_level(
        self, level: int, inputs: Float[Array, "*part time feat"], mask: Bool[Array, "*part time"], train: bool = False
    ) -> Float[Array, "*part hidden"]:
        """Returns the last output of a level of the encoder, given its inputs."""
        time, stack = mask.ndim - 1, self.encoder[level]
        if self.config.reverse:
            inputs, mask = jnp.flip(inputs, time), jnp.flip(mask, time)
        states, _ = stack(inputs, mask, train=train)
        return layer_output(states[-1].hidden, stack.layer[-1].weights()[-1])

    def decode_level(
        self,
        level: int,
        vectors: Float[Array, "*part vec"],
        mask: Bool[Array, "*part time"],
        inputs: Float[Array, "*part time feat"] | None = None,
        train: bool = False,
        start: Float[Array, "*part hidden"] | None = None,
    ) -> Float[Array, "*part time _"]:
        """Returns the outputs of a level of the decoder at every step: vectors for the level below, or values.

        Args:
            level: number of the level; level 0 outputs values.
            vectors: its input at every step, from which, with `memory`, its initial states are computed as well.
            mask: True where a step is valid.
            inputs: second input at every step.
            train: samples dropout.
            start: initial hidden states, instead of those computed from the vectors.
        """
        states = self._initial_states(level, vectors)
        if states is not None and start is not None:
            states = (states[0]._replace(hidden=start),)
        _, hidden = self.decoder[level](inputs, mask, vectors, train, states)
        if level == 0:
            return self.output(hidden)
        return self.readout[level - 1](hidden).astype(vectors.dtype) if self.config.memory else hidden

    def _initial_states(self, level: int, vectors: Float[Array, "*part vec"]) -> States | None:
        """Returns the initial states of a level of the decoder; None for zeros."""
        if not self.config.memory:
            return None
        return initial_states(vectors.reshape(-1, vectors.shape[-1]), self.bridge[level](), self.config.cell)

    def _contexts(
        self, code: Float[Array, "series code"], mask: Bool[Array, "series time"], train: bool
    ) -> Float[Array, "*window vec"]:
        """Decodes all levels above the bottom one; returns the bottom level's input, one vector per window."""
        masks = window_masks(mask, self.config.spans)
        vectors = self._dropout(code, train)
        for level in range(len(self.decoder) - 1, 0, -1):
            if level == len(self.config.spans):
                vectors = self.decode_level(level, vectors, masks[level], train=train)
            else:
                windows = split_windows(masks[level], self.config.spans[level])
                outputs = self.decode_level(level, vectors, windows, train=train)
                vectors = join_windows(outputs, masks[level].shape[1])
            vectors = self._dropout(vectors, train)
        return vectors

    def _decode_parallel(
        self,
        contexts: Float[Array, "*window vec"],
        mask: Bool[Array, "series time"],
        values: Float[Array, "series time channel"] | None,
        train: bool,
    ) -> Float[Array, "series time channel"]:
        """Decodes all windows in parallel; with `decoding="previous"` teacher-forced with the true `values`."""
        windows = (lambda x: split_windows(x, self.config.spans[0])) if self.config.spans else (lambda x: x)
        inputs = None
        if self.config.decoding == "previous" and values is not None:
            inputs = windows(values.astype(self.config.cell.dtype))
            inputs = jnp.pad(inputs, [(0, 0)] * (inputs.ndim - 2) + [(1, 0), (0, 0)])[..., :-1, :]
        outputs = self.decode_level(0, contexts, windows(mask), inputs, train)
        outputs = join_windows(outputs, mask.shape[1]) if self.config.spans else outputs
        return outputs.astype(jnp.promote_types(outputs.dtype, jnp.float32))

    def _decode_sequential(
        self, contexts: Float[Array, "*window vec"], mask: Bool[Array, "series time"]
    ) -> Float[Array, "series time channel"]:
        """Decodes step by step, free-running: the input of a step is the output of the previous one in its window."""
        rows = contexts.reshape(-1, contexts.shape[-1])
        span = self.config.spans[0] if self.config.spans else mask.shape[1]
        start = jnp.zeros((len(rows), self.channels), rows.dtype)
        states = self._initial_states(0, rows) or self.decoder[0].zeros(len(rows))
        advance = nn.scan(
            lambda module, carry, _: module._advance(carry, rows), variable_broadcast="params",
            split_rngs={"params": False}, length=span,
        )  # fmt: skip
        _, steps = advance(self, (states, start), None)
        windows = jnp.swapaxes(steps, 0, 1).reshape(*contexts.shape[:-1], span, self.channels)
        outputs = join_windows(windows, mask.shape[1]) if self.config.spans else windows
        return outputs.astype(jnp.promote_types(outputs.dtype, jnp.float32))

    def _advance(self, carry, rows):
        states, previous = carry
        states, hidden = self.decoder[0].step(states, previous, rows)
        output = self.output(hidden).astype(rows.dtype)
        return (states, output), output

    def _dropout(self, vectors: Float[Array, "*batch vec"], train: bool) -> Float[Array, "*batch vec"]:
        """Applies input dropout to the decoder's input at every step, like a Keras layer after a RepeatVector."""
        rate = self.config.cell.input_dropout
        if not (train and rate):
            return vectors
        return vectors * dropout_mask(self.make_rng("dropout"), rate, vectors.shape).astype(vectors.dtype)


def _register(size: int) -> Register:
    """Returns the register of a decoder that outputs vectors of this size, as in `StackedLSTM`."""
    return Register(size, signal=SERIES_SIGNAL, exact=False)
