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
# # Why does my LSTM autoencoder predict the mean?
#
# An LSTM encodes a series, another LSTM decodes it, and the reconstruction is a flat line: the mean. This is a frequent
# question in forums. This notebook reproduces it with the usual stack of LSTMs, measures the information in the code,
# and solves it with a hierarchy of windows.

# %%
import matplotlib.pyplot as plt
import numpy as np

from hae_jax.estimators import SeriesAutoencoder

TIME, STEPS = 96, 400
COLOURS = {"truth": "#9aa0a6", "stack": "#d1495b", "windows": "#1f6f8b"}
plt.rcParams |= {"axes.spines.top": False, "axes.spines.right": False, "figure.dpi": 110}

# %% [markdown]
# Waves of different frequencies and phases, with a little noise. Two numbers determine each of them, up to the noise.

# %%
rng = np.random.default_rng(0)
at = np.arange(TIME)


def waves(number):
    frequency, phase = rng.uniform(0.1, 0.4, (number, 1)), rng.uniform(0, 2 * np.pi, (number, 1))
    return np.sin(frequency * at + phase) + 0.05 * rng.normal(size=(number, TIME))


train, test = waves(256), waves(64)

# %% [markdown]
# Two models with codes of the same size. The first is the stack of the tutorials: each layer processes every step, the
# code is the decoder's input at every step, and gradients are clipped under Adam with learning rate 1e-3. The second
# encodes and decodes windows of 12 steps, so that a value is 12 + 8 steps away from the code instead of 96. Its LSTMs
# start as shift registers (mirror initialization), and its codes as principal components: before training it is the
# best linear autoencoder.

# %%
small = {"steps": STEPS, "batch_size": 16, "random_state": 0}
models = {
    "stack": SeriesAutoencoder(sizes=(48, 24), config="remedy-clipping", **small),
    "windows": SeriesAutoencoder(sizes=(12, 24), spans=(12,), **small),
}
for model in models.values():
    model.fit(train)

# %%
figure, (left, right) = plt.subplots(1, 2, figsize=(10, 3.2), layout="constrained")
for name, model in models.items():
    left.plot(np.convolve(model.losses_, np.ones(10) / 10, "valid"), color=COLOURS[name], label=name)
left.axhline(1, color="black", linewidth=0.8, linestyle=":")
left.set(xlabel="step", ylabel="squared error / variance", yscale="log")
left.legend(frameon=False)
right.plot(test[0], color=COLOURS["truth"], linewidth=3, label="truth")
for name, model in models.items():
    right.plot(model.reconstruct(test[:1])[0], color=COLOURS[name], label=name)
right.set(xlabel="time")
right.legend(frameon=False, loc="upper right")
plt.show()

# %% [markdown]
# The dotted line is the error of predicting the mean, and the stack stays on it for hundreds of steps. Is there no
# information in its code? A linear regression of the frequency on the codes measures it.

# %%
frequency = np.array([np.argmax(np.abs(np.fft.rfft(wave, 4 * TIME))) for wave in np.concatenate([train, test])])
untrained = SeriesAutoencoder(sizes=(48, 24), config="remedy-clipping", **(small | {"steps": 1})).fit(train)
for name, model in ({"untrained stack": untrained} | models).items():
    codes = np.c_[model.transform(np.concatenate([train, test])), np.ones(len(frequency))]
    weights = np.linalg.lstsq(codes[:256], frequency[:256], rcond=None)[0]
    errors = codes[256:] @ weights - frequency[256:]
    print(f"{name}: {1 - errors.var() / frequency[256:].var():.2f} of the variance of the frequency")

# %% [markdown]
# The stack's code explains much of the frequency even before training, since the state of an LSTM depends on its last
# inputs for any weights. The code always had the information; the decoder is what learns to use it so late, since
# gradients have to pass through about a hundred of its steps. And the code from which the whole wave is reconstructed
# has no linear relation to the frequency: easy to decode does not mean linearly readable.
#
# ## Anomaly scores
#
# A wave with a fault is not reconstructed. The anomaly score of each step, the Mahalanobis distance of its error to
# those of the training series, shows where; the figure has its logarithm.

# %%
faulty = test[:3].copy()
faulty[1, 48:64] *= -1
scores = models["windows"].anomaly_score(faulty)
figure, axes = plt.subplots(1, 3, figsize=(10, 2.4), sharey=True, layout="constrained")
for axis, wave, score in zip(axes, faulty, scores, strict=True):
    axis.plot(wave, color=COLOURS["truth"], linewidth=2)
    axis.fill_between(at, np.log10(1 + score) - 2, -2, color=COLOURS["stack"], alpha=0.6, label="anomaly score")
axes[0].legend(frameon=False, loc="upper right")
plt.show()
print("mean anomaly scores:", [round(float(score.mean()), 1) for score in scores])
