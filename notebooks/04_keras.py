# ---
# jupyter:
#   jupytext:
#     formats: ipynb,py:percent
#     text_representation:
#       extension: .py
#       format_name: percent
#   kernelspec:
#     display_name: Python 3
#     language: python
#     name: python3
# ---

# %% [markdown]
# # Why does my Keras LSTM autoencoder not train?
#
# Three pieces of advice usually answer this question: clip the gradients, add recurrent dropout, choose the
# initialization carefully and normalize the layers. Here each is completed to a Keras 3 model as its readers would
# write it, examined by `hae_jax.doctor.examine`, repaired where there is something to repair, and trained.

# %%
import os

os.environ["KERAS_BACKEND"] = "jax"

import keras
import matplotlib.pyplot as plt
import numpy as np
from keras import layers

from hae_jax.doctor import examine

STEPS, CHANNELS = 40, 3
plt.rcParams |= {"axes.spines.top": False, "axes.spines.right": False, "figure.dpi": 110}

# %% [markdown]
# The series are waves of different frequencies and phases in three channels; 128 of them are held out.

# %%
rng = np.random.default_rng(0)
frequency, phase = rng.uniform(0.1, 0.5, (640, 1, 1)), rng.uniform(0, 2 * np.pi, (640, 1, CHANNELS))
series = np.sqrt(2) * np.sin(frequency * np.arange(STEPS)[:, None] + phase).astype("float32")
train, test = series[:512], series[512:]

# %% [markdown]
# The hierarchy of the examples: two LSTMs encode, two of the same sizes decode, in the reverse order. The sizes are a
# quarter of the usual 128 and 64, so that the notebook runs within minutes.


# %%
def autoencoder(normalized=False, **options):
    def lstm(units, sequences):
        norm = [layers.LayerNormalization(axis=-1)] if normalized else []
        return [layers.LSTM(units, return_sequences=sequences, **options), *norm]

    return keras.Sequential(
        [
            keras.Input((STEPS, CHANNELS)),
            *lstm(32, True), *lstm(16, False),
            layers.RepeatVector(STEPS),
            *lstm(16, True), *lstm(32, True),
            layers.TimeDistributed(layers.Dense(CHANNELS)),
        ]
    )  # fmt: skip


def training(model):
    """Returns the held-out error after each epoch, as a share of the variance."""
    history = model.fit(train, train, epochs=32, verbose=0, validation_data=(test, test))
    return np.array(history.history["val_mse"]) / test.var()


# %% [markdown]
# ## Clipping
#
# A training loop of one's own, with `tape.gradient(loss, ...)` of the errors of all steps, differentiates their sum;
# then each gradient is clipped at norm 1. In the terms of `compile`, that is:

# %%
keras.utils.set_random_seed(0)
clipped = autoencoder()
clipped.compile(
    keras.optimizers.Adam(5e-3, clipnorm=1.0), keras.losses.MeanSquaredError(reduction="sum"), metrics=["mse"]
)
print(examine(clipped, train, train))

# %% [markdown]
# The repair is a mean instead of the sum; then the same clip hardly ever acts.

# %%
keras.utils.set_random_seed(0)
mean = autoencoder()
mean.compile(keras.optimizers.Adam(5e-3, clipnorm=1.0), "mse", metrics=["mse"])
errors = {"clipping": training(clipped), "clipping, repaired": training(mean)}

# %% [markdown]
# ## Recurrent dropout

# %%
keras.utils.set_random_seed(0)
dropped = autoencoder(dropout=0.2, recurrent_dropout=0.2)
dropped.compile(keras.optimizers.Adam(5e-3), "mse", metrics=["mse"])
print(examine(dropped, train, train))
errors["dropout"] = training(dropped)

# %% [markdown]
# ## Initialization and layer normalization
#
# Glorot's kernels are the default. What matters is what goes away with the biases: the forget bias of 1, with which a
# cell of Keras keeps 73 percent of its value at each step. Without it, it keeps half.

# %%
keras.utils.set_random_seed(0)
normalized = autoencoder(normalized=True, kernel_initializer="glorot_uniform", use_bias=False)
normalized.compile(keras.optimizers.Adam(5e-3), "mse", metrics=["mse"])
print(examine(normalized, train, train))

# %% [markdown]
# The finding names the layers and the line to change.

# %%
keras.utils.set_random_seed(0)
repaired = autoencoder(normalized=True, use_bias=True, unit_forget_bias=True)
repaired.compile(keras.optimizers.Adam(5e-3), "mse", metrics=["mse"])
errors |= {"no bias": training(normalized), "no bias, repaired": training(repaired)}

# %%
figure, axes = plt.subplots(figsize=(7, 3.6))
colours = {"clipping": "#d1495b", "dropout": "#9aa0a6", "no bias": "#1f6f8b"}
for name, curve in errors.items():
    cause, _, is_repaired = name.partition(",")
    axes.plot(range(1, len(curve) + 1), curve, color=colours[cause], linestyle="--" if is_repaired else "-", label=name)
axes.set(xlabel="epoch", ylabel="held-out error / variance", ylim=(0, None))
axes.legend(frameon=False)
plt.show()

# %% [markdown]
# Both repairs help. Of the three remedies, the first acted against its own purpose, since the loss was a sum: what was
# clipped was the number of steps and examples. The second neither harms nor helps. The third removed what an LSTM needs
# to remember.
