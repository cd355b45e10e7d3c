"""Plain JAX: words to sentences to the code of a document, and back; batches are plain arrays of ids."""

from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from benchmarks.doctor.models.spec import Spec, into_batches, markov_documents, optimizer

FAULTS = (
    "padding-in-encoder", "blank-sentences", "padding-in-loss", "code-unwired", "code-ignored", "codes-collapsed",
    "axes-swapped", "target-leak", "softmax-twice", "frozen-parameters", "learning-rate-too-high",
    "learning-rate-too-low", "exploding-recurrence", "gates-saturated", "loss-reduction", "forget-gate-closed",
    "masked-nan", "layer-norm-misuse", "clip-too-tight", "data-not-shuffled",
)  # fmt: skip


class LSTM(NamedTuple):
    """Weights of one level."""

    inputs: Any
    recurrent: Any
    bias: Any


def initial_lstm(rng: np.random.Generator, spec: Spec, inputs: int, units: int) -> LSTM:
    """Returns initial weights."""
    gain = spec.between(4, 12) if spec.has("exploding-recurrence") else 1.0
    big = spec.between(25, 80) if spec.has("gates-saturated") else 1.0
    bias = np.zeros(4 * units, np.float32)
    bias[units : 2 * units] = -spec.between(2.5, 6) if spec.has("forget-gate-closed") else spec.forget_bias
    square = [np.linalg.qr(rng.normal(size=(units, units)))[0] for _ in range(4)]
    weights = (rng.normal(size=(inputs, 4 * units)) * big / np.sqrt(inputs), np.concatenate(square, 1) * gain, bias)
    return LSTM(*(jnp.asarray(x, jnp.float32) for x in weights))


def run_lstm(p: LSTM, x: Any, mask: Any, state: Any) -> Any:
    """Runs an LSTM over one sequence; masked steps keep the state."""

    def step(state: Any, now: Any) -> Any:
        x, real = now
        c, h = state
        i, f, g, o = jnp.split(x @ p.inputs + h @ p.recurrent + p.bias, 4, axis=-1)
        new_c = jax.nn.sigmoid(f) * c + jax.nn.sigmoid(i) * jnp.tanh(g)
        new = (new_c, jax.nn.sigmoid(o) * jnp.tanh(new_c))
        new = jax.tree.map(lambda a, b: jnp.where(real, a, b), new, state)
        return new, new[1]

    return jax.lax.scan(step, state, (x, mask))


def setup(spec: Spec) -> dict[str, Any]:
    """Returns a setup whose loss is written for one document and mapped over the batch."""
    rng = np.random.default_rng(spec.seed)
    units = spec.hidden
    params: dict[str, Any] = {
        "embed": jnp.asarray(rng.normal(size=(spec.vocab, units)) * 0.3, jnp.float32),
        "word_encoder": initial_lstm(rng, spec, units, units),
        "sentence_encoder": initial_lstm(rng, spec, units, units),
        "sentence_decoder": initial_lstm(rng, spec, units, units),
        "word_decoder": initial_lstm(rng, spec, 2 * units, units),
        "out": jnp.asarray(rng.normal(size=(units, spec.vocab)) / np.sqrt(units), jnp.float32),
    }
    if spec.has("masked-nan"):
        params["mix"] = jnp.asarray(rng.normal(size=(units, units)) / np.sqrt(units), jnp.float32)
    zeros = (jnp.zeros(units), jnp.zeros(units))

    def vectors(params: Any, words: Any) -> Any:
        mask = words != 0
        real = jnp.ones_like(mask) if spec.has("padding-in-encoder") else mask
        x = params["embed"][words]
        (_, sent), _ = jax.vmap(lambda x, m: run_lstm(params["word_encoder"], x, m, zeros))(x, real)
        if spec.has("masked-nan"):
            count = mask.sum(-1, keepdims=True)
            mean = jnp.where(mask[..., None], x, 0).sum(1) / count
            sent = sent + jnp.where(count > 0, mean @ params["mix"], 0)
        if spec.has("codes-collapsed"):
            sent = jnp.tanh(0.01 * sent + 4)
        if spec.layer_norm:
            sent = (sent - sent.mean(-1, keepdims=True)) * jax.lax.rsqrt(sent.var(-1, keepdims=True) + 1e-5)
        return sent

    def document(params: Any, words: Any, sent: Any) -> Any:
        blank = ~(words != 0).any(-1)
        present = jnp.ones_like(blank) if spec.has("blank-sentences", "padding-in-encoder") else ~blank
        state, _ = run_lstm(params["sentence_encoder"], sent, present, zeros)
        return state

    def write(params: Any, state: Any, words: Any) -> Any:
        if spec.has("code-unwired"):
            state = zeros
        if spec.has("code-ignored"):
            state = jax.tree.map(lambda s: 1e-5 * s, state)
        if spec.has("frozen-parameters"):
            state = jax.lax.stop_gradient(state)
        ones = jnp.ones(words.shape[0], bool)
        _, plans = run_lstm(params["sentence_decoder"], jnp.zeros((words.shape[0], units)), ones, state)
        before = words if spec.has("target-leak") else jnp.pad(words, ((0, 0), (1, 0)))[:, :-1]
        x = params["embed"][before]
        x = jnp.concatenate([x, jnp.broadcast_to(plans[:, None], x.shape)], -1)
        start = (jnp.zeros_like(plans), plans)
        every = jnp.ones(words.shape, bool)
        _, ys = jax.vmap(lambda x, m, s: run_lstm(params["word_decoder"], x, m, s))(x, every, start)
        logits = ys @ params["out"]
        return jax.nn.softmax(logits) if spec.has("softmax-twice") else logits

    def loss(params: Any, words: Any) -> Any:
        sent = jax.vmap(lambda w: vectors(params, w))(words)
        if spec.has("axes-swapped"):
            sent = sent.reshape(sent.shape[1], sent.shape[0], -1).swapaxes(0, 1)
        if spec.has("layer-norm-misuse"):
            sent = (sent - sent.mean(0)) * jax.lax.rsqrt(sent.var(0) + 1e-5)
        state = jax.vmap(lambda w, s: document(params, w, s))(words, sent)
        logits = jax.vmap(lambda s, w: write(params, s, w))(state, words)
        nll = -(jax.nn.one_hot(words, spec.vocab) * jax.nn.log_softmax(logits)).sum(-1)
        mask = jnp.ones_like(nll) if spec.has("padding-in-loss") else words != 0
        if spec.has("loss-reduction"):
            return (nll * mask).sum()
        return (nll * mask).sum() / mask.sum()

    words = markov_documents(spec, spec.batch * 30)
    return {
        "loss_fn": loss,
        "params": params,
        "batches": (batch for (batch,) in into_batches(spec, words)),
        "optimizer": optimizer(spec),
        "vocab_size": spec.vocab,
    }
