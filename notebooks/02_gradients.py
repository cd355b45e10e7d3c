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
# # How far does a gradient reach?
#
# "Use Glorot's initialization, clip the gradients, perhaps remove the biases" is common advice for an LSTM that does
# not train. This notebook measures the gradient itself through 50 time steps before training, compares it with
# mean-field theory, and then trains, to test whether it matters.

# %%
import jax
import jax.numpy as jnp
import matplotlib.pyplot as plt
import numpy as np
import optax

from hae_jax.config import ModelConfig
from hae_jax.doctor.probes.curve import slope
from hae_jax.gradients.mean_field import predict
from hae_jax.layers.recurrent import LSTM

HIDDEN, TIME, BATCH = 128, 50, 32
COLOURS = ("#9aa0a6", "#d1495b", "#e0a030", "#1f6f8b", "#2b8a3e")
plt.rcParams |= {"axes.spines.top": False, "axes.spines.right": False, "figure.dpi": 110}

# %% [markdown]
# Five initializations of an LSTM. They differ in the kernels, the initial forget bias, and the presence of biases.

# %%
SCHEMES = {
    "Flax's default": ModelConfig(initializer="flax", forget_bias=0.0),
    "glorot, no bias": ModelConfig(initializer="glorot", use_bias=False),
    "Keras' default": ModelConfig(initializer="keras", forget_bias=1.0),
    "orthogonal, forget bias 2": ModelConfig(initializer="orthogonal", forget_bias=2.0),
    "orthogonal x 8, forget bias 1": ModelConfig(initializer="orthogonal", forget_bias=1.0, recurrent_gain=8.0),
}

# %% [markdown]
# ## The gradient at initialization
#
# Zeros added to the hidden states change no value, but the derivative with respect to them is dL/dh_t, for every t. The
# loss here is a random projection of the last hidden state; any other function of the last state would do.

# %%
inputs = jax.random.normal(jax.random.key(0), (BATCH, TIME, HIDDEN))
mask = jnp.ones((BATCH, TIME), bool)
projection = jax.random.normal(jax.random.key(1), (HIDDEN,))


def curve_of(config):
    """Root mean square of dL/dh_t by steps before the last one, measured, and predicted by theory."""
    lstm = LSTM(config, HIDDEN, HIDDEN)
    params = lstm.init(jax.random.key(2), inputs, mask)["params"]

    def loss(zeros):
        states, _ = lstm.apply({"params": params, "perturbations": zeros}, inputs, mask)
        return (states[-1].hidden @ projection).sum()

    zeros = {"hidden_0_0": jnp.zeros((BATCH, TIME, HIDDEN))}
    gradient = jax.jit(jax.grad(loss))(zeros)["hidden_0_0"]
    (weights,) = lstm.apply({"params": params}, method="weights")
    return jnp.sqrt(jnp.square(gradient).mean((0, 2)))[::-1], jax.jit(predict)(weights, inputs[:8], mask[:8])


curves = {name: curve_of(config) for name, config in SCHEMES.items()}

# %%
figure, axes = plt.subplots(figsize=(7.5, 4.2), layout="constrained")
for colour, (name, (curve, expected)) in zip(COLOURS, curves.items(), strict=True):
    measured = float(slope(curve))
    axes.plot(np.log10(curve / curve[0]), color=colour, linewidth=2, label=f"{name}: {measured:+.2f} nats per step")
    axes.plot(np.array(expected.curve) / np.log(10), color="black", linestyle=":", linewidth=1)
axes.set_xlabel("steps before the last")
axes.set_ylabel("decades of |dL/dh|")
axes.set_title("Gradients of untrained LSTMs; dotted: theory", loc="left")
axes.legend(fontsize=8)
# %% [markdown]
# Over 50 steps the gradient of Flax's default shrinks by ten powers of ten, and Glorot's kernels change nothing. What
# matters is the forget bias: at 0 the gate is 0.5 and halves the cell state at every step; a bias of 2 opens the gate
# to 0.84. (The gain of the kernel matters too: eight times an orthogonal matrix makes the gradient explode.)
#
# The dotted lines were computed without any gradient, from one forward pass:

# %%
for name, (curve, expected) in curves.items():
    print(
        f"{name:30}  forget gate {float(expected.forget):.2f}   measured {float(slope(curve)):+.3f}   "
        f"theory {float(expected.slope):+.3f}   textbook theory {float(expected.untied):+.3f}"
    )

# %% [markdown]
# Textbook theory assumes a recurrent kernel drawn independently at each step. But an LSTM multiplies by the *same*
# matrix 50 times, and paths that cross it equally often add up coherently. A theory of tied weights is close to the
# measurement.
#
# ## Does it matter for training?
#
# A vanishing gradient does not prove that a model cannot learn, so we train. The input is eight random symbols and then
# 30 steps of noise; the target is the *first* symbol. Chance is ln 8 = 2.08 nats.

# %%
UNITS, SYMBOLS, GAP, STEPS = 32, 8, 30, 250


def task(key):
    """A batch of inputs and targets."""
    first, noise = jax.random.split(key)
    symbols = jax.random.randint(first, (32, 8), 0, SYMBOLS)
    blanks = jnp.zeros((32, GAP, SYMBOLS)) + 0.3 * jax.random.normal(noise, (32, GAP, SYMBOLS))
    return jnp.concatenate([jax.nn.one_hot(symbols, SYMBOLS), blanks], axis=1), symbols[:, 0]


def learn(config):
    """The loss at each step of training, on fresh batches."""
    lstm, optimizer = LSTM(config, UNITS, SYMBOLS), optax.chain(optax.clip_by_global_norm(1.0), optax.adam(1e-2))
    real = jnp.ones((32, 8 + GAP), bool)
    params = {
        "lstm": lstm.init(jax.random.key(3), task(jax.random.key(0))[0], real)["params"],
        "output": jax.random.normal(jax.random.key(4), (UNITS, SYMBOLS)) / np.sqrt(UNITS),
    }

    def step(state, key):
        params, moments = state
        inputs, targets = task(key)

        def loss(params):
            states, _ = lstm.apply({"params": params["lstm"]}, inputs, real)
            logits = states[-1].hidden @ params["output"]
            return optax.softmax_cross_entropy_with_integer_labels(logits, targets).mean()

        value, gradient = jax.value_and_grad(loss)(params)
        updates, moments = optimizer.update(gradient, moments, params)
        return (optax.apply_updates(params, updates), moments), value

    keys = jax.random.split(jax.random.key(5), STEPS)
    return jax.jit(lambda state: jax.lax.scan(step, state, keys))((params, optimizer.init(params)))[1]


losses = {name: np.array(learn(config)) for name, config in SCHEMES.items()}

# %%
figure, axes = plt.subplots(figsize=(7.5, 3.8), layout="constrained")
for colour, (name, loss) in zip(COLOURS, losses.items(), strict=True):
    axes.plot(np.convolve(loss, np.ones(10) / 10, mode="valid"), color=colour, linewidth=2, label=name)
axes.axhline(np.log(SYMBOLS), color="black", linewidth=0.8)
axes.text(STEPS * 0.99, np.log(SYMBOLS) + 0.03, "chance", ha="right", fontsize=8)
axes.set_xlabel("steps of training")
axes.set_ylabel("nats")
axes.set_title("Recall of the first symbol, training loss", loc="left")
axes.legend(fontsize=8)

# %% [markdown]
# So the slope is a good predictor where information has to be carried over many steps. It is not a law:
# [docs/gradients.md](../docs/gradients.md) has results of the same initializations on long documents and on real text,
# with layer normalization, clipping and dropout. `hae gradients` measures models of your own, untrained or trained.
