"""Repairs of this package's own models: another config."""

from collections.abc import Callable
from dataclasses import replace
from typing import Any

from hae_jax.config import Config
from hae_jax.doctor.evidence import Evidence
from hae_jax.doctor.fixes import LOWER_RATE, clip_norm, higher_rate

Changes = dict[str, Any]
"""New values of config fields by name, as `optim.learning_rate`."""


def fix_config(config: Config, cause: str, evidence: Evidence) -> tuple[Config, str] | None:
    """Returns a config without a cause, and what was changed; None if no field would help.

    Example:
        >>> fix_config(Config(), "learning-rate-too-high", {})[1]
        'optim.learning_rate 0.004 -> 0.0004'
    """
    changes = CONFIG_FIXES[cause](config, evidence) if cause in CONFIG_FIXES else {}
    changed: dict[str, Changes] = {}
    descriptions = []
    for name, value in changes.items():
        section, field = name.split(".")
        old = getattr(getattr(config, section), field)
        if old != value:
            changed.setdefault(section, {})[field] = value
            descriptions.append(f"{name} {old} -> {value}")
    # All fields of a section at once: some exclude each other.
    fixed = replace(config, **{name: replace(getattr(config, name), **values) for name, values in changed.items()})
    return (fixed, ", ".join(descriptions)) if descriptions else None


def scale_learning_rate(config: Config, factor: float, digits: int = 3) -> float:
    """Returns a config's learning rate times a factor, rounded.

    Example:
        >>> scale_learning_rate(Config(), 1 / 3)
        0.00133
    """
    return float(f"{config.optim.learning_rate * factor:.{digits}g}")


def lower_learning_rate(config: Config, e: Evidence) -> Changes:
    return {"optim.learning_rate": scale_learning_rate(config, LOWER_RATE)}


def raise_learning_rate(config: Config, e: Evidence) -> Changes:
    return {"optim.learning_rate": scale_learning_rate(config, higher_rate(e))}


def loosen_clip(config: Config, e: Evidence) -> Changes:
    return {"optim.clip": "global_norm", "optim.clip_norm": float(f"{clip_norm(e):.3g}")}


def remove_decay(config: Config, e: Evidence) -> Changes:
    return {"optim.weight_decay": 0.0, "optim.eps": 1e-8}


def orthogonal_kernels(config: Config, e: Evidence) -> Changes:
    """Orthogonal kernels of gain 1, in layers whose states are not normalized to another gain."""
    return {"model.initializer": "orthogonal", "model.recurrent_gain": 1.0, "model.layer_norm_gain": 1.0}


def open_forget_gate(config: Config, e: Evidence) -> Changes:
    return {"model.initializer": "orthogonal", "model.use_bias": True, "model.forget_bias": 1.0}


def chrono_biases(config: Config, e: Evidence) -> Changes:
    timescale = max(3, e["recurrence_steps"])
    return {
        "model.initializer": "chrono",
        "model.use_bias": True,
        "model.forget_bias": 1.0,
        "model.timescale": timescale,
    }


def condition_on_code(config: Config, e: Evidence) -> Changes:
    """Conditions every step on the sentence vector, without feedback, and trains sentences from their own vectors."""
    return {
        "model.conditioning": "every_step",
        "model.feedback": "none",
        "model.sentence_loss": 1.0,
        "model.sentence_share": 0.5,
    }


def normalize_outputs(config: Config, e: Evidence) -> Changes:
    return {"model.layer_norm": "output"}


def widen_code(config: Config, e: Evidence) -> Changes:
    return {"model.sentence_dim": 4 * config.model.sentence_dim} if config.model.bridge == "top_hidden" else {}


def lower_dropout(config: Config, e: Evidence) -> Changes:
    names = ("input_dropout", "recurrent_dropout", "zoneout_cell", "zoneout_hidden", "word_dropout")
    return {f"model.{name}": min(0.1, getattr(config.model, name)) for name in names}


def full_precision(config: Config, e: Evidence) -> Changes:
    return {"model.dtype": "float32"}


CONFIG_FIXES: dict[str, Callable[[Config, Evidence], Changes]] = {
    "learning-rate-too-high": lower_learning_rate,
    "learning-rate-too-low": raise_learning_rate,
    "clip-too-tight": loosen_clip,
    "over-regularised": remove_decay,
    "exploding-recurrence": orthogonal_kernels,
    "gates-saturated": orthogonal_kernels,
    "forget-gate-closed": open_forget_gate,
    "sequence-too-long": chrono_biases,
    "code-ignored": condition_on_code,
    "codes-collapsed": normalize_outputs,
    "bottleneck-too-small": widen_code,
    "dropout-wrong": lower_dropout,
    "low-precision": full_precision,
}
"""What to change, by cause; the other causes would be faults of the package."""
