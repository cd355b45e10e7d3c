"""Small recurrent models of every kind as training setups: what people build with Flax, in the usual shapes."""

from dataclasses import dataclass
from typing import Any

import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np
import optax

VOCAB, CLASSES = 20, 4
CELLS = {"lstm": nn.OptimizedLSTMCell, "gru": nn.GRUCell, "simple": nn.SimpleCell}
TASKS = (
    "forecaster", "window", "regressor", "step regressor", "classifier", "tagger", "binary", "language model",
    "seq2seq", "text autoencoder", "series autoencoder", "VAE",
)  # fmt: skip
KIND = {
    "window": "forecaster", "step regressor": "regressor", "tagger": "classifier", "binary": "classifier",
    "text autoencoder": "autoencoder", "series autoencoder": "autoencoder",
}  # fmt: skip
"""Kinds of tasks that are not called by their kind."""


@dataclass(frozen=True)
class Variant:
    """What determines a model.

    Attributes:
        task: one of `TASKS`.
        cell: one of `CELLS`.
        layers: number of recurrent layers.
        bidirectional: whether encoders read in both directions.
        attention: whether a last layer attends to all steps.
        conv: whether a convolution precedes the recurrence.
        squeeze: whether the output has no last axis of size 1.
        one_hot: whether labels are one-hot vectors.
        masked: whether sequences have different lengths, which the model and the loss respect.
        form: of batches: "dict" or "tuple".
        units: of the recurrence.
        length: steps of the sequences.
        batch: examples in a batch.
        rate: learning rate of Adam.
        seed: of weights and data.
    """

    task: str
    cell: str = "lstm"
    layers: int = 1
    bidirectional: bool = False
    attention: bool = False
    conv: bool = False
    squeeze: bool = False
    one_hot: bool = False
    masked: bool = False
    form: str = "dict"
    units: int = 16
    length: int = 12
    batch: int = 16
    rate: float = 1e-2
    seed: int = 0

    @property
    def kind(self) -> str:
        """The kind of model that the doctor should recognise."""
        return KIND.get(self.task, self.task)

    @property
    def text(self) -> bool:
        """Whether inputs are ids."""
        return self.task in ("classifier", "tagger", "binary", "language model", "seq2seq", "text autoencoder", "VAE")


class Encoder(nn.Module):
    """Recurrent layers; returns all steps and the last state."""

    variant: Variant
    causal: bool = False

    @nn.compact
    def __call__(self, x: Any, lengths: Any = None) -> Any:
        v = self.variant
        real = None if lengths is None else jnp.arange(x.shape[1]) < lengths[:, None]
        if v.conv and not self.causal:
            x = x if real is None else x * real[..., None]
            x = nn.relu(nn.Conv(v.units, (3,))(x))
        state = None
        for _ in range(v.layers):
            if v.bidirectional and not self.causal:
                forward, backward = (nn.RNN(CELLS[v.cell](v.units), return_carry=True) for _ in range(2))
                (a, y), (b, z) = (
                    forward(x, seq_lengths=lengths),
                    backward(x, seq_lengths=lengths, reverse=True, keep_order=True),
                )
                state, x = (a, b), jnp.concatenate([y, z], -1)
            else:
                state, x = nn.RNN(CELLS[v.cell](v.units), return_carry=True)(x, seq_lengths=lengths)
        if v.attention and not self.causal and v.kind not in ("autoencoder", "VAE"):
            mask = None if real is None else real[:, None, None]
            x = x + nn.MultiHeadDotProductAttention(2, use_bias=False)(x, x, mask=mask)
        last = jnp.concatenate(
            [
                leaf[1] if isinstance(leaf, tuple) else leaf
                for leaf in (state if v.bidirectional and not self.causal else (state,))
            ],
            -1,
        )
        return x, last


class Model(nn.Module):
    """A model of one task; returns logits or predictions, and the mean and deviation of a latent variable."""

    variant: Variant

    @nn.compact
    def __call__(self, batch: dict[str, Any], key: Any = None) -> Any:
        v = self.variant
        lengths, x = batch.get("lengths"), batch["x"]
        if v.text:
            x = nn.Embed(VOCAB, v.units)(x)
        causal = v.task in ("forecaster", "language model")
        if v.task == "language model" or (v.task == "forecaster" and "y" not in batch):
            x = x[:, :-1]
        steps, last = Encoder(v, causal)(x, lengths)
        if v.attention and not causal and v.task in ("classifier", "binary", "regressor", "window"):
            real = jnp.ones(steps.shape[:2]) if lengths is None else jnp.arange(steps.shape[1]) < lengths[:, None]
            last = (steps * real[..., None]).sum(1) / real.sum(1)[:, None]
        head = {"classifier": CLASSES, "tagger": CLASSES, "language model": VOCAB, "seq2seq": VOCAB,
                "text autoencoder": VOCAB, "VAE": VOCAB}.get(v.task, 1)  # fmt: skip
        if v.task in ("classifier", "binary", "regressor", "window"):
            y = nn.Dense(head)(last)
            return y[..., 0] if v.squeeze and head == 1 else y
        if v.task in ("forecaster", "step regressor", "tagger", "language model"):
            y = nn.Dense(head)(steps)
            return y[..., 0] if v.squeeze and head == 1 else y
        code = last
        if v.task == "VAE":
            mean, log = nn.Dense(8)(last), nn.Dense(8)(last) - 2
            code = mean + jnp.exp(log / 2) * jax.random.normal(key, mean.shape)
        start = nn.Dense(v.units)(code)
        if v.task in ("series autoencoder", "VAE"):
            fed = jnp.broadcast_to(start[:, None], (*x.shape[:2], v.units))
        else:
            words = batch["y"] if v.task == "seq2seq" else batch["x"]
            fed = nn.Embed(VOCAB, v.units)(jnp.pad(words[:, :-1], ((0, 0), (1, 0))))
        carry = (start, start) if v.cell == "lstm" else start
        y = nn.RNN(CELLS[v.cell](v.units))(fed, initial_carry=carry)
        if v.attention and v.task == "seq2seq":
            mask = None if lengths is None else (jnp.arange(steps.shape[1]) < lengths[:, None])[:, None, None]
            y = jnp.concatenate([y, nn.MultiHeadDotProductAttention(2)(y, steps, mask=mask)], -1)
        y = nn.Dense(head)(y)
        return (y, mean, log) if v.task == "VAE" else y


def data(v: Variant, count: int = 24) -> list[dict[str, np.ndarray]]:
    """Returns batches: sentences in which each word has three successors, or sines, with their targets."""
    rng = np.random.default_rng(v.seed)
    rows = count * v.batch
    lengths = rng.integers(v.length // 2, v.length + 1, rows) if v.masked else np.full(rows, v.length)
    real = np.arange(v.length) < lengths[:, None]
    if v.text:
        after = rng.integers(1, VOCAB, (VOCAB, 3))
        x = np.zeros((rows, v.length), np.int32)
        x[:, 0] = rng.integers(1, VOCAB, rows)
        for t in range(1, v.length):
            x[:, t] = after[x[:, t - 1], rng.integers(0, 3, rows)]
        x *= real
    else:
        pitch, phase = rng.uniform(0.3, 0.9, (rows, 1)), rng.uniform(0, 6.3, (rows, 1))
        if v.task == "window":
            # Windows of one series.
            pitch, phase = np.array([[0.5]]), 0.5 * rng.permutation(rows)[:, None]
        long = np.sin(pitch * np.arange(v.length + 1) + phase)
        if v.task != "window":
            long = long + 0.1 * rng.normal(size=long.shape)
        x = (long[:, :-1] * real)[..., None].astype(np.float32)
    made = {"x": x}
    if v.masked:
        made |= {"lengths": lengths.astype(np.int32), "mask": real.astype(np.float32)}
    if v.task == "window":
        made["y"] = long[np.arange(rows), lengths].astype(np.float32)[:, None].round(4)
        made["x"] = x.round(4)
    elif v.task == "regressor":
        made["y"] = (4 * (pitch - 0.6)).astype(np.float32)
    elif v.task == "step regressor":
        made["y"] = (np.cumsum(x[..., 0], 1)[..., None] / 3).astype(np.float32)
    elif v.task == "classifier":
        made["y"] = (x.sum(1) + lengths) % CLASSES * 0 + (x % 5 == 1).sum(1).clip(0, CLASSES - 1)
    elif v.task == "binary":
        made["y"] = ((x % 3 == 1).sum(1) > v.length / 3).astype(np.float32)[:, None]
    elif v.task == "tagger":
        made["y"] = (x % CLASSES).astype(np.int32)
    elif v.task == "seq2seq":
        made["y"] = np.where(real, 1 + (x[:, ::-1] if not v.masked else x) * 3 % (VOCAB - 1), 0).astype(np.int32)
    if "y" in made and v.squeeze and made["y"].ndim > 1 and made["y"].shape[-1] == 1:
        made["y"] = made["y"][..., 0]
    if v.one_hot and v.task in ("classifier", "tagger"):
        made["y"] = np.eye(CLASSES, dtype=np.float32)[made["y"]]
    return [{name: value[at : at + v.batch] for name, value in made.items()} for at in range(0, rows, v.batch)]


def loss_of(v: Variant, model: Model, names: list[str]) -> Any:
    """Returns the loss."""

    def loss(params: Any, batch: Any, key: Any) -> Any:
        batch = dict(zip(names, batch, strict=True)) if isinstance(batch, tuple) else batch
        y = model.apply({"params": params}, batch, key)
        penalty = 0.0
        if v.task == "VAE":
            y, mean, log = y
            penalty = 0.1 * 0.5 * (jnp.exp(log) + mean**2 - 1 - log).sum(-1).mean() / v.length
        mask = batch.get("mask")
        if v.task in ("language model", "text autoencoder", "VAE"):
            goal = batch["x"][:, 1:] if v.task == "language model" else batch["x"]
            each = optax.softmax_cross_entropy_with_integer_labels(y, goal)
            mask = None if mask is None else mask[:, -each.shape[1] :]
        elif v.task in ("classifier", "tagger", "seq2seq"):
            one_hot = v.one_hot and v.task != "seq2seq"
            losses = optax.softmax_cross_entropy, optax.softmax_cross_entropy_with_integer_labels
            each = losses[0 if one_hot else 1](y, batch["y"])
        elif v.task == "binary":
            each = optax.sigmoid_binary_cross_entropy(y, batch["y"])
        else:
            goal = batch["y"] if "y" in batch else batch["x"][:, 1:] if v.task == "forecaster" else batch["x"]
            goal = goal[..., 0] if y.ndim < goal.ndim else goal
            each = (y - goal) ** 2
            if mask is not None and v.task == "forecaster":
                mask = mask[:, 1:]
        if mask is None or v.task in ("classifier", "binary", "regressor", "window"):
            return each.mean() + penalty
        mask = mask[..., None] if each.ndim > mask.ndim else mask
        return (each * mask).sum() / mask.sum() + penalty

    return loss


def setup(v: Variant, **change: Any) -> dict[str, Any]:
    """Returns the training setup of a variant."""
    batches, model = data(v), Model(v)
    params = jax.jit(model.init)(jax.random.key(v.seed), batches[0], jax.random.key(0))["params"]
    names = list(batches[0])
    made = {
        "loss": loss_of(v, model, names),
        "params": params,
        "batches": [tuple(each.values()) for each in batches] if v.form == "tuple" else batches,
        "optimizer": optax.adam(v.rate),
    }
    return made | change


def draw(number: int) -> Variant:
    """Returns a variant drawn at random."""
    rng = np.random.default_rng(number)

    def chance(p: float) -> bool:
        return bool(rng.random() < p)

    cell, layers = str(rng.choice(list(CELLS), p=(0.5, 0.4, 0.1))), int(rng.integers(1, 5) if chance(0.4) else 1)
    return Variant(
        TASKS[number % len(TASKS)], cell, layers, chance(0.25), chance(0.25), chance(0.2), chance(0.5), chance(0.5),
        chance(0.4), str(rng.choice(("dict", "tuple"))),
        int(rng.choice((8, 16, 32))), int(rng.choice((8, 12, 20, 30))), int(rng.choice((8, 16, 32))),
        float(rng.choice((2e-3, 5e-3, 1e-2, 2e-2))), number,
    )  # fmt: skip
