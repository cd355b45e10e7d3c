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
# # Why does it always return the average?
#
# An LSTM reads a series into a code, another LSTM says it again, and what comes back is a flat line: the average. One
# reads that complaint every month. Here we make it happen, with the stack that everybody writes; look at what the
# code knows; and heal it by reading in windows.

# %%
import matplotlib.pyplot as plt
import numpy as np

from hae_jax.estimators import SeriesAutoencoder

TIME, STEPS = 96, 400
COLOURS = {"truth": "#9aa0a6", "stack": "#d1495b", "windows": "#1f6f8b"}
plt.rcParams |= {"axes.spines.top": False, "axes.spines.right": False, "figure.dpi": 110}

# %% [markdown]
# Waves of different frequencies and phases, with a little noise. Nothing in them is hard to say: three numbers would
# do.

# %%
rng = np.random.default_rng(0)
at = np.arange(TIME)


def waves(number):
    frequency, phase = rng.uniform(0.1, 0.4, (number, 1)), rng.uniform(0, 2 * np.pi, (number, 1))
    return np.sin(frequency * at + phase) + 0.05 * rng.normal(size=(number, TIME))


learned, held = waves(256), waves(64)

# %% [markdown]
# Two models with codes of the same size. The first is the stack of tutorials: each layer reads every step, the
# decoder reads the code at every step, Adam 1e-3, a clip. The second reads and says windows of 12 steps, so that a
# value is 12 + 8 steps away from the code instead of 96. Its LSTMs start as piles, on which values are laid and taken
# off again, and its codes as principal components: it is the best linear autoencoder before it has learned anything.

# %%
small = {"steps": STEPS, "batch_size": 16, "random_state": 0}
models = {
    "stack": SeriesAutoencoder(sizes=(48, 24), config="remedy-clipping", **small),
    "windows": SeriesAutoencoder(sizes=(12, 24), spans=(12,), **small),
}
for model in models.values():
    model.fit(learned)

# %%
figure, (left, right) = plt.subplots(1, 2, figsize=(10, 3.2), layout="constrained")
for name, model in models.items():
    left.plot(np.convolve(model.losses_, np.ones(10) / 10, "valid"), color=COLOURS[name], label=name)
left.axhline(1, color="black", linewidth=0.8, linestyle=":")
left.set(xlabel="step", ylabel="squared error / variance", yscale="log")
left.legend(frameon=False)
right.plot(held[0], color=COLOURS["truth"], linewidth=3, label="truth")
for name, model in models.items():
    right.plot(model.reconstruct(held[:1])[0], color=COLOURS[name], label=name)
right.set(xlabel="time")
right.legend(frameon=False, loc="upper right")
plt.show()

# %% [markdown]
# The dotted line is the error of the average, and the stack sits on it for hundreds of steps, which is when most
# people stop. Did its code know nothing? How much of the frequency a linear regression can read off the codes says so.

# %%
frequency = np.array([np.argmax(np.abs(np.fft.rfft(wave, 4 * TIME))) for wave in np.concatenate([learned, held])])
fresh = SeriesAutoencoder(sizes=(48, 24), config="remedy-clipping", **(small | {"steps": 1})).fit(learned)
for name, model in ({"fresh stack": fresh} | models).items():
    codes = np.c_[model.transform(np.concatenate([learned, held])), np.ones(len(frequency))]
    weights = np.linalg.lstsq(codes[:256], frequency[:256], rcond=None)[0]
    errors = codes[256:] @ weights - frequency[256:]
    print(f"{name}: {1 - errors.var() / frequency[256:].var():.2f} of the variance of the frequency")

# %% [markdown]
# The stack's code knows much of it, even before it has learned anything: what an LSTM has read last shapes its state,
# whatever its weights. The code was never empty; it is the decoder that makes nothing of it for so long, as it has to
# carry what it reads through a hundred steps of its own before an error can tell it how. And the code from which the
# whole wave comes back shows a straight line no frequency at all: what is easy to say again need not be easy to read.
#
# ## What it is good for
#
# A wave that stumbles does not come back. The surprise at each step, how unlikely its error is, says where; drawn is
# its logarithm.

# %%
stumbling = held[:3].copy()
stumbling[1, 48:64] *= -1
surprises = models["windows"].surprise(stumbling)
figure, axes = plt.subplots(1, 3, figsize=(10, 2.4), sharey=True, layout="constrained")
for axis, wave, surprise in zip(axes, stumbling, surprises, strict=True):
    axis.plot(wave, color=COLOURS["truth"], linewidth=2)
    axis.fill_between(at, np.log10(1 + surprise) - 2, -2, color=COLOURS["stack"], alpha=0.6, label="surprise")
axes[0].legend(frameon=False, loc="upper right")
plt.show()
print("mean surprises:", [round(float(surprise.mean()), 1) for surprise in surprises])
