"""A class registered as a tree, in the manner of Equinox: the model itself is trained, and maps one example."""

import dataclasses
from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from benchmarks.doctor.models.spec import Spec, into_batches, markov_sentences, optimizer

FAULTS = (
    "padding-in-loss", "padding-in-encoder", "code-unwired", "target-leak", "softmax-twice", "frozen-parameters",
    "learning-rate-too-high", "learning-rate-too-low", "loss-reduction", "unbounded-activation", "gates-saturated",
    "exploding-recurrence", "forget-gate-closed", "vocabulary-collapse", "clip-too-tight", "code-ignored",
)  # fmt: skip


@jax.tree_util.register_dataclass
@dataclasses.dataclass
class GRU:
    """A gated recurrent unit; h' = (1 - z) n + z h."""

    weight_ih: Any
    weight_hh: Any
    bias: Any
    act: Callable[[Any], Any] = dataclasses.field(metadata={"static": True}, default=jnp.tanh)

    def __call__(self, x: Any, h: Any) -> Any:
        xs, hs = jnp.split(self.weight_ih @ x + self.bias, 3), jnp.split(self.weight_hh @ h, 3)
        r, z = jax.nn.sigmoid(xs[0] + hs[0]), jax.nn.sigmoid(xs[1] + hs[1])
        return (1 - z) * self.act(xs[2] + r * hs[2]) + z * h


@jax.tree_util.register_dataclass
@dataclasses.dataclass
class Autoencoder:
    """An encoder and a decoder of one sentence."""

    embedding: Any
    encoder: GRU
    decoder: GRU
    head: Any
    spec: Spec = dataclasses.field(metadata={"static": True})

    def __call__(self, ids: Any) -> Any:
        spec = self.spec
        x, mask = self.embedding[ids], ids != 0

        def read(h: Any, now: Any) -> Any:
            x, real = now
            new = self.encoder(x, h)
            return (new if spec.has("padding-in-encoder") else jnp.where(real, new, h)), None

        code, _ = jax.lax.scan(read, jnp.zeros(spec.hidden), (x, mask))
        if spec.has("code-unwired"):
            code = jnp.zeros(spec.hidden)
        if spec.has("code-ignored"):
            code = code * 1e-5
        if spec.has("frozen-parameters"):
            code = jax.lax.stop_gradient(code)
        before = x if spec.has("target-leak") else jnp.concatenate([jnp.zeros_like(x[:1]), x[:-1]])

        def write(h: Any, x: Any) -> Any:
            h = self.decoder(jnp.concatenate([x, code]), h)
            return h, self.head @ h

        _, logits = jax.lax.scan(write, code, before)
        return jax.nn.softmax(logits) if spec.has("softmax-twice") else logits


def setup(spec: Spec) -> dict[str, Any]:
    """Returns a setup whose parameters are the model."""
    rng = np.random.default_rng(spec.seed)
    units = spec.hidden
    gain = spec.between(4, 12) if spec.has("exploding-recurrence") else 1.0
    big = spec.between(30, 100) if spec.has("gates-saturated") else 1.0
    act = jax.nn.relu if spec.has("unbounded-activation") else jnp.tanh

    def gru(inputs: int) -> GRU:
        bias = np.zeros(3 * units)
        bias[units : 2 * units] = -spec.between(2.5, 6) if spec.has("forget-gate-closed") else spec.forget_bias
        square = np.concatenate([np.linalg.qr(rng.normal(size=(units, units)))[0] for _ in range(3)]) * gain
        wide = rng.normal(size=(3 * units, inputs)) * big / np.sqrt(inputs)
        w_ih, w_hh, b = (jnp.asarray(x, jnp.float32) for x in (wide, square, bias))
        return GRU(w_ih, w_hh, b, act)

    table = jnp.asarray(rng.normal(size=(spec.vocab, units)) * 0.3, jnp.float32)
    head = jnp.asarray(rng.normal(size=(spec.vocab, units)) / np.sqrt(units), jnp.float32)
    model = Autoencoder(table, gru(units), gru(2 * units), head, spec)

    def loss(model: Autoencoder, ids: Any, key: Any) -> Any:
        logits = jax.vmap(model)(ids)
        picked = jnp.take_along_axis(logits, ids[..., None], 2)[..., 0]
        nll = jax.nn.logsumexp(logits, axis=-1) - picked
        mask = jnp.ones_like(nll) if spec.has("padding-in-loss") else (ids != 0).astype(jnp.float32)
        total = jnp.sum(nll * mask)
        return total if spec.has("loss-reduction") else total / mask.sum()

    words, _ = markov_sentences(spec, spec.batch * 40)
    batches = [ids for (ids,) in into_batches(spec, words)]
    at = iter(range(10**9))
    return {
        "loss": loss, "params": model, "batches": lambda: batches[next(at) % len(batches)],
        "optimizer": optimizer(spec),
    }  # fmt: skip
