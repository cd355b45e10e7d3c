"""Small recurrent models as Keras users write them, compiled, with their data; options inject faults."""

import os
from typing import Any, NamedTuple

import numpy as np

# Keras reads this once, when it is first imported; its default is TensorFlow.
os.environ.setdefault("KERAS_BACKEND", "jax")

VOCABULARY, STEPS, EXAMPLES = 24, 12, 768
"""Number of ids, of steps and of examples."""


class Fitted(NamedTuple):
    """What `fit` would be called with.

    Attributes:
        model: the compiled model.
        x: inputs.
        y: targets.
        sample_weight: weights, or None.
    """

    model: Any
    x: Any
    y: Any
    sample_weight: Any = None


def waves(seed: int = 0, steps: int = STEPS, channels: int = 2) -> np.ndarray:
    """Returns sine waves of random frequency and phase, float [example, step, channel]."""
    rng = np.random.default_rng(seed)
    frequency, phase = rng.uniform(0.1, 0.6, (EXAMPLES, 1, 1)), rng.uniform(0, 6.3, (EXAMPLES, 1, channels))
    return (np.sqrt(2) * np.sin(frequency * np.arange(steps)[:, None] + phase)).astype(np.float32)


def sentences(seed: int = 0, steps: int = STEPS, shortest: int = 5) -> np.ndarray:
    """Returns random words of a fixed order of preference, padded by 0 at their ends, int [example, step]."""
    rng = np.random.default_rng(seed)
    words = rng.integers(2, VOCABULARY, (EXAMPLES, steps))
    return words * (np.arange(steps) < rng.integers(shortest, steps + 1, (EXAMPLES, 1)))


def chains(seed: int = 0, steps: int = STEPS) -> np.ndarray:
    """Returns walks in which a word has three possible successors, int [example, step + 1]."""
    rng = np.random.default_rng(seed)
    successors = rng.integers(1, VOCABULARY, (VOCABULARY, 3))
    walks = [rng.integers(1, VOCABULARY, EXAMPLES)]
    for _ in range(steps):
        walks.append(successors[walks[-1], rng.choice(3, EXAMPLES, p=(0.7, 0.2, 0.1))])
    return np.stack(walks, 1)


def shifted(words: np.ndarray) -> np.ndarray:
    """Returns the inputs of a teacher-forced decoder: a start id of 1, then all words but the last."""
    return np.concatenate([np.ones_like(words[:, :1]), words[:, :-1]], 1)


def series_autoencoder(
    *, units: int = 24, steps: int = STEPS, scale: float = 1.0, optimizer: Any = None, loss: Any = "mse",
    output: Any = None, x: Any = None, layer: str = "LSTM", norm: bool = False, **options: Any,
) -> Fitted:  # fmt: skip
    """Returns a Sequential autoencoder of waves: two recurrent layers, RepeatVector, two more, a dense layer.

    Args:
        units: of the outer layers; the code has half as many.
        steps: of the waves.
        scale: factor of the waves.
        optimizer: Adam 5e-3 if None.
        loss: of `compile`.
        output: activation of the last layer.
        x: other data than waves.
        layer: LSTM or GRU.
        norm: whether layers are followed by a layer normalization.
        options: of every recurrent layer.
    """
    import keras

    x = waves(steps=steps) * scale if x is None else x
    recurrent = getattr(keras.layers, layer)
    model = keras.Sequential([keras.Input(x.shape[1:])])
    for size, sequences in ((units, True), (units // 2, False)):
        model.add(recurrent(size, return_sequences=sequences, **options))
        if norm:
            model.add(keras.layers.LayerNormalization())
    model.add(keras.layers.RepeatVector(x.shape[1]))
    for size in (units // 2, units):
        model.add(recurrent(size, return_sequences=True, **options))
        if norm:
            model.add(keras.layers.LayerNormalization())
    model.add(keras.layers.TimeDistributed(keras.layers.Dense(x.shape[2], activation=output)))
    model.compile(optimizer or keras.optimizers.Adam(5e-3), loss)
    return Fitted(model, x, x)


def translator(
    *, units: int = 48, optimizer: Any = None, loss: Any = "sparse_categorical_crossentropy", output: Any = "softmax",
    swapped: bool = False, wired: bool = True, leak: bool = False, masked: tuple[bool, bool] = (True, True),
    weighted: bool = False, frozen: bool = False, backwards: bool = False, **options: Any,
) -> Fitted:  # fmt: skip
    """Returns a functional encoder and teacher-forced decoder that repeats sentences.

    Args:
        units: of both LSTMs.
        optimizer: Adam 1e-2 if None.
        loss: of `compile`.
        output: activation of the last layer.
        swapped: whether the decoder gets the states in the wrong order.
        wired: whether the decoder gets the states.
        leak: whether the decoder reads the words that it predicts.
        masked: whether the embeddings of encoder and decoder mask the padding.
        weighted: whether sample weights mask the loss.
        frozen: whether the encoder is not trained.
        backwards: whether sentences are to be repeated backwards.
        options: of both LSTMs.
    """
    import keras
    from keras import layers

    source = sentences()
    target = source.copy()
    if backwards:
        for row, length in zip(target, (source > 0).sum(1), strict=True):
            row[:length] = row[:length][::-1].copy()
    encoder_inputs = keras.Input((None,), dtype="int32", name="source")
    embedded = layers.Embedding(VOCABULARY, 24, mask_zero=masked[0], name="encoder_embedding")(encoder_inputs)
    encoder = layers.LSTM(units, return_state=True, name="encoder", **options)
    _, h, c = encoder(embedded)
    encoder.trainable = not frozen
    decoder_inputs = keras.Input((None,), dtype="int32", name="target")
    embedded = layers.Embedding(VOCABULARY, 24, mask_zero=masked[1], name="decoder_embedding")(decoder_inputs)
    states = {"initial_state": [c, h] if swapped else [h, c]} if wired else {}
    decoded = layers.LSTM(units, return_sequences=True, name="decoder", **options)(embedded, **states)
    outputs = layers.Dense(VOCABULARY, activation=output, name="words")(decoded)
    model = keras.Model([encoder_inputs, decoder_inputs], outputs)
    model.compile(optimizer or keras.optimizers.Adam(1e-2), loss)
    read = target if leak else shifted(target)
    return Fitted(model, [source, read], target, (target > 0).astype(np.float32) if weighted else None)


def language_model(
    *, units: int = 32, optimizer: Any = None, loss: Any = "sparse_categorical_crossentropy", output: Any = "softmax",
    layer: str = "LSTM", depth: int = 1, dropout: float = 0.0, **options: Any,
) -> Fitted:  # fmt: skip
    """Returns a Sequential language model of chains.

    Args:
        units: of each recurrent layer.
        optimizer: Adam 1e-2 if None.
        loss: of `compile`.
        output: activation of the last layer.
        layer: LSTM, GRU or SimpleRNN.
        depth: number of recurrent layers.
        dropout: rate of the dropout before the last layer.
        options: of every recurrent layer.
    """
    import keras

    words = chains()
    model = keras.Sequential([keras.layers.Embedding(VOCABULARY, 24)])
    for _ in range(depth):
        model.add(getattr(keras.layers, layer)(units, return_sequences=True, **options))
    model.add(keras.layers.Dropout(dropout))
    model.add(keras.layers.Dense(VOCABULARY, activation=output))
    model.compile(optimizer or keras.optimizers.Adam(1e-2), loss, metrics=["accuracy"])
    return Fitted(model, words[:, :-1], words[:, 1:])


def classifier(
    *, units: int = 24, optimizer: Any = None, loss: Any = "binary_crossentropy", output: Any = "sigmoid",
    bidirectional: bool = True, masked: bool = True, dropout: float = 0.0, labels: Any = None, **options: Any,
) -> Fitted:  # fmt: skip
    """Returns a Sequential classifier of sentences: whether words of the first half of the vocabulary prevail.

    Args:
        units: of the LSTM.
        optimizer: Adam 1e-2 if None.
        loss: of `compile`.
        output: activation of the last layer.
        bidirectional: whether the LSTM reads in both directions.
        masked: whether the embedding masks the padding.
        dropout: of the LSTM's inputs and of the dense layer's.
        labels: other labels.
        options: of the LSTM.
    """
    import keras

    words = sentences()
    low = (words > 0) & (words < VOCABULARY // 2)
    y = (low.sum(1) * 2 > (words > 0).sum(1)).astype(np.float32) if labels is None else labels
    lstm = keras.layers.LSTM(units, dropout=dropout, **options)
    model = keras.Sequential(
        [
            keras.layers.Embedding(VOCABULARY, 16, mask_zero=masked),
            keras.layers.Bidirectional(lstm) if bidirectional else lstm,
            keras.layers.Dense(16, activation="relu"),
            keras.layers.Dropout(dropout),
            keras.layers.Dense(1, activation=output),
        ]
    )
    model.compile(optimizer or keras.optimizers.Adam(1e-2), loss, metrics=["accuracy"])
    return Fitted(model, words, y)


def forecaster(
    *, units: int = 24, optimizer: Any = None, layer: str = "LSTM", scale: float = 1.0, convolution: bool = False,
    steps: int = STEPS, loss: Any = "mse", **options: Any,
) -> Fitted:  # fmt: skip
    """Returns a Sequential model of the next value of a wave.

    Args:
        units: of the recurrent layer.
        optimizer: Adam 5e-3 if None.
        layer: LSTM, GRU or SimpleRNN.
        scale: factor of inputs and targets.
        convolution: whether a convolution precedes the recurrent layer.
        steps: of the inputs.
        loss: of `compile`.
        options: of the recurrent layer.
    """
    import keras

    series = waves(steps=steps + 1) * scale
    front = [keras.layers.Conv1D(16, 3, padding="causal", activation="relu")] if convolution else []
    model = keras.Sequential(
        [*front, getattr(keras.layers, layer)(units, **options), keras.layers.Dense(series.shape[2])]
    )
    model.compile(optimizer or keras.optimizers.Adam(5e-3), loss)
    return Fitted(model, series[:, :-1], series[:, -1])
