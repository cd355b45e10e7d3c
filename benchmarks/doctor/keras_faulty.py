"""Faults of recurrent models as Keras users make them."""

from collections.abc import Callable
from typing import Any

from benchmarks.doctor.keras_models import (
    VOCABULARY,
    Fitted,
    forecaster,
    language_model,
    series_autoencoder,
    translator,
    waves,
)


def optimizer(name: str, *arguments: Any, **options: Any) -> Any:
    """Returns an optimizer of Keras by name."""
    import keras

    return getattr(keras.optimizers, name)(*arguments, **options)


def summed(name: str) -> Any:
    """Returns a loss of Keras that adds up positions instead of taking their mean."""
    import keras

    return getattr(keras.losses, name)(reduction="sum")


def normal(deviation: float) -> Any:
    """Returns an initializer that draws from a normal distribution."""
    import keras

    return keras.initializers.RandomNormal(stddev=deviation)


def from_logits() -> Any:
    """Returns a cross-entropy of logits."""
    import keras

    return keras.losses.SparseCategoricalCrossentropy(from_logits=True)


def scrambled() -> Fitted:
    """Returns an autoencoder whose targets are in another order than its inputs."""
    fitted = series_autoencoder()
    return fitted._replace(y=fitted.x[::-1].copy()[fitted.x[:, 0, 0].argsort()])


def time_first() -> Fitted:
    """Returns an autoencoder whose LSTMs read `[time, example, channel]`, as those of PyTorch do by default."""
    import keras
    from keras import layers

    x = waves()
    inputs = keras.Input(x.shape[1:])
    turned = layers.Lambda(lambda x: keras.ops.transpose(x, (1, 0, 2)))(inputs)
    hidden = layers.LSTM(24, return_sequences=True)(layers.LSTM(24, return_sequences=True)(turned))
    outputs = layers.Dense(x.shape[2])(layers.Lambda(lambda x: keras.ops.transpose(x, (1, 0, 2)))(hidden))
    model = keras.Model(inputs, outputs)
    model.compile(keras.optimizers.Adam(5e-3), "mse")
    return Fitted(model, x, x)


def always_dropped() -> Fitted:
    """Returns an autoencoder whose dropout is also active in evaluation."""
    import keras
    from keras import layers

    x = waves()
    inputs = keras.Input(x.shape[1:])
    code = layers.Dropout(0.3)(layers.LSTM(24)(inputs), training=True)
    hidden = layers.LSTM(24, return_sequences=True)(layers.RepeatVector(x.shape[1])(code))
    model = keras.Model(inputs, layers.Dense(x.shape[2])(hidden))
    model.compile(keras.optimizers.Adam(5e-3), "mse")
    return Fitted(model, x, x)


def normalized_over_time() -> Fitted:
    """Returns a language model whose layer normalization is over the steps."""
    import keras
    from keras import layers

    _, x, y, _ = language_model()
    model = keras.Sequential(
        [
            layers.Embedding(VOCABULARY, 24), layers.LSTM(32, return_sequences=True),
            layers.LayerNormalization(axis=1), layers.Dense(VOCABULARY, activation="softmax"),
        ]
    )  # fmt: skip
    model.compile(keras.optimizers.Adam(1e-2), "sparse_categorical_crossentropy")
    return Fitted(model, x, y)


FAULTY: tuple[tuple[str, Callable[[], Any], str], ...] = (
    ("no bias, sequential", lambda: series_autoencoder(steps=50, use_bias=False), "forget-gate-closed"),
    ("no bias, normalized", lambda: series_autoencoder(steps=50, use_bias=False, norm=True), "forget-gate-closed"),
    ("kernels of deviation 1", lambda: series_autoencoder(recurrent_initializer=normal(1.0), steps=30),
     "exploding-recurrence"),
    ("relu", lambda: series_autoencoder(activation="relu"), "unbounded-activation"),
    ("relu, words", lambda: language_model(activation="relu"), "unbounded-activation"),
    ("kernels of deviation 20", lambda: series_autoencoder(kernel_initializer=normal(20.0)), "gates-saturated"),
    ("inputs of thousands", lambda: series_autoencoder(scale=3000.0), "inputs-unscaled"),
    ("forecast of hundreds", lambda: forecaster(scale=500.0), "inputs-unscaled"),
    ("rate of 1", lambda: series_autoencoder(optimizer=optimizer("Adam", 1.0)), "learning-rate-too-high"),
    ("RMSprop, rate of 0.5", lambda: language_model(optimizer=optimizer("RMSprop", 0.5)), "learning-rate-too-high"),
    ("rate of 1e-7", lambda: series_autoencoder(optimizer=optimizer("Adam", 1e-7)), "learning-rate-too-low"),
    ("SGD, rate of 1e-5", lambda: translator(optimizer=optimizer("SGD", 1e-5)), "learning-rate-too-low"),
    ("clipnorm of 1e-4", lambda: series_autoencoder(optimizer=optimizer("SGD", 0.1, clipnorm=1e-4)), "clip-too-tight"),
    ("global_clipnorm of 1e-3", lambda: language_model(optimizer=optimizer("SGD", 0.5, global_clipnorm=1e-3)),
     "clip-too-tight"),
    ("softmax twice", lambda: language_model(loss=from_logits()), "softmax-twice"),
    ("softmax twice, functional", lambda: translator(loss=from_logits()), "softmax-twice"),
    ("decoder reads its target", lambda: translator(leak=True), "target-leak"),
    ("decoder without state", lambda: translator(wired=False), "code-unwired"),
    ("[c, h] for [h, c]", lambda: translator(swapped=True), "state-swapped"),
    ("trainable left False", lambda: translator(frozen=True), "frozen-parameters"),
    ("sum of squares", lambda: series_autoencoder(loss=summed("MeanSquaredError")), "loss-reduction"),
    ("sum of cross-entropies", lambda: language_model(loss=summed("SparseCategoricalCrossentropy")), "loss-reduction"),
    ("targets in another order", scrambled, "targets-scrambled"),
    ("sigmoid output", lambda: series_autoencoder(output="sigmoid"), "bottleneck-too-small"),
    ("padding read", lambda: translator(masked=(False, True)), "padding-in-encoder"),
    ("padding counted", lambda: translator(masked=(True, False)), "padding-in-loss"),
    ("weight decay of 5", lambda: series_autoencoder(optimizer=optimizer("AdamW", 5e-3, weight_decay=5.0)),
     "over-regularised"),
    ("time first", time_first, "axes-swapped"),
    ("training=True", always_dropped, "dropout-wrong"),
    ("normalized over time", normalized_over_time, "layer-norm-misuse"),
)  # fmt: skip
"""Names, functions that build the arguments of `examine`, and causes to be reported first."""
