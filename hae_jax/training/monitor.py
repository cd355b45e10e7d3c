"""Monitors a run with the doctor's rules: statistics at every log line, an alert at the step where training fails."""

import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any, NamedTuple

import numpy as np
from jaxtyping import Array, Float

from hae_jax.config import Config
from hae_jax.doctor.report import Evidence, format_value
from hae_jax.doctor.rules import CHANGES, judge
from hae_jax.gradients.differentiate import Derivative
from hae_jax.gradients.flow import GradientFlow, gradient_flow
from hae_jax.inference.evaluate import Evaluation
from hae_jax.training.optim import CLIPPERS

GROWN = 200
"""Minimum number of steps after warm-up before a flat loss is reported."""
TALKING = 500
"""Minimum number of steps before an ignored code is reported."""


class Alert(NamedTuple):
    """A cause found while a run trains.

    Attributes:
        cause: slug of the cause, see docs/causes.md.
        words: the evidence and the repair, on one line.
    """

    cause: str
    words: str


@dataclass(frozen=True)
class StepStatistics:
    """What one stretch of steps showed.

    Attributes:
        loss: its mean.
        norm: mean norm of the gradient.
        update: the largest |update| / |weights| of a kernel.
        saturated: the largest share of a level's gates at an end.
    """

    loss: float
    norm: float
    update: float
    saturated: float


class TrainingMonitor:
    """Looks at a run by the rules that need no intervention; passed to `hae_jax.training.fit`.

    Whoever judges a run that goes on must not cry wolf: of what only looks strange early, such as gates that are held
    open on purpose, it speaks only when it has become so, and while the loss stands still.

    Args:
        config: the run.
        told: causes that were spoken of before the run was resumed.
    """

    def __init__(self, config: Config, told: Iterable[str] = ()) -> None:
        self._config, self._told = config, set(told)
        self._looks: list[StepStatistics] = []
        self._slope = float("-inf")

    def watch(self, derivative: Derivative, ratios: Mapping[str, Float[Array, ""]]) -> GradientFlow:
        """Sees a step, within its program."""
        return gradient_flow(derivative, ratios)

    def train(self, step: int, values: Mapping[str, Any], seen: GradientFlow) -> list[Alert]:
        """Hears the numbers of a stretch of steps, and what was seen of the last one."""
        levels = seen.levels.values()
        slopes, decades = ([float(getattr(level, name)) for level in levels] for name in ("slope", "ratio"))
        ratios = [float(ratio) for ratio in seen.updates.values()]
        look = StepStatistics(
            values["loss"], values["norm"], max(ratios, default=0.0), max(float(level.saturated) for level in levels)
        )
        if not all(map(np.isfinite, (look.loss, look.norm, *slopes, *decades))):
            return []
        self._slope = max(slopes)
        self._looks.append(look)
        evidence: Evidence = {
            "slope_least": min(slopes), "slope_most": max(slopes), "decades_least": min(decades),
            "decades_most": max(decades), "forget_least": min(float(level.forget) for level in levels),
            "saturated_most": look.saturated, "gradient_norm": look.norm, "clip_binding": values["binding"],
            "update_ratio": look.update, "loss_last": look.loss,
            "loss_lowest": min(each.loss for each in self._looks),
        }  # fmt: skip
        if self._config.optim.clip == "global_norm":
            bound = self._config.optim.clip_norm or CLIPPERS["global_norm"][1]
            evidence["clip_scale"] = min(1.0, bound / max(look.norm, 1e-30))
        if step >= self._config.optim.warmup + GROWN:
            evidence["loss_first"] = self._looks[0].loss
        found = {finding.cause: finding.evidence for finding in judge(evidence)[0]}
        found |= dict.fromkeys(self._course(evidence), evidence)
        return self._remarks(found)

    def _course(self, e: Evidence) -> list[str]:
        """Judges what only the course of a run shows."""
        first = self._looks[0]
        found = []
        if e["loss_last"] > 1.5 * e["loss_lowest"] and e["update_ratio"] > 0.03:
            found.append("learning-rate-too-high")
        if "loss_first" in e and e["loss_last"] > 0.98 * e["loss_first"]:
            if e["update_ratio"] < 1e-5:
                found.append("learning-rate-too-low")
            elif e["saturated_most"] > max(0.5, first.saturated + 0.3):
                found.append("gates-saturated")
        return found

    def evaluation(self, step: int, evaluation: Evaluation) -> list[Alert]:
        """Hears an evaluation: a code that is not read shows in the code gap."""
        gap = {"code_gap": evaluation.code_gap, "loss": evaluation.loss}
        if evaluation.documents < 2 or step < 2:
            return []
        if evaluation.code_gap == 0:
            return self._remarks({"code-unwired": gap})
        learned = bool(self._looks) and evaluation.loss < 0.8 * self._looks[0].loss
        if step >= TALKING and learned and abs(evaluation.code_gap) < 0.002 * evaluation.loss:
            return self._remarks({"code-ignored": gap})
        return []

    def breakdown(self, culprit: str | None) -> list[Alert]:
        """Hears of a step that was not finite, and names level, leaf and cause."""
        where: Evidence = {"gradient": culprit or "finite, but not the loss or the update", "level": level(culprit)}
        if self._looks:
            where["update_ratio"] = self._looks[-1].update
        if self._slope > 0.2:
            return self._remarks({"exploding-recurrence": where | {"slope_most": self._slope}})
        # A step that overflows though its gradient does not is too long.
        wild = [look for look in self._looks[-1:] if look.update > 0.03 or look.norm > 10 * self._looks[0].norm]
        return self._remarks({"learning-rate-too-high" if wild or culprit is None else "not-finite": where})

    def _remarks(self, found: Mapping[str, Evidence]) -> list[Alert]:
        """Words what has not been said yet."""
        fresh = [cause for cause in found if cause not in self._told]
        self._told.update(fresh)
        return [Alert(cause, f"{shown(found[cause])}; {CHANGES[cause]}") for cause in fresh]


def level(path: str | None) -> str:
    """Returns the level that a parameter belongs to.

    Example:
        >>> level("encoder/word/layer_0/recurrent/kernel"), level("embedding")
        ('encoder/word', 'embedding')
    """
    found = re.match(r"(.+?)(/recurrent)?/layer_\d+", path or "")
    return found[1] if found else (path or "none").split("/")[0]


def shown(evidence: Evidence) -> str:
    """Writes evidence on one line.

    Example:
        >>> shown({"slope_most": 0.31, "level": "encoder/word"})
        'slope most 0.31, level encoder/word'
    """
    return ", ".join(f"{name.replace('_', ' ')} {format_value(value)}" for name, value in evidence.items())
