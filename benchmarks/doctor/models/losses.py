"""Losses: from outputs and targets to one number, in the ways in which users write them."""

from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import optax

from benchmarks.doctor.models.grammar import Variant
from benchmarks.doctor.models.tasks import CLASSES, Fields

KL_WEIGHT = 0.02
"""Weight of the divergence of a variational code; small enough that the code is used."""


def errors(v: Variant, output: Any, target: Any) -> Any:
    """Returns the error of every output.

    Args:
        v: the variant.
        output: `[..., output]`, before it has the shape of the labels.
        target: labels.
    """
    if v.has("softmax-twice"):
        output = jax.nn.softmax(output) if v.error != "binary" else jax.nn.sigmoid(output)
    if v.error in ("ids", "one-hot"):
        if v.error == "ids" and target.ndim == output.ndim:
            target = target[..., 0]
        return cross_entropy(v, output, target)
    if target.ndim > output.ndim:
        output = output[..., None]
    elif not v.has("targets-broadcast") and target.ndim < output.ndim:
        output = output[..., 0]
    if v.error == "binary":
        if v.formula < 2:
            return optax.sigmoid_binary_cross_entropy(output, target)
        share = jax.nn.sigmoid(output)
        return -(target * jnp.log(share + 1e-7) + (1 - target) * jnp.log(1 - share + 1e-7))
    if v.error == "square":
        return jnp.square(output - target) if v.formula else (target - output) ** 2
    return jnp.abs(output - target) if v.error == "absolute" else optax.huber_loss(output, target)


def cross_entropy(v: Variant, logits: Any, target: Any) -> Any:
    """Returns the negative log-likelihood of ids, or of rows with a single 1, by one of four formulas."""
    if v.error == "one-hot" or v.formula == 0:
        rows = target if v.error == "one-hot" else jax.nn.one_hot(target, logits.shape[-1])
        if v.formula == 1:
            return optax.softmax_cross_entropy(logits, rows)
        return -(rows * jax.nn.log_softmax(logits)).sum(-1)
    if v.formula == 1:
        return optax.softmax_cross_entropy_with_integer_labels(logits, target)
    picked = lambda x: jnp.take_along_axis(x, target[..., None], -1)[..., 0]  # noqa: E731
    if v.formula == 2:
        return jax.nn.logsumexp(logits, axis=-1) - picked(logits)
    return -picked(jax.nn.log_softmax(logits))


def score(v: Variant, outputs: dict[str, Any], fields: dict[str, Any]) -> Any:
    """Returns the loss of the outputs of a batch."""
    error = errors(v, outputs["output"], fields["y"])
    weights = jnp.ones(error.shape, error.dtype)
    real = fields.get("real")
    per_step = v.shape.startswith("time") and v.task not in ("next", "horizon") and not v.has("targets-broadcast")
    if real is not None and per_step and not v.has("padding-in-loss"):
        weights = weights * real.reshape(real.shape + (1,) * (error.ndim - real.ndim))
    if "weights" in fields and not v.has("targets-broadcast"):
        weights = weights * fields["weights"].reshape(-1, *(1,) * (error.ndim - 1))
    total = (error * weights).sum()
    loss = total if v.has("loss-reduction") else total / jnp.maximum(weights.sum(), 1e-6)
    if "second" in outputs:
        second = jnp.square(outputs["second"] - fields["z"])
        loss = loss + 0.3 * (second.sum() if v.has("loss-reduction") else second.mean())
    if "mean" in outputs:
        mean, log_variance = outputs["mean"], outputs["log_variance"]
        divergence = 0.5 * (jnp.square(mean) + jnp.exp(log_variance) - 1 - log_variance).sum(-1)
        weight = v.between(30, 300) if v.has("code-ignored") else KL_WEIGHT
        loss = loss + weight * (divergence.sum() if v.has("loss-reduction") else divergence.mean())
    return -loss if v.has("loss-negated") else loss


def constant(v: Variant, fields: Fields) -> np.ndarray:
    """Returns the best output that is the same for all examples and steps: log frequencies, the mean or the median."""
    target = fields["y"]
    real = fields.get("real")
    rows = target[real] if real is not None and target.shape[: real.ndim] == real.shape else target
    if v.error in ("ids", "one-hot"):
        classes = CLASSES if v.kind == "classifier" else v.vocab
        counts = (
            rows.reshape(-1, classes).sum(0) if v.error == "one-hot" else np.bincount(rows.ravel(), minlength=classes)
        )
        return np.log(np.maximum(counts / counts.sum(), 1e-9))
    if v.error == "binary":
        return np.array([np.log(rows.mean() / (1 - rows.mean()))])
    flat = rows.reshape(-1, target.shape[-1] if v.shape in ("wide", "time wide") else 1)
    if v.error == "absolute":
        return np.median(flat, 0)
    center = flat.mean(0)
    for _ in range(50 * (v.error == "huber")):
        # The gradient of Huber's loss is the clipped error.
        center = center + np.clip(flat - center, -1, 1).mean(0)
    return center


def output_shape(v: Variant, labels: np.ndarray) -> tuple[int, ...]:
    """Returns the shape of outputs before they have the shape of the labels."""
    if v.task == "horizon":
        return labels.shape[:2]
    if v.error == "ids":
        steps = labels.shape[:-1] if v.shape.endswith("1") else labels.shape
        return (*steps, CLASSES if v.kind == "classifier" else v.vocab)
    return labels.shape if v.shape.endswith(("1", "wide")) else (*labels.shape, 1)


def copy(v: Variant, fields: dict[str, Any]) -> Any:
    """Returns the outputs that repeat the last known number; None if there is none to repeat."""
    if v.of_ids or v.kind not in ("forecaster", "autoencoder", "VAE"):
        return None
    x = fields["x"]
    if v.kind != "forecaster":
        return None if v.feed == "code" else jnp.pad(x, ((0, 0), (1, 0), (0, 0)))[:, :-1]
    if v.task == "every":
        return x[..., :1]
    return jnp.broadcast_to(x[:, -1:, 0], fields["y"].shape[:2]) if v.task == "horizon" else x[:, -1, :1]
