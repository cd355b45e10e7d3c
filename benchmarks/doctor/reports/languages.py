"""Language models, and a classifier that recalls a word."""

from typing import Any

import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np
import optax

from benchmarks.doctor.models.seq2seq import UNITS, VOCAB, text
from benchmarks.doctor.reports.case import HEALTHY, Case
from benchmarks.doctor.reports.layers import affine, dense, lstm, run_lstm


def mean_nll(logits: Any, targets: Any) -> Any:
    """Returns the mean negative log-likelihood of the targets."""
    return optax.softmax_cross_entropy_with_integer_labels(logits, targets).mean()


class Reader(nn.Module):
    """A language model of Flax: embedding, recurrence, logits; with `both`, it reads from both ends."""

    both: bool = False

    @nn.compact
    def __call__(self, ids: Any) -> Any:
        x = nn.Embed(VOCAB, UNITS, name="words")(ids)
        y: Any = nn.RNN(nn.OptimizedLSTMCell(UNITS), name="forward")(x)
        if self.both:
            back: Any = nn.RNN(nn.OptimizedLSTMCell(UNITS), reverse=True, keep_order=True, name="backward")(x)
            y = jnp.concatenate([y, back], -1)
        return nn.Dense(VOCAB, name="next")(y)


def of_reader(model: Reader, batches: list[np.ndarray], optimizer: Any = None) -> dict[str, Any]:
    """Returns a setup of a Flax language model that predicts each next word."""
    params = jax.jit(model.init)(jax.random.key(0), batches[0][:, :-1])

    def loss(params: Any, ids: Any, key: Any) -> Any:
        return mean_nll(model.apply(params, ids[:, :-1]), ids[:, 1:])

    return {"loss": loss, "params": params, "batches": batches, "optimizer": optimizer or optax.adam(1e-2)}


def char_rnn_64(faulty: bool) -> dict[str, Any]:
    return of_reader(Reader(both=faulty), text(pads=False))


def accumulated() -> optax.GradientTransformation:
    """Returns a transformation that sums all gradients since the first step."""
    return optax.GradientTransformation(
        lambda params: jax.tree.map(jnp.zeros_like, params),
        lambda g, total, params=None: (jax.tree.map(jnp.add, total, g),) * 2,
    )


def transformers_340(faulty: bool) -> dict[str, Any]:
    steps = optax.adamw(optax.linear_schedule(0.0, 1e-2, 20))
    return of_reader(Reader(), text(pads=False, seed=1), optax.chain(accumulated(), steps) if faulty else steps)


def hand_made(rng: np.random.Generator, rows: int = VOCAB) -> dict[str, Any]:
    """Returns the weights of a language model without a framework, whose table has the given number of rows."""
    table = jnp.asarray(rng.normal(size=(rows, UNITS)) * 0.4, jnp.float32)
    return {"table": table, "cell": lstm(rng, UNITS, UNITS), "out": dense(rng, UNITS, VOCAB)}


def d2l_1552(faulty: bool) -> dict[str, Any]:
    params = hand_made(np.random.default_rng(2))

    def loss(params: Any, pair: Any) -> Any:
        x, y = pair
        _, h = run_lstm(params["cell"], params["table"][x])
        # Logits in the order of time; the labels have to be transposed like the inputs.
        logits = affine(params["out"], jnp.swapaxes(h, 0, 1)).reshape(-1, VOCAB)
        return mean_nll(logits, y.reshape(-1) if faulty else y.T.reshape(-1))

    batches = [(ids[:, :-1], ids[:, 1:]) for ids in text(pads=False, seed=2)]
    return {"loss": loss, "params": params, "batches": batches, "optimizer": optax.adam(1e-2)}


def jax_3774(faulty: bool) -> dict[str, Any]:
    # Indices beyond the table read its last row.
    params = hand_made(np.random.default_rng(3), VOCAB // 3 if faulty else VOCAB)

    def loss(params: Any, batch: Any) -> Any:
        ids = batch["ids"]
        _, h = run_lstm(params["cell"], params["table"][ids[:, :-1]])
        return mean_nll(affine(params["out"], h), ids[:, 1:])

    batches = [{"ids": ids} for ids in text(pads=False, seed=3)]
    return {"loss": loss, "params": params, "batches": batches, "optimizer": optax.adam(1e-2)}


def char_rnn_70(faulty: bool) -> dict[str, Any]:
    params = hand_made(np.random.default_rng(4))

    def loss(params: Any, ids: Any) -> Any:
        _, h = run_lstm(params["cell"], params["table"][ids[:, :-1]])
        nll = optax.softmax_cross_entropy_with_integer_labels(affine(params["out"], h), ids[:, 1:])
        return nll.sum(1).mean() if faulty else nll.mean()

    batches = text(pads=False, seed=4, time=40, batch=8)
    return {"loss": loss, "params": params, "batches": batches, "optimizer": optax.sgd(0.8, momentum=0.9)}


def tape_32(faulty: bool) -> dict[str, Any]:
    model = Reader()
    batches = [(ids, ids) for ids in text(pads=False, seed=5)]
    params = jax.jit(model.init)(jax.random.key(5), batches[0][0])

    def loss(params: Any, pair: Any) -> Any:
        words, targets = pair
        # The model shifts its inputs itself, so that words and targets of the data are the same.
        return mean_nll(model.apply(params, jnp.pad(words, ((0, 0), (1, 0)))[:, :-1]), targets)

    return {"loss": loss, "params": params, "batches": batches, "optimizer": optax.adam(1e-2)}


def keras_1160(faulty: bool) -> dict[str, Any]:
    rng = np.random.default_rng(6)
    stream = np.concatenate(text(pads=False, seed=6, time=400, batch=1, count=8))
    windows = np.stack([row[at : at + 9] for row in stream for at in range(0, 390)])
    order = rng.permutation(len(windows))[: 24 * 16]
    batches = [(each[:, :-1], each[:, -1]) for each in np.split(windows[order], 24)]
    params = hand_made(rng)

    def loss(params: Any, pair: Any) -> Any:
        x, following = pair
        (_, last), _ = run_lstm(params["cell"], params["table"][x])
        return mean_nll(affine(params["out"], last), following)

    return {"loss": loss, "params": params, "batches": batches, "optimizer": optax.rmsprop(1e-2)}


def mamba_61(faulty: bool) -> dict[str, Any]:
    rng = np.random.default_rng(7)
    ids, goal = rng.integers(4, 12, (24 * 16, 30)), rng.integers(0, 4, 24 * 16)
    # One word of another kind is to be recalled at the end.
    ids[np.arange(len(ids)), rng.integers(0, 12, len(ids))] = goal
    batches = list(zip(np.split(ids, 24), np.split(goal, 24), strict=True))
    params = {
        "table": jnp.asarray(rng.normal(size=(12, UNITS)) * 0.05, jnp.float32),
        "keep": jnp.asarray(rng.uniform(2, 4, UNITS), jnp.float32),
        "write": dense(rng, UNITS, UNITS), "gate": dense(rng, UNITS, UNITS), "out": dense(rng, UNITS, 4),
    }  # fmt: skip

    def loss(params: Any, pair: Any) -> Any:
        words, marked = pair
        x = params["table"][words]
        decay = jax.nn.sigmoid(params["keep"] + affine(params["gate"], x))

        def step(state: Any, now: Any) -> Any:
            # A linear recurrence whose decay depends on the input.
            new = now[0] * state + (1 - now[0]) * now[1]
            return new, new

        moved = (jnp.swapaxes(decay, 0, 1), jnp.swapaxes(affine(params["write"], x), 0, 1))
        last, _ = jax.lax.scan(step, jnp.zeros((len(words), UNITS)), moved)
        return mean_nll(affine(params["out"], last), marked)

    return {"loss": loss, "params": params, "batches": batches, "optimizer": optax.adam(3e-3)}


KIND = "language model"
CASES = (
    Case("sherjilozair/char-rnn-tensorflow#64", KIND, "target-leak",
         "perplexity in training is excellent, but the generated text is useless", char_rnn_64, 1.6, pull=True),
    Case("d2l-ai/d2l-en#1552", KIND, "targets-scrambled",
         "the perplexity of the model written from scratch stays high", d2l_1552, 1.6, pull=True),
    Case("huggingface/transformers#340", KIND, "gradients-accumulated",
         "the gradients are not reset between the batches of the fine-tuning", transformers_340, 1.6),
    Case("jax-ml/jax#3774", KIND, "ids-out-of-range",
         "no error, but the model is bad; the table of embeddings had fewer rows than the vocabulary", jax_3774, 1.6),
    Case("karpathy/char-rnn#70", KIND, "loss-reduction",
         "longer sequences need a ridiculously small learning rate", char_rnn_70, 1.6),
    Case("songlab-cal/tape#32", KIND, HEALTHY,
         "inputs and targets of the data are equal, which looks like a leak", tape_32, 1.7),
    Case("keras-team/keras#1160", KIND, HEALTHY,
         "windows are shuffled, which seems to destroy the order of the text", keras_1160, 1.6),
    Case("state-spaces/mamba#61", "classifier", HEALTHY,
         "the loss stays on a plateau for many steps and then falls like a cliff", mamba_61, 1.0),
)  # fmt: skip
