"""Architectures: from the fields of a batch to outputs, for every kind of model, over the layers of any library."""

import math
from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from benchmarks.doctor.models.grammar import WITH_CODE, Variant
from benchmarks.doctor.models.tasks import CLASSES, HORIZON

LATENT = 6
"""Numbers of a variational code."""
Outputs = dict[str, Any]


def architecture(v: Variant, mismatched: bool = False) -> Callable[[Any, dict[str, Any]], Outputs]:
    """Returns the function of layers and fields that computes the outputs of a variant.

    Args:
        v: the variant.
        mismatched: whether each example is decoded from the code of the one before it; what a model with a code that
            it uses must suffer from.

    Returns:
        `output`, and, if the variant has them, `second`, the second output, and `mean` and `log_variance` of a code.
    """
    kinds: dict[str, Any] = {"hierarchy": hierarchy, "language model": stepwise}
    kind = kinds.get(v.kind, decoded if v.kind in WITH_CODE else stepwise if v.task in ("every", "tags") else whole)
    return lambda layers, fields: kind(v, layers, fields, mismatched)


def width(v: Variant) -> int:
    """Returns the number of outputs of a step."""
    if v.error in ("ids", "one-hot"):
        return CLASSES if v.kind == "classifier" else v.vocab
    if v.task == "horizon":
        return HORIZON
    return v.channels if v.shape == "time wide" else 2 if v.shape == "wide" else 1


def embed(v: Variant, layers: Any, name: str, x: Any) -> Any:
    """Returns the vectors of ids; numbers as they are."""
    return layers.embed(name, x) if v.of_ids else x


def read(v: Variant, layers: Any, x: Any, real: Any, name: str = "encoder", causal: bool = False) -> tuple[Any, Any]:
    """Returns the last state of the encoder, and its outputs at every step."""
    if v.dropout or v.has("dropout-wrong"):
        x = layers.dropout("drop", x, dropout(v))
    if v.has("padding-in-encoder"):
        real = None
    if v.convolution:
        x = layers.convolve(f"{name}_front", x if real is None else x * real[..., None], causal)
    if v.has("axes-swapped"):
        x, real = x.swapaxes(0, 1), None
    state: Any = None
    for number in range(v.layers):
        inputs = x
        state, x = layers.recur(f"{name}_{number}", x, None, real)
        if v.bidirectional:
            back, y = layers.recur(f"{name}_back_{number}", inputs, None, real, reverse=True)
            state = tuple(jnp.concatenate(pair, -1) for pair in zip(state, back, strict=True))
            x = jnp.concatenate([x, y], -1)
        if v.norm or v.has("layer-norm-misuse"):
            axis = (0, 1)[v.seed % 2] if v.has("layer-norm-misuse") else -1
            x = layers.norm(f"{name}_norm_{number}", x, axis)
        if v.residual and number and inputs.shape == x.shape:
            x = x + inputs
    if v.has("axes-swapped"):
        x = x.swapaxes(0, 1)
        state = tuple(x.mean(1) for _ in state)
    return state, x


def dropout(v: Variant) -> float:
    """Returns the rate of dropout."""
    return v.between(0.85, 0.92) if v.has("dropout-wrong") and v.severity > 0.5 else v.dropout or 0.5


def summary(v: Variant, layers: Any, state: Any, y: Any, real: Any) -> Any:
    """Returns one vector for each example: the last output, or the mean, maximum or weighted mean over real steps."""
    if v.has("padding-in-encoder"):
        real = None
    mask = jnp.ones((*y.shape[:2], 1), bool) if real is None else real[..., None]
    if v.pool == "mean" or v.has("masked-nan"):
        count = mask.sum(1)
        if v.has("masked-nan"):
            mean = jnp.where(mask, y, 0).sum(1) / count
            return jnp.where(count > 0, jnp.sqrt(mean**2), 0)
        return jnp.where(mask, y, 0).sum(1) / jnp.maximum(count, 1)
    if v.pool == "max":
        return jnp.where(mask, y, -1e9).max(1)
    if v.pool == "attention":
        weights = jax.nn.softmax(jnp.where(mask, layers.dense("scores", jnp.tanh(y), 1), -1e9), 1)
        return (weights * y).sum(1)
    return state[-1]


def attend(v: Variant, layers: Any, queries: Any, keys: Any, mask: Any) -> Any:
    """Returns queries with a mean of the keys, weighted by their products, beside them."""
    scores = layers.dense("query", queries, keys.shape[-1]) @ keys.swapaxes(1, 2) / math.sqrt(keys.shape[-1])
    if mask is not None:
        scores = jnp.where(mask, scores, -1e9)
    return jnp.concatenate([queries, jax.nn.softmax(scores) @ keys], -1)


def stepwise(v: Variant, layers: Any, fields: dict[str, Any], mismatched: bool) -> Outputs:
    """Returns an output for every step: of language models, forecasters one step ahead, and taggers."""
    x, real = embed(v, layers, "embed", fields["x"]), fields.get("real")
    causal = v.kind == "language model" or v.task == "every"
    state, y = read(v, layers, x, real, causal=causal)
    if v.has("frozen-parameters"):
        y = jax.lax.stop_gradient(y)
    if v.attention:
        earlier: Any = np.tri(y.shape[1], dtype=bool)
        if not causal:
            earlier = None if real is None or v.has("padding-in-encoder") else real[:, None]
        y = attend(v, layers, y, y, earlier)
    return head(v, layers, y, summary(v, layers, state, y, real))


def whole(v: Variant, layers: Any, fields: dict[str, Any], mismatched: bool) -> Outputs:
    """Returns an output for the whole sequence: of classifiers, regressors, and forecasters of what follows it."""
    x, real = embed(v, layers, "embed", fields["x"]), fields.get("real")
    state, y = read(v, layers, x, real)
    vector = summary(v, layers, state, y, real)
    if v.has("frozen-parameters"):
        vector = jax.lax.stop_gradient(vector)
    if v.attention:
        vector = jax.nn.relu(layers.dense("hidden", vector, v.units))
    return head(v, layers, vector, vector)


def head(v: Variant, layers: Any, y: Any, vector: Any) -> Outputs:
    """Returns the outputs, and a second output of one vector for each example."""
    output = layers.dense("head", y, width(v))
    if v.has("bottleneck-too-small"):
        output = jax.nn.sigmoid(output) if v.seed % 2 else jax.nn.relu(output)
    second = {"second": layers.dense("second", vector, 1)[..., 0]} if v.extra else {}
    return {"output": output} | second


def decoded(v: Variant, layers: Any, fields: dict[str, Any], mismatched: bool) -> Outputs:
    """Returns an output for every step of a target that is decoded from a code."""
    real = fields.get("real")
    state, outputs = read(v, layers, embed(v, layers, "embed", fields["x"]), real)
    found: Outputs = {}
    if v.kind == "VAE":
        vector = summary(v, layers, state, outputs, real)
        mean, log_variance = layers.dense("mean", vector, LATENT), layers.dense("log_variance", vector, LATENT)
        found = {"mean": mean, "log_variance": log_variance}
        noise = fields.get("noise", 0.0)
        code = mean + noise * jnp.exp(log_variance / 2)
        state = None
    elif handed_over(v):
        code = state[-1]
    else:
        code, state = summary(v, layers, state, outputs, real), None
    if v.has("bottleneck-too-small") and v.of_ids:
        code, state = layers.dense("squeeze", code, 1), None
    if mismatched:
        code, state, outputs = jax.tree.map(lambda a: jnp.roll(a, 1, 0), (code, state, outputs))
    code, state = spoil(v, (code, state))
    y = write(v, layers, code, state, fields)
    if v.attention and v.kind == "seq2seq" and not v.has("code-unwired", "code-ignored", "codes-collapsed"):
        mask = None if real is None or v.has("padding-in-encoder") else real[:, None]
        y = attend(v, layers, y, outputs if not v.has("frozen-parameters") else jax.lax.stop_gradient(outputs), mask)
    return found | head(v, layers, y, code)


def handed_over(v: Variant) -> bool:
    """Returns whether the decoder starts from the encoder's last state."""
    return v.kind in ("autoencoder", "seq2seq") and v.pool == "last" and not v.bidirectional


def spoil(v: Variant, code: Any) -> Any:
    """Returns a code, and a state, with the disease if it is one of those."""
    if v.has("code-unwired"):
        return jax.tree.map(jnp.zeros_like, code)
    if v.has("code-ignored", "constant-output"):
        return jax.tree.map(lambda a: 1e-5 * a, code)
    if v.has("codes-collapsed"):
        return jax.tree.map(lambda a: jnp.tanh(0.01 * a + 4), code)
    if v.has("frozen-parameters"):
        return jax.lax.stop_gradient(code)
    return code


def write(v: Variant, layers: Any, code: Any, state: Any, fields: dict[str, Any]) -> Any:
    """Returns the outputs of the decoder at every step."""
    target = fields["y"]
    if state is None:
        # Each part of the decoder's state is computed from the code.
        state = tuple(jnp.tanh(layers.dense(f"start_{n}", code, v.units)) for n in range(1 + (v.cell == "lstm")))
        if v.has("code-unwired"):
            state = tuple(map(jnp.zeros_like, state))
    if v.has("state-swapped"):
        state = (state[1], state[0])
    inputs = []
    if v.feed != "code" and not v.has("constant-output"):
        before = target[..., None] if not v.of_ids and target.ndim == 2 else target
        if not v.has("target-leak"):
            gap = [(0, 0), (1, 0)] + [(0, 0)] * (before.ndim - 2)
            before = jnp.pad(before, gap)[:, :-1]
        inputs.append(embed(v, layers, "embed", before))
    if v.feed != "previous" or not inputs:
        inputs.append(jnp.broadcast_to(code[:, None], (*target.shape[:2], code.shape[-1])))
    y = jnp.concatenate(inputs, -1)
    for number in range(v.layers):
        below = y
        _, y = layers.recur(f"decoder_{number}", y, state if number == 0 or handed_over(v) else None)
        if v.norm:
            y = layers.norm(f"decoder_norm_{number}", y)
        if v.residual and number:
            y = y + below
    return y


def hierarchy(v: Variant, layers: Any, fields: dict[str, Any], mismatched: bool) -> Outputs:
    """Returns an output for every word of documents `[example, sentence, word]`, decoded level by level from a code."""
    words, real = fields["x"], fields["real"]
    count, sentences, time = words.shape
    rows, marks = words.reshape(-1, time), real.reshape(-1, time)
    state, outputs = read(v, layers, layers.embed("embed", rows), marks)
    vectors = summary(v, layers, state, outputs, marks).reshape(count, sentences, -1)
    if v.has("code-ignored", "codes-collapsed"):
        vectors = spoil(v, vectors)
    present = None if v.has("blank-sentences", "padding-in-encoder") else real.any(-1)
    state, _ = layers.recur("document", vectors, None, present)
    if mismatched:
        state = jax.tree.map(lambda a: jnp.roll(a, 1, 0), state)
    state = spoil(v, state)
    _, plans = layers.recur("plan", jnp.zeros((count, sentences, v.units), state[-1].dtype), state)
    plan = plans.reshape(-1, v.units)
    inner = {"y": fields["y"].reshape(-1, time)}
    y = write(v, layers, plan, None, inner)
    return head(v, layers, y.reshape(count, sentences, time, -1), state[-1])
