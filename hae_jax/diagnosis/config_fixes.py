"""Repairs of this package's own models: another config."""

from collections.abc import Callable
from dataclasses import replace
from typing import Any

from hae_jax.config import Config
from hae_jax.doctor.report import Evidence

Changes = dict[str, Any]
"""Fields with their new values, as `optim.learning_rate`."""


def fix_config(config: Config, cause: str, evidence: Evidence) -> tuple[Config, str] | None:
    """Returns a config without a cause, and what was changed; None where no field would help.

    Example:
        >>> fix_config(Config(), "learning-rate-too-high", {})[1]
        'optim.learning_rate 0.004 -> 0.0004'
    """
    made = CONFIG_FIXES.get(cause, lambda config, evidence: {})(config, evidence)
    changed, said = config, []
    for name, value in made.items():
        section, field = name.split(".")
        old = getattr(getattr(config, section), field)
        if old != value:
            changed = replace(changed, **{section: replace(getattr(changed, section), **{field: value})})
            said.append(f"{name} {old} -> {value}")
    return (changed, ", ".join(said)) if said else None


def slower(config: Config, e: Evidence) -> Changes:
    return {"optim.learning_rate": float(f"{config.optim.learning_rate / 10:.3g}")}


def faster(config: Config, e: Evidence) -> Changes:
    times = 10.0 if e["loss_tenfold"] <= e["loss_faster"] else e["faster"]
    return {"optim.learning_rate": float(f"{config.optim.learning_rate * times:.3g}")}


def looser(config: Config, e: Evidence) -> Changes:
    return {"optim.clip": "global_norm", "optim.clip_norm": float(f"{2 * e['gradient_norm']:.3g}")}


def undamped(config: Config, e: Evidence) -> Changes:
    return {"optim.weight_decay": 0.0, "optim.eps": 1e-8}


def gentle(config: Config, e: Evidence) -> Changes:
    """Orthogonal weights of gain 1, in a layer whose states are not normalised to some other gain."""
    return {"model.initializer": "orthogonal", "model.recurrent_gain": 1.0, "model.layer_norm_gain": 1.0}


def remembering(config: Config, e: Evidence) -> Changes:
    return {"model.initializer": "orthogonal", "model.use_bias": True, "model.forget_bias": 1.0}


def enduring(config: Config, e: Evidence) -> Changes:
    return {"model.initializer": "chrono", "model.use_bias": True, "model.timescale": max(3, e["recurrence_steps"])}


def reading(config: Config, e: Evidence) -> Changes:
    """What makes the decoder read its code: the vector beside every word, and sentences told from their own vectors."""
    return {"model.conditioning": "every_step", "model.feedback": "none", "model.sentence_loss": 1.0, "model.sentence_share": 0.5}


def normalised(config: Config, e: Evidence) -> Changes:
    return {"model.layer_norm": "output"}


def wider(config: Config, e: Evidence) -> Changes:
    return {"model.sentence_dim": 4 * config.model.sentence_dim} if config.model.bridge == "top_hidden" else {}


def drier(config: Config, e: Evidence) -> Changes:
    names = ("input_dropout", "recurrent_dropout", "zoneout_cell", "zoneout_hidden", "word_dropout")
    return {f"model.{name}": min(0.1, getattr(config.model, name)) for name in names}


def precise(config: Config, e: Evidence) -> Changes:
    return {"model.dtype": "float32"}


CONFIG_FIXES: dict[str, Callable[[Config, Evidence], Changes]] = {
    "learning-rate-too-high": slower,
    "learning-rate-too-low": faster,
    "clip-too-tight": looser,
    "over-regularised": undamped,
    "exploding-recurrence": gentle,
    "gates-saturated": gentle,
    "forget-gate-closed": remembering,
    "sequence-too-long": enduring,
    "code-ignored": reading,
    "codes-collapsed": normalised,
    "bottleneck-too-small": wider,
    "dropout-wrong": drier,
    "low-precision": precise,
}
"""What to change, by cause; the rest would be faults of the package."""
