"""Models of public threads: the programs of the questions, rebuilt small in JAX."""

import dataclasses
from collections.abc import Callable
from typing import Any

import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np
import optax
from flax import nnx

from benchmarks.doctor.models.seq2seq import UNITS, VOCAB, Seq2Seq, signal, text, trained_on_series, trained_on_text


def keras_395() -> dict[str, Any]:
    return trained_on_text(Seq2Seq(), mean="all")


def keras_510() -> dict[str, Any]:
    return trained_on_series([400 * x + 900 for x in signal()])


def keras_1360() -> dict[str, Any]:
    wide = nn.initializers.normal(30.0)
    return trained_on_text(Seq2Seq(options=(("kernel_init", wide),)))


def keras_1855() -> dict[str, Any]:
    return trained_on_text(Seq2Seq(masked=False))


def keras_2194() -> dict[str, Any]:
    return trained_on_series(signal(), act=jax.nn.relu)


def keras_10753() -> dict[str, Any]:
    return trained_on_series(signal(), see=1e-5)


def keras_11828() -> dict[str, Any]:
    return trained_on_series([2 * x for x in signal()], last=jax.nn.sigmoid)


def ray_2992() -> dict[str, Any]:
    return trained_on_text(Seq2Seq(), mean="sum")


def nn4nlp_13() -> dict[str, Any]:
    return trained_on_text(Seq2Seq(passed=False))


def sentence_vae_22() -> dict[str, Any]:
    return trained_on_text(Seq2Seq(shift=False))


def awd_lstm_48() -> dict[str, Any]:
    parts = {"still": optax.set_to_zero(), "moving": optax.adam(8e-3)}
    made = trained_on_text(Seq2Seq())
    names = [name for name in made["params"] if name not in ("Embed_0", "Dense_0")]
    labels = {name: "still" if name == names[0] else "moving" for name in made["params"]}
    return made | {"optimizer": optax.multi_transform(parts, lambda _: labels)}


def nanogpt_240() -> dict[str, Any]:
    model = Seq2Seq(drop=0.4)
    made = trained_on_text(model)
    # The same loss for evaluation, with its dropout.
    return made | {"eval_loss": made["loss"]}


def magenta_704() -> dict[str, Any]:
    rows = np.concatenate(text())
    return trained_on_text(Seq2Seq(), np.split(rows[np.argsort(rows[:, 0])], 24))


def tensorflow_21929() -> dict[str, Any]:
    made = trained_on_text(Seq2Seq())
    for ids in made["batches"][::3]:
        ids[2] = 0
    inner = made["loss"]

    def loss(params: Any, ids: Any, key: Any) -> Any:
        # A penalty on the mean vector of a sentence, which a sentence without words does not have.
        x, mask = params["Embed_0"]["embedding"][ids] @ params["Dense_0"]["kernel"], (ids != 0)[..., None]
        mean = (x * mask).sum(1) / mask.sum(1)
        size = jnp.where(mask.any(1)[:, 0], jnp.linalg.norm(mean, axis=-1), 0)
        return inner(params, jnp.where(mask[..., 0].any(1, keepdims=True), ids, 1), key) + 1e-3 * size.mean()

    return made | {"loss": loss}


def high_learning_rate() -> dict[str, Any]:
    return trained_on_text(Seq2Seq(), optimizer=optax.adam(1.0))


def low_learning_rate() -> dict[str, Any]:
    return trained_on_text(Seq2Seq(), optimizer=optax.sgd(1e-5))


class Reader(nnx.Module):
    """A model of Flax NNX, which holds its weights."""

    def __init__(self, rngs: nnx.Rngs) -> None:
        self.embed = nnx.Embed(VOCAB, UNITS, rngs=rngs)
        self.reader = nnx.RNN(nnx.OptimizedLSTMCell(UNITS, UNITS, rngs=rngs), return_carry=True)
        self.writer = nnx.RNN(nnx.OptimizedLSTMCell(UNITS, UNITS, rngs=rngs))
        self.head = nnx.Linear(UNITS, VOCAB, rngs=rngs)

    def __call__(self, ids: Any) -> Any:
        x = self.embed(ids)
        zeros = jnp.zeros((len(ids), UNITS))
        state, _ = self.reader(x, initial_carry=(zeros, zeros))
        return self.head(self.writer(jnp.pad(x[:, :-1], ((0, 0), (1, 0), (0, 0))), initial_carry=state))


def ray_21392() -> dict[str, Any]:
    parts: Any = nnx.split(Reader(nnx.Rngs(0)), nnx.Param, ...)
    graph, params, rest = parts

    def loss(params: Any, ids: Any) -> Any:
        nll = optax.softmax_cross_entropy_with_integer_labels(nnx.merge(graph, params, rest)(ids), ids)
        return (nll * (ids != 0)).sum() / (ids != 0).sum()

    return {"loss": loss, "params": params, "batches": text(), "optimizer": optax.adamw(5e-3)}


@jax.tree_util.register_dataclass
@dataclasses.dataclass
class Autoencoder:
    """A model that is a tree of arrays and maps one example, as in Equinox."""

    table: Any
    read: Any
    write: Any
    head: Any

    def step(self, weights: Any, state: Any, x: Any) -> Any:
        c, h = state
        i, f, g, o = jnp.split(weights @ jnp.concatenate([x, h, jnp.ones(1)]), 4)
        c = jax.nn.sigmoid(f + 1) * c + jax.nn.sigmoid(i) * jax.nn.relu(g)
        h = jax.nn.sigmoid(o) * jax.nn.relu(c)
        return (c, h), h

    def __call__(self, ids: Any) -> Any:
        x, zeros = self.table[ids], jnp.zeros(UNITS)
        state, _ = jax.lax.scan(lambda s, x: self.step(self.read, s, x), (zeros, zeros), x)
        _, y = jax.lax.scan(lambda s, x: self.step(self.write, s, x), state, jnp.roll(x, 1, 0).at[0].set(0))
        return y @ self.head


def keras_13221() -> dict[str, Any]:
    rng = np.random.default_rng(4)
    shapes = ((VOCAB, UNITS), (4 * UNITS, 2 * UNITS + 1), (4 * UNITS, 2 * UNITS + 1), (UNITS, VOCAB))
    model = Autoencoder(*(jnp.asarray(rng.normal(size=shape) * 0.2, jnp.float32) for shape in shapes))

    def loss(model: Autoencoder, batch: Any) -> Any:
        logits = jax.vmap(model)(batch["ids"])
        return optax.softmax_cross_entropy_with_integer_labels(logits, batch["ids"]).mean()

    batches = [{"ids": ids} for ids in text(pads=False, time=20)]
    return {"loss": loss, "params": model, "batches": batches, "optimizer": optax.adam(3e-3)}


def keras_3618() -> dict[str, Any]:
    rng = np.random.default_rng(5)
    words = np.concatenate(text(96, pads=True)).reshape(24, 12, 4, 9)
    words[np.arange(4) >= rng.integers(1, 5, (24, 12))[..., None]] = 0
    names = ("words", "sentences", "plan", "decoder")
    params: dict[str, Any] = {
        name: jnp.asarray(rng.normal(size=(2 * UNITS, 4 * UNITS)) / np.sqrt(2 * UNITS), jnp.float32) for name in names
    }
    params["embed"] = jnp.asarray(rng.normal(size=(VOCAB, UNITS)) * 0.5, jnp.float32)

    def lstm(w: Any, x: Any, state: Any, mask: Any = None) -> Any:
        def step(state: Any, now: Any) -> Any:
            x, real = now
            i, f, o, g = jnp.split(jnp.concatenate([x, state[1]], -1) @ w, 4, -1)
            c = jax.nn.sigmoid(f + 1) * state[0] + jax.nn.sigmoid(i) * jnp.tanh(g)
            new = (c, jax.nn.sigmoid(o) * jnp.tanh(c))
            new = jax.tree.map(lambda a, b: jnp.where(real[:, None], a, b), new, state)
            return new, new[1]

        mask = jnp.ones(x.shape[:2], bool) if mask is None else mask
        return jax.lax.scan(step, state, (x.swapaxes(0, 1), mask.swapaxes(0, 1)))

    def zeros(rows: int) -> Any:
        return (jnp.zeros((rows, UNITS)), jnp.zeros((rows, UNITS)))

    def loss(params: Any, words: Any) -> Any:
        rows = words.reshape(-1, words.shape[-1])
        x = params["embed"][rows]
        (_, sent), _ = lstm(params["words"], x, zeros(len(rows)), rows != 0)
        # Words are masked, but blank sentences are not.
        state, _ = lstm(params["sentences"], sent.reshape(*words.shape[:2], UNITS), zeros(len(words)))
        _, plans = lstm(params["plan"], jnp.zeros((*words.shape[:2], UNITS)), state)
        start = plans.swapaxes(0, 1).reshape(-1, UNITS)
        _, hidden = lstm(params["decoder"], jnp.pad(x[:, :-1], ((0, 0), (1, 0), (0, 0))), (0 * start, start))
        logits = hidden.swapaxes(0, 1) @ params["embed"].T
        nll = optax.softmax_cross_entropy_with_integer_labels(logits, rows)
        return jnp.where(rows != 0, nll, 0).sum() / (rows != 0).sum()

    return {"loss": loss, "params": params, "batches": list(words), "optimizer": optax.adam(5e-3)}


THREADS: dict[str, tuple[str, Callable[[], dict[str, Any]]]] = {
    "keras-team/keras#395": ("padding-in-loss", keras_395),
    "keras-team/keras#510": ("inputs-unscaled", keras_510),
    "keras-team/keras#1360": ("gates-saturated", keras_1360),
    "keras-team/keras#1855": ("padding-in-encoder", keras_1855),
    "keras-team/keras#2194": ("unbounded-activation", keras_2194),
    "keras-team/keras#3618": ("blank-sentences", keras_3618),
    "keras-team/keras#10753": ("constant-output", keras_10753),
    "keras-team/keras#11828": ("bottleneck-too-small", keras_11828),
    "keras-team/keras#13221": ("unbounded-activation", keras_13221),
    "ray-project/ray#2992": ("loss-reduction", ray_2992),
    "ray-project/ray#21392": ("padding-in-encoder", ray_21392),
    "neubig/nn4nlp-code#13": ("code-unwired", nn4nlp_13),
    "timbmg/Sentence-VAE#22": ("target-leak", sentence_vae_22),
    "salesforce/awd-lstm-lm#48": ("frozen-parameters", awd_lstm_48),
    "karpathy/nanoGPT#240": ("dropout-wrong", nanogpt_240),
    "magenta/magenta#704": ("data-not-shuffled", magenta_704),
    "tensorflow/tensorflow#21929": ("masked-nan", tensorflow_21929),
    "a rate of 1": ("learning-rate-too-high", high_learning_rate),
    "a rate of 1e-5": ("learning-rate-too-low", low_learning_rate),
}
"""Threads, with the cause that was found there, and the rebuilt setup."""
HEALTHY: dict[str, Callable[[], dict[str, Any]]] = {
    "sentences": lambda: trained_on_text(Seq2Seq()),
    "sentences, GRU": lambda: trained_on_text(Seq2Seq(nn.GRUCell)),
    "sentences, little dropout": lambda: trained_on_text(Seq2Seq(drop=0.2), optimizer=optax.adamw(4e-3)),
    "sentences without padding": lambda: trained_on_text(Seq2Seq(), text(pads=False), mean="all"),
    "series": lambda: trained_on_series(signal()),
}
