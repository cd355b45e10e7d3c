"""The article's three autoencoders as everybody writes them in Keras, and our weights put into them."""

import numpy as np

EPSILON = 1e-5
"""Of layer normalisation, as here; Keras' own default is 1e-3."""


def keras_twin(config, channels, time):
    """A Keras model: LSTM, LSTM, RepeatVector, LSTM, LSTM, Dense, and a mask of the steps as second input."""
    import keras

    options = {
        "use_bias": config.cell.use_bias, "dropout": config.cell.input_dropout,
        "recurrent_dropout": config.cell.recurrent_dropout,
    }  # fmt: skip

    def normalised(x):
        return keras.layers.LayerNormalization(epsilon=EPSILON)(x) if config.cell.layer_norm == "output" else x

    values, mask = keras.Input((time, channels)), keras.Input((time,), dtype="bool")
    x = values
    for size in config.sizes[:-1]:
        x = normalised(keras.layers.LSTM(size, return_sequences=True, **options)(x, mask=mask))
    x = normalised(keras.layers.LSTM(config.sizes[-1], **options)(x, mask=mask))
    x = keras.layers.RepeatVector(time)(x)
    for size in config.sizes[::-1]:
        x = normalised(keras.layers.LSTM(size, return_sequences=True, **options)(x))
    return keras.Model([values, mask], keras.layers.Dense(channels)(x))


def keras_weights(params):
    """Our parameters in the order of `keras_twin`'s; biases of normalisations that we lack are zeros."""
    found = []
    for name in ("encoder_0", "decoder_0"):
        for _, stack in sorted(params[name].items()):
            leaves = stack["layer_0"]
            found += [leaves[key] for key in ("kernel", "context") if key in leaves]
            found += [leaves[key] for key in ("recurrent", "bias") if key in leaves]
            if "output_gain" in leaves:
                found += [leaves["output_gain"], leaves.get("output_bias", np.zeros_like(leaves["output_gain"]))]
    return [np.asarray(leaf) for leaf in (*found, params["output"]["kernel"], params["output"]["bias"])]
