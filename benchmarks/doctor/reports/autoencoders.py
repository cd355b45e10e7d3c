"""Autoencoders of sentences and of series, and taggers of their steps."""

from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import optax
from flax import nnx

from benchmarks.doctor.models.seq2seq import VOCAB, Seq2Seq, signal, text, trained_on_text
from benchmarks.doctor.reports.case import HEALTHY, Case
from benchmarks.doctor.reports.layers import affine, dense, lstm, run_lstm

UNITS = 24
KIND = "autoencoder"


def unrolling(seed: int, batches: list[Any], last: Any, units: int = UNITS) -> dict[str, Any]:
    """Returns the setup of an autoencoder that unrolls its code; `last` maps parameters and states to the output."""
    rng = np.random.default_rng(seed)
    features = batches[0].shape[-1]
    params = {"read": lstm(rng, features, UNITS), "write": lstm(rng, UNITS, units), "out": dense(rng, units, features)}

    def loss(params: Any, x: Any) -> Any:
        (_, code), _ = run_lstm(params["read"], x)
        _, y = run_lstm(params["write"], jnp.broadcast_to(code[:, None], (*x.shape[:2], UNITS)))
        return jnp.square(last(params, y) - x).mean(), {"code": code}

    return {"loss": loss, "params": params, "batches": batches, "optimizer": optax.adam(1e-2)}


def nicodjimenez_37(faulty: bool) -> dict[str, Any]:
    batches = [2.5 * x for x in signal(seed=20)]
    if not faulty:
        return unrolling(0, batches, lambda params, y: affine(params["out"], y))
    # The hidden state, which lies between -1 and 1, is the output.
    made = unrolling(0, batches, lambda params, y: y, units=3)
    del made["params"]["out"]
    return made


def autoencoder_classifier_2(faulty: bool) -> dict[str, Any]:
    # Standardised data, half of which is below 0.
    last = jax.nn.relu if faulty else lambda y: y
    return unrolling(1, signal(seed=21), lambda params, y: last(affine(params["out"], y)))


class Tagger(nnx.Module):
    """A bidirectional LSTM between two affine maps; with `zeros`, all of its weights are 0 at first."""

    def __init__(self, zeros: bool, rngs: nnx.Rngs) -> None:
        zero = nnx.initializers.zeros
        make: dict[str, Any] = {"kernel_init": zero, "recurrent_kernel_init": zero} if zeros else {}
        last: dict[str, Any] = {"kernel_init": zero} if zeros else {}
        self.embed = nnx.Embed(VOCAB, UNITS, rngs=rngs)
        self.ahead = nnx.RNN(nnx.OptimizedLSTMCell(UNITS, UNITS, rngs=rngs, **make))
        self.back = nnx.RNN(nnx.OptimizedLSTMCell(UNITS, UNITS, rngs=rngs, **make), reverse=True, keep_order=True)
        self.out = nnx.Linear(2 * UNITS, 4, rngs=rngs, **last)

    def __call__(self, ids: Any) -> Any:
        x, zeros = self.embed(ids), jnp.zeros((len(ids), UNITS))
        both = [each(x, initial_carry=(zeros, zeros)) for each in (self.ahead, self.back)]
        return self.out(jnp.concatenate(both, -1))


def ctpn_62(faulty: bool) -> dict[str, Any]:
    parts: Any = nnx.split(Tagger(faulty, nnx.Rngs(2)), nnx.Param, ...)
    graph, params, rest = parts
    rng = np.random.default_rng(2)
    tags = rng.choice(4, VOCAB)
    batches = [(ids, (tags[ids] + (np.roll(ids, 1, 1) > 13)) % 4) for ids in text(seed=22, pads=False)]

    def loss(params: Any, pair: Any) -> Any:
        logits = nnx.merge(graph, params, rest)(pair[0])
        return optax.softmax_cross_entropy_with_integer_labels(logits, pair[1]).mean()

    return {"loss": loss, "params": params, "batches": batches, "optimizer": optax.adam(1e-2)}


def ctc_model_12(faulty: bool) -> dict[str, Any]:
    rng = np.random.default_rng(3)
    letters = rng.normal(size=(5, 4)).astype(np.float32)
    batches = []
    for _ in range(24):
        label = rng.integers(1, 6, (12, 4))
        # Each letter is drawn over three steps of noise.
        frames = np.repeat(letters[label - 1], 3, axis=1) + 0.3 * rng.normal(size=(12, 12, 4))
        batches.append({"frames": frames.astype(np.float32), "letters": label})
    params = {"ahead": lstm(rng, 4, UNITS), "back": lstm(rng, 4, UNITS), "out": dense(rng, 2 * UNITS, 6)}

    def loss(params: Any, batch: Any) -> Any:
        x = batch["frames"]
        _, ahead = run_lstm(params["ahead"], x)
        _, back = run_lstm(params["back"], x, reverse=True)
        logits = affine(params["out"], jnp.concatenate([ahead, back], -1))
        none = jnp.zeros(x.shape[:2])
        return optax.ctc_loss(logits, none, batch["letters"], jnp.zeros(batch["letters"].shape)).mean()

    return {"loss": loss, "params": params, "batches": batches, "optimizer": optax.adam(5e-3)}


def easy_seq2seq_6(faulty: bool) -> dict[str, Any]:
    # With a small vocabulary most words are 2, the unknown one.
    known = 8 if faulty else VOCAB
    return trained_on_text(Seq2Seq(), [np.where(ids >= known, 2, ids) for ids in text(seed=23)]) | {"unknown": 2}


CASES = (
    Case("nicodjimenez/lstm#37", KIND, "bottleneck-too-small",
         "targets beyond 1 are never reached, however long the training", nicodjimenez_37, 1.9),
    Case("cran2367/lstm_autoencoder_classifier#2", KIND, "bottleneck-too-small",
         "the reconstruction error does not come near 0 for standardised data", autoencoder_classifier_2, 0.32),
    Case("suriyadeepan/easy_seq2seq#6", "seq2seq", "vocabulary-collapse",
         "almost every answer is the unknown word", easy_seq2seq_6, 2.0),
    Case("tianzhi0549/CTPN#62", "classifier", "weights-zero",
         "with the LSTM the training does not converge, and outputs are unrelated to the input", ctpn_62, 0.6),
    Case("cyprienruffino/CTCModel#12", "classifier", HEALTHY,
         "for many epochs all predictions are empty", ctc_model_12, 3.0),
)  # fmt: skip
