"""Patients in the manner of public threads: what somebody asked about, rebuilt small in JAX."""

from typing import NamedTuple

import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np
import optax

VOCAB, UNITS = 27, 24


def text(count=24, batch=12, time=9, seed=0, pads=True):
    """Batches of sentences in which each word has two successors; 0 fills them up."""
    rng = np.random.default_rng(seed)
    after = rng.integers(1, VOCAB, (VOCAB, 2))
    ids = np.zeros((count * batch, time), np.int32)
    ids[:, 0] = rng.integers(1, VOCAB, len(ids))
    for t in range(1, time):
        ids[:, t] = after[ids[:, t - 1], rng.integers(0, 2, len(ids))]
    if pads:
        ids *= np.arange(time) < rng.integers(time // 2, time + 1, len(ids))[:, None]
    return np.split(ids, count)


def signal(count=24, batch=12, time=16, seed=0):
    """Batches of sums of sines."""
    rng = np.random.default_rng(seed)
    pitch, phase = rng.uniform(0.2, 0.9, (2, count * batch, 1, 3))
    return np.split(np.sin(pitch * np.arange(time)[:, None] + 6 * phase).astype(np.float32), count)


class Seq2Seq(nn.Module):
    """What most of them have: an LSTM whose state starts another one."""

    cell: type[nn.RNNCellBase] = nn.OptimizedLSTMCell
    options: tuple = ()
    masked: bool = True
    passed: bool = True
    shift: bool = True
    drop: float = 0.0

    @nn.compact
    def __call__(self, ids, deterministic=True):
        make = dict(self.options)
        x = nn.Embed(VOCAB, UNITS)(ids)
        x = nn.Dropout(self.drop)(x, deterministic=deterministic)
        lengths = (ids != 0).sum(-1) if self.masked else None
        state, _ = nn.RNN(self.cell(UNITS, **make), return_carry=True, name="reader")(x, seq_lengths=lengths)
        before = jnp.pad(x[:, :-1], ((0, 0), (1, 0), (0, 0))) if self.shift else x
        start = state if self.passed else None
        y = nn.RNN(self.cell(UNITS, **make), name="writer")(before, initial_carry=start)
        return nn.Dense(VOCAB)(y)


def trained_on_text(model, batches=None, optimizer=None, mean="masked", **more):
    """A patient of a model of sentences."""
    batches = text() if batches is None else batches
    params = model.init(jax.random.key(1), batches[0])["params"]

    def loss(params, ids, key):
        logits = model.apply({"params": params}, ids, deterministic=False, rngs={"dropout": key})
        nll = optax.softmax_cross_entropy_with_integer_labels(logits, ids)
        mask = ids != 0
        return {"masked": lambda: (nll * mask).sum() / mask.sum(), "all": nll.mean, "sum": lambda: (nll * mask).sum()}[
            mean
        ]()

    return {"loss": loss, "params": params, "batches": batches, "optimizer": optimizer or optax.adam(8e-3)} | more


class Series(NamedTuple):
    """A batch of series."""

    x: np.ndarray


def trained_on_series(batches, act=jnp.tanh, last=lambda y: y, scale=1.0, see=1.0):
    """A patient that reads a series and unrolls its code, by hand."""
    rng = np.random.default_rng(3)
    shapes = {"read": (3 + UNITS, 4 * UNITS), "write": (2 * UNITS, 4 * UNITS), "out": (UNITS, 3)}
    params = {k: jnp.asarray(rng.normal(size=s) * scale / np.sqrt(s[0]), jnp.float32) for k, s in shapes.items()}

    def cell(w, state, x):
        h, c = state
        i, f, o, g = jnp.split(jnp.concatenate([x, h], -1) @ w, 4, -1)
        c = jax.nn.sigmoid(f + 1) * c + jax.nn.sigmoid(i) * act(g)
        h = jax.nn.sigmoid(o) * act(c)
        return (h, c), h

    def loss(params, batch):
        zeros = jnp.zeros((batch.x.shape[0], UNITS))
        (code, _), _ = jax.lax.scan(lambda s, x: cell(params["read"], s, x), (zeros, zeros), batch.x.swapaxes(0, 1))
        every = jnp.broadcast_to(see * code, (batch.x.shape[1], *code.shape))
        _, y = jax.lax.scan(lambda s, x: cell(params["write"], s, x), (zeros, zeros), every)
        return jnp.mean((last(y.swapaxes(0, 1) @ params["out"]) - batch.x) ** 2), {"code": code}

    return {"loss": loss, "params": params, "batches": [Series(x) for x in batches], "optimizer": optax.adam(8e-3)}


def keras_395():
    return "padding-in-loss", trained_on_text(Seq2Seq(), mean="all")


def keras_510():
    return "inputs-unscaled", trained_on_series([400 * x + 900 for x in signal()])


def keras_1360():
    wide = nn.initializers.normal(30.0)
    return "gates-saturated", trained_on_text(Seq2Seq(options=(("kernel_init", wide),)))


def keras_1855():
    return "padding-in-encoder", trained_on_text(Seq2Seq(masked=False))


def keras_2194():
    return "unbounded-activation", trained_on_series(signal(), act=jax.nn.relu)


def keras_10753():
    return "constant-output", trained_on_series(signal(), see=1e-5)


def keras_11828():
    return "bottleneck-too-small", trained_on_series([2 * x for x in signal()], last=jax.nn.sigmoid)


def ray_2992():
    return "loss-reduction", trained_on_text(Seq2Seq(), mean="sum")


def nn4nlp_13():
    return "code-unwired", trained_on_text(Seq2Seq(passed=False))


def sentence_vae_22():
    return "target-leak", trained_on_text(Seq2Seq(shift=False))


def awd_lstm_48():
    parts = {"still": optax.set_to_zero(), "moving": optax.adam(8e-3)}
    made = trained_on_text(Seq2Seq())
    names = [name for name in made["params"] if name not in ("Embed_0", "Dense_0")]
    labels = {name: "still" if name == names[0] else "moving" for name in made["params"]}
    return "frozen-parameters", made | {"optimizer": optax.multi_transform(parts, lambda _: labels)}


def nanogpt_240():
    model = Seq2Seq(drop=0.4)
    made = trained_on_text(model)
    # The same loss for evaluation, with its dropout.
    return "dropout-wrong", made | {"eval_loss": made["loss"]}


def magenta_704():
    rows = np.concatenate(text())
    return "data-not-shuffled", trained_on_text(Seq2Seq(), np.split(rows[np.argsort(rows[:, 0])], 24))


def tensorflow_21929():
    made = trained_on_text(Seq2Seq())
    for ids in made["batches"][::3]:
        ids[2] = 0
    inner = made["loss"]

    def loss(params, ids, key):
        # The mean vector of a sentence is kept small; a sentence without words has none.
        x, mask = params["Embed_0"]["embedding"][ids] @ params["Dense_0"]["kernel"], (ids != 0)[..., None]
        mean = (x * mask).sum(1) / mask.sum(1)
        size = jnp.where(mask.any(1)[:, 0], jnp.linalg.norm(mean, axis=-1), 0)
        return inner(params, jnp.where(mask[..., 0].any(1, keepdims=True), ids, 1), key) + 1e-3 * size.mean()

    return "masked-nan", made | {"loss": loss}


def optimizer_of_a_tutorial():
    return "learning-rate-too-high", trained_on_text(Seq2Seq(), optimizer=optax.adam(1.0))


def shy_optimizer():
    return "learning-rate-too-low", trained_on_text(Seq2Seq(), optimizer=optax.sgd(1e-5))


THREADS = {
    "keras-team/keras#395": keras_395,
    "keras-team/keras#510": keras_510,
    "keras-team/keras#1360": keras_1360,
    "keras-team/keras#1855": keras_1855,
    "keras-team/keras#2194": keras_2194,
    "keras-team/keras#10753": keras_10753,
    "keras-team/keras#11828": keras_11828,
    "ray-project/ray#2992": ray_2992,
    "neubig/nn4nlp-code#13": nn4nlp_13,
    "timbmg/Sentence-VAE#22": sentence_vae_22,
    "salesforce/awd-lstm-lm#48": awd_lstm_48,
    "karpathy/nanoGPT#240": nanogpt_240,
    "magenta/magenta#704": magenta_704,
    "tensorflow/tensorflow#21929": tensorflow_21929,
    "a rate of 1": optimizer_of_a_tutorial,
    "a rate of 1e-5": shy_optimizer,
}
HEALTHY = {
    "sentences": lambda: trained_on_text(Seq2Seq()),
    "sentences, GRU": lambda: trained_on_text(Seq2Seq(nn.GRUCell)),
    "sentences, little dropout": lambda: trained_on_text(Seq2Seq(drop=0.2), optimizer=optax.adamw(4e-3)),
    "sentences without padding": lambda: trained_on_text(Seq2Seq(), text(pads=False), mean="all"),
    "series": lambda: trained_on_series(signal()),
}
