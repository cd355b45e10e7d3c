"""Flax linen: an autoencoder of `nn.RNN` and Flax's own cells, batches as pairs of ids and lengths."""

from typing import Any

import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np
import optax

from benchmarks.doctor.models.spec import Spec, into_batches, markov_sentences, optimizer

FAULTS = (
    "gates-saturated", "learning-rate-too-high", "learning-rate-too-low", "loss-reduction", "padding-in-loss",
    "padding-in-encoder", "code-unwired", "axes-swapped", "target-leak", "softmax-twice", "dropout-wrong",
    "frozen-parameters", "state-swapped", "layer-norm-misuse", "over-regularised", "forget-gate-closed",
    "targets-scrambled", "data-not-shuffled", "vocabulary-collapse", "low-precision", "constant-output",
)  # fmt: skip


class Autoencoder(nn.Module):
    """An encoder and a decoder of sentences."""

    spec: Spec

    def cell(self, name: str) -> nn.RNNCellBase:
        """Returns a cell; for some seeds a GRU."""
        spec = self.spec
        # Faults that a GRU cannot have.
        lacking = ("state-swapped", "forget-gate-closed", "gates-saturated", "low-precision")
        if spec.seed % 4 == 3 and not spec.has(*lacking):
            return nn.GRUCell(spec.hidden, name=name)
        if spec.has("gates-saturated"):
            return nn.LSTMCell(spec.hidden, kernel_init=nn.initializers.normal(spec.between(10, 40)), name=name)
        if spec.has("forget-gate-closed"):
            return nn.LSTMCell(spec.hidden, bias_init=nn.initializers.constant(-spec.between(2.5, 6)), name=name)
        return nn.OptimizedLSTMCell(
            spec.hidden, dtype=half_type(spec) if spec.has("low-precision") else None, name=name
        )

    @nn.compact
    def __call__(self, ids: Any, lengths: Any, train: bool = True) -> Any:
        spec = self.spec
        embed = nn.Embed(spec.vocab, spec.hidden, name="embed")
        x = embed(ids)
        if spec.has("dropout-wrong"):
            x = nn.Dropout(0.85 if spec.seed % 2 else 0.5, deterministic=not train if spec.seed % 2 else False)(x)
        elif spec.seed % 5 == 2:
            x = nn.Dropout(0.1, deterministic=not train)(x)
        if spec.has("layer-norm-misuse"):
            x = nn.LayerNorm(reduction_axes=(1 if spec.seed % 2 else 0,), name="norm")(x)
        elif spec.layer_norm:
            x = nn.LayerNorm(name="norm")(x)
        encoder = nn.RNN(self.cell("encoder"), return_carry=True, time_major=spec.has("axes-swapped"))
        carry, _ = encoder(x, seq_lengths=None if spec.has("padding-in-encoder", "axes-swapped") else lengths)
        if spec.has("state-swapped"):
            carry = (carry[1], carry[0])
        if spec.has("axes-swapped"):
            wide = jax.tree.map(lambda c: nn.Dense(spec.hidden)(jnp.resize(c, (ids.shape[0], spec.hidden))), carry)
            carry = wide
        if spec.has("frozen-parameters") and spec.seed % 2:
            carry = jax.lax.stop_gradient(carry)
        before = x if spec.has("target-leak") else jnp.pad(x, ((0, 0), (1, 0), (0, 0)))[:, :-1]
        cell = self.cell("decoder")
        if spec.has("code-unwired"):
            carry = cell.initialize_carry(jax.random.key(0), before[:, 0].shape)
        if spec.has("constant-output"):
            before, carry = before * 0, jax.tree.map(lambda c: c * 1e-6, carry)
        y = nn.RNN(cell)(before, initial_carry=carry)
        logits = nn.Dense(spec.vocab, name="head")(y)
        return nn.softmax(logits) if spec.has("softmax-twice") else logits


def half_type(spec: Spec) -> Any:
    """Returns the 16-bit type of parameters."""
    return jnp.bfloat16 if spec.seed % 2 else jnp.float16


def setup(spec: Spec) -> dict[str, Any]:
    """Returns a setup of a Flax module."""
    model = Autoencoder(spec)
    rng = np.random.default_rng(spec.seed)
    words, lengths = markov_sentences(spec, spec.batch * 40)
    batches: list[Any] = into_batches(spec, words, lengths.astype(np.int32))
    if spec.has("targets-scrambled"):
        batches = [(ids, lengths, rng.permutation(ids)) for ids, lengths in batches]
    first = batches[0]
    keys = dict(zip(("params", "dropout"), jax.random.split(jax.random.key(spec.seed)), strict=True))
    variables = jax.jit(model.init)(keys, first[0], first[1])
    if spec.has("low-precision"):
        # Flax cannot initialize orthogonal matrices in 16 bits.
        narrow = lambda path, x: x if "embed" in jax.tree_util.keystr(path) else x.astype(half_type(spec))  # noqa: E731
        variables = jax.tree.map_with_path(narrow, variables)

    def loss(variables: Any, batch: Any, key: Any, train: bool = True) -> Any:
        ids, lengths, *rest = batch
        targets = rest[0] if rest else ids
        logits: Any = model.apply(variables, ids, lengths, train, rngs={"dropout": key})
        nll = optax.softmax_cross_entropy_with_integer_labels(logits.astype(jnp.float32), targets)
        if spec.has("padding-in-loss"):
            return nll.mean()
        mask = jnp.arange(ids.shape[1]) < lengths[:, None]
        if spec.has("loss-reduction"):
            return (nll * mask).sum()
        return jnp.where(mask, nll, 0).sum() / mask.sum(), {"logits": logits}

    made = {"params": variables, "batches": batches, "optimizer": build_optimizer(spec), "module": model}
    return made | {"loss": loss}


def build_optimizer(spec: Spec) -> optax.GradientTransformation:
    """Returns the optimizer, which freezes the encoder or the embedding if that is the fault."""
    if not spec.has("frozen-parameters") or spec.seed % 2:
        return optimizer(spec)

    def label(path: Any, _: Any) -> str:
        held = "encoder" if spec.seed % 4 else "embed"
        return "off" if held in jax.tree_util.keystr(path) else "on"

    labels = lambda params: jax.tree.map_with_path(label, params)  # noqa: E731
    return optax.multi_transform({"on": optimizer(spec), "off": optax.set_to_zero()}, labels)
