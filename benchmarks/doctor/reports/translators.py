"""Sequence-to-sequence models of words and of series."""

from typing import Any

import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np
import optax

from benchmarks.doctor.models.seq2seq import UNITS, VOCAB, Seq2Seq, signal, text, trained_on_text
from benchmarks.doctor.reports.case import HEALTHY, Case
from benchmarks.doctor.reports.layers import affine, dense, lstm, run_lstm


def translations(seed: int, pads: bool) -> list[dict[str, np.ndarray]]:
    """Returns batches of sentences, and of their translations: the words in another alphabet; 0 is padding."""
    other = np.concatenate([[0], 1 + np.random.default_rng(seed).permutation(VOCAB - 1)]).astype(np.int32)
    return [{"source": ids, "target": other[ids]} for ids in text(seed=seed, pads=pads)]


def attended(seed: int, batches: list[dict[str, np.ndarray]], softmax: Any, masked: bool = True) -> dict[str, Any]:
    """Returns the setup of a translator whose decoder has attention.

    Args:
        seed: of the weights.
        batches: sources and targets.
        softmax: normalizes scores `[batch, target, source]`.
        masked: whether padded words of the source are skipped and have no weight.
    """
    rng = np.random.default_rng(seed)
    tables = {name: jnp.asarray(rng.normal(size=(VOCAB, UNITS)) * 0.5, jnp.float32) for name in ("source", "target")}
    params = tables | {
        "read": lstm(rng, UNITS, UNITS), "write": lstm(rng, UNITS, UNITS), "ask": dense(rng, UNITS, UNITS),
        "out": dense(rng, 2 * UNITS, VOCAB),
    }  # fmt: skip

    def loss(params: Any, batch: Any) -> Any:
        source, target = batch["source"], batch["target"]
        state, keys = run_lstm(params["read"], params["source"][source], real=source != 0 if masked else None)
        before = params["target"][jnp.pad(target, ((0, 0), (1, 0)))[:, :-1]]
        _, y = run_lstm(params["write"], before, state)
        scores = jnp.einsum("btu,bsu->bts", affine(params["ask"], y), keys)
        weights = softmax(jnp.where((source != 0)[:, None], scores, -1e9) if masked else scores)
        logits = affine(params["out"], jnp.concatenate([y, weights @ keys], -1))
        nll = optax.softmax_cross_entropy_with_integer_labels(logits, target)
        return (nll * (target != 0)).sum() / (target != 0).sum()

    return {"loss": loss, "params": params, "batches": batches, "optimizer": optax.adam(1e-2)}


def pytorch_nlp_2(faulty: bool) -> dict[str, Any]:
    return attended(0, translations(0, False), lambda scores: jax.nn.softmax(scores, axis=0 if faulty else -1))


def seq2seq_pytorch_6(faulty: bool) -> dict[str, Any]:
    return attended(1, translations(1, True), jax.nn.softmax, masked=not faulty)


def keqa_2(faulty: bool) -> dict[str, Any]:
    rng = np.random.default_rng(2)
    facts = rng.normal(size=(8, 6)).astype(np.float32)
    ids, which = rng.integers(8, VOCAB, (24 * 16, 12)), rng.integers(0, 8, 24 * 16)
    # One word of a question names the fact whose vector is the answer.
    ids[np.arange(len(ids)), rng.integers(0, 12, len(ids))] = which
    params = {
        "table": jnp.asarray(rng.normal(size=(VOCAB, UNITS)) * 0.5, jnp.float32), "read": lstm(rng, UNITS, UNITS),
        "score": dense(rng, UNITS, 1), "out": dense(rng, UNITS, 6),
    }  # fmt: skip

    def loss(params: Any, pair: Any) -> Any:
        words, fact = pair
        _, y = run_lstm(params["read"], params["table"][words])
        # One score a word, along an axis of size 1.
        weights = jax.nn.softmax(affine(params["score"], y), axis=-1 if faulty else 1)
        return jnp.square(affine(params["out"], (weights * y).sum(1)) - fact).mean()

    batches = list(zip(np.split(ids, 24), np.split(facts[which], 24), strict=True))
    return {"loss": loss, "params": params, "batches": batches, "optimizer": optax.adam(1e-2)}


class Continuation(nn.Module):
    """Continues a series: the state after its first half starts the second; `now` feeds the step to be predicted."""

    now: bool = False

    @nn.compact
    def __call__(self, past: Any, future: Any) -> Any:
        state, _ = nn.RNN(nn.GRUCell(UNITS), return_carry=True, name="reader")(past)
        before = future if self.now else jnp.concatenate([past[:, -1:], future[:, :-1]], 1)
        y = nn.RNN(nn.GRUCell(UNITS), name="writer")(before, initial_carry=state)
        return nn.Dense(past.shape[-1])(y)


def dgl_5802(faulty: bool) -> dict[str, Any]:
    rng, model = np.random.default_rng(3), Continuation(now=faulty)
    batches = [x + 0.2 * rng.normal(size=x.shape).astype(np.float32) for x in signal(seed=3)]
    params = jax.jit(model.init)(jax.random.key(3), batches[0][:, :8], batches[0][:, 8:])

    def loss(params: Any, x: Any) -> Any:
        return jnp.abs(model.apply(params, x[:, :8], x[:, 8:]) - x[:, 8:]).mean()

    return {"loss": loss, "params": params, "batches": batches, "optimizer": optax.adam(1e-2)}


def d2l_2707(faulty: bool) -> dict[str, Any]:
    made = trained_on_text(Seq2Seq(), [ids * (np.arange(9) < len_of(ids)) for ids in text(seed=4)])
    model = Seq2Seq()

    def loss(params: Any, ids: Any) -> Any:
        nll = optax.softmax_cross_entropy_with_integer_labels(model.apply({"params": params}, ids), ids)
        real = ids != 0
        # Padded positions have weight 0, and yet count in the mean.
        return (nll * real).mean() if faulty else (nll * real).sum() / real.sum()

    return made | {"loss": loss}


def len_of(ids: np.ndarray) -> np.ndarray:
    """Returns half the length of each sentence, at least 3, `[batch, 1]`."""
    return np.maximum(3, (ids != 0).sum(1, keepdims=True) // 2)


def fairseq_3479(faulty: bool) -> dict[str, Any]:
    model = Seq2Seq(drop=0.3)
    made = trained_on_text(model, text(seed=5))

    def evaluate(params: Any, ids: Any) -> Any:
        nll = optax.softmax_cross_entropy_with_integer_labels(model.apply({"params": params}, ids), ids)
        return (nll * (ids != 0)).sum() / (ids != 0).sum()

    return made | {"evaluate": evaluate}


KIND = "seq2seq"
CASES = (
    Case("PetrochukM/PyTorch-NLP#2", KIND, "softmax-axis",
         "with one example in a batch, every weight of the attention is 1", pytorch_nlp_2, 1.0),
    Case("DEEP-PolyU/KEQA_WSDM19#2", KIND, "softmax-of-one",
         "the weights of all words are 1.0 whatever the question is", keqa_2, 0.3),
    Case("MaximumEntropy/Seq2Seq-PyTorch#6", KIND, "padding-in-encoder",
         "the mask of the source is computed, but no part of the attention uses it", seq2seq_pytorch_6, 1.0),
    Case("dmlc/dgl#5802", KIND, "target-leak",
         "the decoder is given the step that it has to predict, so it learns to copy", dgl_5802, 0.35),
    Case("d2l-ai/d2l-en#2707", KIND, "loss-reduction",
         "the loss is far too small, and generated sentences do not end", d2l_2707, 1.5, pull=True),
    Case("facebookresearch/fairseq#3479", KIND, HEALTHY,
         "the validation loss is often smaller than the training loss", fairseq_3479, 2.0),
)  # fmt: skip
