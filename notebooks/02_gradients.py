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
# # How far does a gradient reach, and who decides?
#
# "Use Glorot's initialisation, clip the gradients, perhaps remove the biases": that is what one hears when an LSTM
# does not train. Here we look at the gradient itself, before the first step of training, on its way back through
# 50 steps; we ask a theory where it should have got to; and then we train, to see whether it matters.

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
# Five ways to make a fresh LSTM. They differ in kernels, in the forget gate's first bias, and in whether there are
# biases at all.

# %%
SCHEMES = {
    "Flax's default": ModelConfig(initializer="flax", forget_bias=0.0),
    "glorot, no bias": ModelConfig(initializer="glorot", use_bias=False),
    "Keras' default": ModelConfig(initializer="keras", forget_bias=1.0),
    "orthogonal, forget bias 2": ModelConfig(initializer="orthogonal", forget_bias=2.0),
    "orthogonal x 8, forget bias 1": ModelConfig(initializer="orthogonal", forget_bias=1.0, recurrent_gain=8.0),
}

# %% [markdown]
# ## The gradient on its way back
#
# Zeros added to the hidden states change nothing, but the derivative with respect to them is dL/dh_t, for every t. The
# loss here is a random projection of the last hidden state; any other that looks at the last state alone would do.

# %%
inputs = jax.random.normal(jax.random.key(0), (BATCH, TIME, HIDDEN))
mask = jnp.ones((BATCH, TIME), bool)
pull = jax.random.normal(jax.random.key(1), (HIDDEN,))


def curve_of(config):
    """Root mean square of dL/dh_t by steps before the last one, measured and as theory expects it."""
    lstm = LSTM(config, HIDDEN, HIDDEN)
    params = lstm.init(jax.random.key(2), inputs, mask)["params"]

    def loss(zeros):
        states, _ = lstm.apply({"params": params, "perturbations": zeros}, inputs, mask)
        return (states[-1].hidden @ pull).sum()

    zeros = {"hidden_0_0": jnp.zeros((BATCH, TIME, HIDDEN))}
    gradient = jax.jit(jax.grad(loss))(zeros)["hidden_0_0"]
    (weights,) = lstm.apply({"params": params}, method="weights")
    return jnp.sqrt(jnp.square(gradient).mean((0, 2)))[::-1], jax.jit(predict)(weights, inputs[:8], mask[:8])


curves = {name: curve_of(config) for name, config in SCHEMES.items()}

# %%
figure, axes = plt.subplots(figsize=(7.5, 4.2), layout="constrained")
for colour, (name, (curve, expected)) in zip(COLOURS, curves.items(), strict=True):
    measured = float(slope(curve))
    axes.plot(np.log10(curve / curve[0]), color=colour, linewidth=2, label=f"{name}: {measured:+.2f} nat a step")
    axes.plot(np.array(expected.curve) / np.log(10), color="black", linestyle=":", linewidth=1)
axes.set_xlabel("steps before the last")
axes.set_ylabel("decades of |dL/dh|")
axes.set_title("Gradients of fresh LSTMs; dotted: theory", loc="left")
axes.legend(fontsize=8)
# %% [markdown]
# Over 50 steps Flax's default loses ten powers of ten, and Glorot's numbers in place of Flax's change nothing. The
# forget gate's bias does it: at 0 the gate is 0.5, and halves what a cell remembers at every step; a bias of 2 opens it
# to 0.84. (So does the kernel's gain: eight times an orthogonal matrix makes the gradient explode.)
#
# The dotted lines were computed without any gradient, from one forward pass:

# %%
for name, (curve, expected) in curves.items():
    print(
        f"{name:30}  forget gate {float(expected.forget):.2f}   measured {float(slope(curve)):+.3f}   "
        f"theory {float(expected.slope):+.3f}   textbook theory {float(expected.untied):+.3f}"
    )

# %% [markdown]
# The textbook version takes the recurrent kernel to be drawn anew at each step. It is not: an LSTM multiplies by the
# *same* matrix 50 times, and paths that cross it equally often add up in phase. A theory that knows this comes close.
#
# ## Does it matter?
#
# A vanished gradient is no proof that a model cannot learn, so we try. Eight symbols, one after the other, then 30
# steps of noise; at the end the *first* symbol has to be said. Chance is ln 8 = 2.08 nats.

# %%
UNITS, SYMBOLS, GAP, STEPS = 32, 8, 30, 250


def task(key):
    """A batch: what is read, and the symbol that has to be said."""
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
        "say": jax.random.normal(jax.random.key(4), (UNITS, SYMBOLS)) / np.sqrt(UNITS),
    }

    def step(state, key):
        params, moments = state
        read, said = task(key)

        def loss(params):
            states, _ = lstm.apply({"params": params["lstm"]}, read, real)
            logits = states[-1].hidden @ params["say"]
            return optax.softmax_cross_entropy_with_integer_labels(logits, said).mean()

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
axes.set_title("Who learns to remember the first symbol", loc="left")
axes.legend(fontsize=8)

# %% [markdown]
# So the slope is a good guide where something has to be carried over many steps. It is not a law: how the same schemes
# fare on long documents and on real text, with layer normalisation, clips and dropout, stands in
# [the laboratory's tables](../docs/gradients.md). For a model of your own, fresh or trained: `hae gradients`.
