"""Healthy recurrent models as Keras users write them."""

from collections.abc import Callable
from typing import Any

import numpy as np

from benchmarks.doctor.keras_models import (
    STEPS,
    VOCABULARY,
    Fitted,
    classifier,
    forecaster,
    language_model,
    series_autoencoder,
    translator,
    waves,
)


def masked_autoencoder() -> Fitted:
    """Returns an autoencoder of waves of different lengths, masked by `Masking` and by sample weights."""
    import keras
    from keras import layers

    x = waves()
    mask = np.arange(STEPS) < np.random.default_rng(1).integers(4, STEPS + 1, (len(x), 1))
    x = x * mask[..., None]
    model = keras.Sequential(
        [
            layers.Masking(0.0), layers.LSTM(24), layers.RepeatVector(STEPS), layers.LSTM(24, return_sequences=True),
            layers.Dense(x.shape[2]),
        ]
    )  # fmt: skip
    model.compile(keras.optimizers.Adam(5e-3), "mse")
    return Fitted(model, x, x, mask.astype(np.float32))


def variational_autoencoder() -> Fitted:
    """Returns a variational autoencoder of waves whose layer draws the code and adds the KL term."""
    import keras
    from keras import layers

    class Sampling(layers.Layer):
        def __init__(self, **options: Any):
            super().__init__(**options)
            self.seed_generator = keras.random.SeedGenerator(1)

        def call(self, inputs: Any) -> Any:
            mean, log_variance = inputs
            divergence = 1 + log_variance - keras.ops.square(mean) - keras.ops.exp(log_variance)
            self.add_loss(-0.001 * keras.ops.mean(keras.ops.sum(divergence, -1)))
            noise = keras.random.normal(keras.ops.shape(mean), seed=self.seed_generator)
            return mean + keras.ops.exp(0.5 * log_variance) * noise

    x = waves()
    inputs = keras.Input(x.shape[1:])
    hidden = layers.LSTM(32)(inputs)
    code = Sampling()([layers.Dense(8, name="mean")(hidden), layers.Dense(8, name="log_variance")(hidden)])
    decoded = layers.LSTM(32, return_sequences=True)(layers.RepeatVector(STEPS)(code))
    model = keras.Model(inputs, layers.TimeDistributed(layers.Dense(x.shape[2]))(decoded))
    model.compile(keras.optimizers.Adam(5e-3), "mse")
    return Fitted(model, x, x)


def hierarchy() -> Fitted:
    """Returns a classifier of documents: LSTMs over words, then over sentences."""
    import keras
    from keras import layers

    rng = np.random.default_rng(0)
    words = rng.integers(1, VOCABULARY, (512, 4, 6))
    y = (words < VOCABULARY // 2).mean((1, 2)) > 0.5
    sentence = keras.Sequential([layers.Embedding(VOCABULARY, 16), layers.LSTM(16)])
    inputs = keras.Input((4, 6), dtype="int32")
    document = layers.LSTM(16)(layers.TimeDistributed(sentence)(inputs))
    model = keras.Model(inputs, layers.Dense(2, activation="softmax")(document))
    model.compile(keras.optimizers.Adam(1e-2), "sparse_categorical_crossentropy")
    return Fitted(model, words, y.astype(np.int32))


def subclassed() -> Fitted:
    """Returns a language model that is a class of its own, with tied logits."""
    import keras
    from keras import layers

    class Tied(keras.Model):
        def __init__(self) -> None:
            super().__init__()
            self.embedding = layers.Embedding(VOCABULARY, 32)
            self.recurrent = layers.GRU(32, return_sequences=True)

        def call(self, ids: Any, training: bool = False) -> Any:
            hidden = self.recurrent(self.embedding(ids), training=training)
            return keras.ops.matmul(hidden, keras.ops.transpose(self.embedding.embeddings))

    model = Tied()
    model.compile(keras.optimizers.Adam(1e-2), keras.losses.SparseCategoricalCrossentropy(from_logits=True))
    _, x, y, _ = language_model()
    return Fitted(model, x, y)


def two_inputs() -> Fitted:
    """Returns a model of a wave and of numbers beside it, with two outputs."""
    import keras
    from keras import layers

    x = waves(steps=STEPS + 1)
    numbers = np.random.default_rng(2).normal(size=(len(x), 3)).astype(np.float32)
    series, others = keras.Input((STEPS, 2), name="series"), keras.Input((3,), name="numbers")
    hidden = layers.Concatenate()([layers.Bidirectional(layers.GRU(16))(series), others])
    following = layers.Dense(2, name="next")(hidden)
    label = layers.Dense(1, activation="sigmoid", name="label")(hidden)
    model = keras.Model({"series": series, "numbers": others}, {"next": following, "label": label})
    model.compile(
        keras.optimizers.Adam(1e-2),
        {"next": "mse", "label": "binary_crossentropy"},
        loss_weights={"next": 1.0, "label": 0.3},
    )
    labels = (numbers.sum(1) + x[:, -2, 0] > 0).astype(np.float32)
    return Fitted(model, {"series": x[:, :-1], "numbers": numbers}, {"next": x[:, -1], "label": labels})


HEALTHY: tuple[tuple[str, Callable[[], Fitted], str], ...] = tuple(
    (name, function, "healthy")
    for name, function in (
        ("autoencoder", series_autoencoder),
        ("autoencoder, layer normalization", lambda: series_autoencoder(norm=True)),
        ("autoencoder, GRU", lambda: series_autoencoder(layer="GRU")),
        ("translator", translator),
        ("translator, backwards", lambda: translator(backwards=True)),
        ("translator, dropout", lambda: translator(dropout=0.1, recurrent_dropout=0.1)),
        ("language model", language_model),
        ("language model, two layers", lambda: language_model(depth=2, dropout=0.2)),
        ("language model, GRU", lambda: language_model(layer="GRU")),
        ("classifier", classifier),
        ("classifier, one direction", lambda: classifier(bidirectional=False, dropout=0.2)),
        ("forecaster", forecaster),
        ("forecaster, GRU", lambda: forecaster(layer="GRU")),
        ("forecaster, convolution", lambda: forecaster(convolution=True)),
        ("autoencoder, masking", masked_autoencoder),
        ("variational autoencoder", variational_autoencoder),
        ("hierarchy", hierarchy),
        ("class", subclassed),
        ("two inputs and outputs", two_inputs),
    )
)
"""Names, functions that build the arguments of `examine`, and "healthy"."""
