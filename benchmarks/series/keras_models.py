"""The three example autoencoders as commonly written in Keras, trained from our initial weights."""

import os
import time
from typing import Any, NamedTuple

import numpy as np
from jaxtyping import Float, PyTree

from hae_jax.batch import Signals
from hae_jax.config.series import SeriesConfig
from hae_jax.data.series import sample_series

# Keras reads this once, when it is first imported; its default is TensorFlow.
os.environ.setdefault("KERAS_BACKEND", "jax")

EPSILON = 1e-5
"""Of layer normalization, as in this package; Keras' own default is 1e-3."""


class KerasRun(NamedTuple):
    """Results of training in Keras.

    Attributes:
        losses: of every step's batch, before the update.
        error: mean squared error of held-out values.
        seconds: per step, the median of those after the first ten.
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

    def normalized(x: Any) -> Any:
        return keras.layers.LayerNormalization(epsilon=EPSILON)(x) if config.cell.layer_norm == "output" else x

    values, mask = keras.Input((steps, channels)), keras.Input((steps,), dtype="bool")
    x = values
    for size in config.sizes[:-1]:
        x = normalized(keras.layers.LSTM(size, return_sequences=True, **options)(x, mask=mask))
    x = normalized(keras.layers.LSTM(config.sizes[-1], **options)(x, mask=mask))
    x = keras.layers.RepeatVector(steps)(x)
    for size in config.sizes[::-1]:
        x = normalized(keras.layers.LSTM(size, return_sequences=True, **options)(x))
    return keras.Model([values, mask], keras.layers.Dense(channels)(x))


def keras_weights(params: PyTree) -> list[np.ndarray]:
    """Returns our parameters in the order of `keras_twin`'s; normalization biases that our model lacks are zeros."""
    weights = []
    for name in ("encoder_0", "decoder_0"):
        for _, stack in sorted(params[name].items()):
            leaves = stack["layer_0"]
            weights += [leaves[key] for key in ("kernel", "context", "recurrent", "bias") if key in leaves]
            if "output_gain" in leaves:
                weights += [leaves["output_gain"], leaves.get("output_bias", np.zeros_like(leaves["output_gain"]))]
    return [np.asarray(leaf) for leaf in (*weights, params["output"]["kernel"], params["output"]["bias"])]


def keras_train(config: SeriesConfig, params: PyTree, train_set: Signals, test_set: Signals) -> KerasRun:
    """Trains the Keras model on the same batches, with Adam and `clipnorm`, which clips each tensor."""
    import keras

    model = keras_twin(config, train_set.values.shape[-1], train_set.values.shape[1])
    model.set_weights(keras_weights(params))
    optim = config.optim
    model.compile(keras.optimizers.Adam(optim.learning_rate, clipnorm=optim.clip_norm), "mse")
    losses, times = [], []
    for step in range(config.steps):
        rows = sample_series(len(train_set.values), config.batch_size, config.seed, step)
        values, mask = np.asarray(train_set.values)[rows], np.asarray(train_set.mask)[rows]
        started = time.perf_counter()
        # Keras divides by all steps, this package by the real ones.
        weight = mask * (mask.size / mask.sum())
        losses.append(float(model.train_on_batch([values, mask], values, sample_weight=weight)))
        times.append(time.perf_counter() - started)
        model.reset_metrics()
    output = model.predict([np.asarray(test_set.values), np.asarray(test_set.mask)], verbose=0)
    squares = np.square(output - test_set.values)[np.asarray(test_set.mask)]
    return KerasRun(np.array(losses), float(squares.mean()), float(np.median(times[10:] or times)))
