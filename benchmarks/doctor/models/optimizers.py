"""Optimizers of variants: four of them, five schedules, two clips, and the diseases that concern them."""

from typing import Any

import jax
import optax

from benchmarks.doctor.models.grammar import Variant

RATES = {"adam": 6e-3, "adamw": 6e-3, "rmsprop": 4e-3, "sgd": 0.1}
"""Usual learning rates; SGD has momentum."""


def optimizer(v: Variant) -> optax.GradientTransformation:
    """Returns the optimizer of a variant."""
    rate = v.speed * RATES[v.optimizer]
    if v.has("learning-rate-too-high"):
        rate *= v.between(100, 1000)
    if v.has("learning-rate-too-low") or (v.has("low-precision") and v.seed % 2):
        rate *= v.between(1e-3, 1e-5) if v.has("learning-rate-too-low") else 0.03
    parts: list[Any] = []
    if v.has("clip-too-tight"):
        parts.append(optax.clip_by_global_norm(v.between(1e-3, 1e-5)))
    elif v.clip != "none":
        parts.append(optax.clip_by_global_norm(1.0) if v.clip == "norm" else optax.clip(0.5))
    elif v.optimizer == "sgd":
        parts.append(optax.clip_by_global_norm(2.0))
    parts.append(rule(v, schedule(v, rate)))
    chain = optax.chain(*parts)
    if v.has("frozen-parameters") and v.seed % 2:
        chain = optax.multi_transform({"on": chain, "off": optax.set_to_zero()}, labels)
    return optax.MultiSteps(chain, 2).gradient_transformation() if v.schedule == "accumulate" else chain


def rule(v: Variant, rate: Any) -> optax.GradientTransformation:
    """Returns the rule that makes steps of gradients."""
    if v.has("over-regularised"):
        return (
            optax.adamw(rate, weight_decay=v.between(20, 100)) if v.seed % 2 else optax.adam(rate, eps=v.between(1, 10))
        )
    if v.has("clip-too-tight"):
        return optax.sgd(0.5)
    if v.optimizer == "adamw":
        return optax.adamw(rate, weight_decay=1e-3)
    if v.optimizer == "rmsprop":
        return optax.rmsprop(rate)
    if v.optimizer == "sgd":
        return optax.sgd(rate, momentum=0.9, nesterov=v.seed % 2 == 0)
    return optax.inject_hyperparams(optax.adam)(rate) if v.seed % 5 == 0 else optax.adam(rate)


def schedule(v: Variant, rate: float) -> Any:
    """Returns the learning rate, or its schedule."""
    if v.has("schedule-ended"):
        return optax.piecewise_constant_schedule(rate, {20: 0.0})
    if v.schedule == "warm-up":
        return optax.warmup_constant_schedule(0.0, rate, 20)
    if v.schedule == "cosine":
        return optax.cosine_decay_schedule(rate, 1000)
    if v.schedule == "decay":
        return optax.exponential_decay(rate, 100, 0.8)
    return rate


def labels(params: Any) -> Any:
    """Returns "off" for the parameters of the encoder, and "on" for all others."""

    def label(path: Any, _: Any) -> str:
        return "off" if "encoder" in jax.tree_util.keystr(path) else "on"

    return jax.tree.map_with_path(label, params)
