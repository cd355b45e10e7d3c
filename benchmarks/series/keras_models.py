"""The article's three autoencoders as everybody writes them in Keras, started from our weights and trained."""

import os
import time
from typing import Any, NamedTuple

import numpy as np
from jaxtyping import Float, PyTree

from hae_jax.batch import Signals
from hae_jax.config.series import SeriesConfig
from hae_jax.data.series import sample_series

# Keras asks once, when it is first imported; without an answer it wants TensorFlow.
os.environ.setdefault("KERAS_BACKEND", "jax")

EPSILON = 1e-5
"""Of layer normalisation, as here; Keras' own default is 1e-3."""


class KerasRun(NamedTuple):
    """How a training in Keras went.

    Attributes:
        losses: of every step's batch, before the step.
        error: mean squared error of held-out values.
        seconds: a step, the median of those after the first ten.
    """

    losses: Float[np.ndarray, "step"]
    error: float
    seconds: float


def keras_twin(config: SeriesConfig, channels: int, steps: int) -> Any:
    """Returns a Keras model: LSTM, LSTM, RepeatVector, LSTM, LSTM, Dense; its second input is a mask of the steps."""
    import keras

    options = {
        "use_bias": config.cell.use_bias, "dropout": config.cell.input_dropout,
        "recurrent_dropout": config.cell.recurrent_dropout,
    }  # fmt: skip

    def normalised(x: Any) -> Any:
        return keras.layers.LayerNormalization(epsilon=EPSILON)(x) if config.cell.layer_norm == "output" else x

    values, mask = keras.Input((steps, channels)), keras.Input((steps,), dtype="bool")
    x = values
    for size in config.sizes[:-1]:
        x = normalised(keras.layers.LSTM(size, return_sequences=True, **options)(x, mask=mask))
    x = normalised(keras.layers.LSTM(config.sizes[-1], **options)(x, mask=mask))
    x = keras.layers.RepeatVector(steps)(x)
    for size in config.sizes[::-1]:
        x = normalised(keras.layers.LSTM(size, return_sequences=True, **options)(x))
    return keras.Model([values, mask], keras.layers.Dense(channels)(x))


def keras_weights(params: PyTree) -> list[np.ndarray]:
    """Returns our parameters in the order of `keras_twin`'s; biases of normalisations that we lack are zeros."""
    found = []
    for name in ("encoder_0", "decoder_0"):
        for _, stack in sorted(params[name].items()):
            leaves = stack["layer_0"]
            found += [leaves[key] for key in ("kernel", "context", "recurrent", "bias") if key in leaves]
            if "output_gain" in leaves:
                found += [leaves["output_gain"], leaves.get("output_bias", np.zeros_like(leaves["output_gain"]))]
    return [np.asarray(leaf) for leaf in (*found, params["output"]["kernel"], params["output"]["bias"])]


def keras_train(config: SeriesConfig, params: PyTree, data: Signals, held: Signals) -> KerasRun:
    """Trains the twin on the batches on which we train, with `clipnorm` for the clip of each tensor, and Adam."""
    import keras

    twin = keras_twin(config, data.values.shape[-1], data.values.shape[1])
    twin.set_weights(keras_weights(params))
    optim = config.optim
    twin.compile(keras.optimizers.Adam(optim.learning_rate, clipnorm=optim.clip_norm), "mse")
    losses, times = [], []
    for step in range(config.steps):
        rows = sample_series(len(data.values), config.batch_size, config.seed, step)
        values, mask = np.asarray(data.values)[rows], np.asarray(data.mask)[rows]
        started = time.perf_counter()
        # Keras divides by all steps, we by the real ones.
        weight = mask * (mask.size / mask.sum())
        losses.append(float(twin.train_on_batch([values, mask], values, sample_weight=weight)))
        times.append(time.perf_counter() - started)
        twin.reset_metrics()
    said = twin.predict([np.asarray(held.values), np.asarray(held.mask)], verbose=0)
    squares = np.square(said - held.values)[np.asarray(held.mask)]
    return KerasRun(np.array(losses), float(squares.mean()), float(np.median(times[10:] or times)))
