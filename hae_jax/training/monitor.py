"""Monitoring of a run by the doctor's rules: statistics at every log line, alerts where training fails."""

import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any, NamedTuple

import numpy as np
from jaxtyping import Array, Float

from hae_jax.config import Config
from hae_jax.doctor.evidence import Evidence, format_value
from hae_jax.doctor.rules import CHANGES, judge
from hae_jax.gradients.differentiate import Flow
from hae_jax.gradients.flow import GradientFlow, gradient_flow
from hae_jax.inference.evaluate import Evaluation
from hae_jax.training.optim import CLIPPERS

FLAT_AFTER = 200
"""Minimum number of steps after warm-up before a flat loss is reported."""
IGNORED_AFTER = 500
"""Minimum number of steps before an ignored code is reported."""


class Alert(NamedTuple):
    """A cause of failure found while a run trains.

    Attributes:
        cause: slug of the cause, see docs/causes.md.
        message: the evidence and the repair, on one line.
    """

    cause: str
    message: str


@dataclass(frozen=True)
class WindowStatistics:
    """Statistics of one window of steps.

    Attributes:
        loss: mean loss.
        norm: mean norm of the gradient.
        update: the largest |update| / |weights| of all kernels.
        saturated: the largest share of saturated gates of all levels.
    """

    loss: float
    norm: float
    update: float
    saturated: float


class TrainingMonitor:
    """Applies those rules of the doctor that need no intervention; passed to `hae_jax.training.fit`.

    To avoid false alarms, what is only unusual, such as gates that are held open on purpose, is reported only if it
    developed during the run, and while the loss does not fall. Each cause is reported once.

    Args:
        config: the run.
        reported: causes reported before the run was resumed.
    """

    def __init__(self, config: Config, reported: Iterable[str] = ()) -> None:
        self._config, self._reported = config, set(reported)
        self._history: list[WindowStatistics] = []
        self._slope = float("-inf")

    def statistics(self, flow: Flow, ratios: Mapping[str, Float[Array, ""]]) -> GradientFlow:
        """Summarizes the gradient flow of a step, within its program; the `statistics` of `make_step`."""
        return gradient_flow(flow, ratios)

    def train(self, step: int, values: Mapping[str, Any], flow: GradientFlow) -> list[Alert]:
        """Checks a window of steps.

        Args:
            step: the last step of the window.
            values: the metrics of the window.
            flow: the statistics of its last step.
        """
        levels = flow.levels.values()
        slopes, decades = ([float(getattr(level, name)) for level in levels] for name in ("slope", "ratio"))
        ratios = [float(ratio) for ratio in flow.updates.values()]
        current = WindowStatistics(
            values["loss"], values["norm"], max(ratios, default=0.0), max(float(level.saturated) for level in levels)
        )
        if not all(map(np.isfinite, (current.loss, current.norm, *slopes, *decades))):
            return []
        self._slope = max(slopes)
        self._history.append(current)
        evidence: Evidence = {
            "slope_least": min(slopes), "slope_most": max(slopes), "decades_least": min(decades),
            "decades_most": max(decades), "forget_least": min(float(level.forget) for level in levels),
            "saturated_most": current.saturated, "gradient_norm": current.norm, "clip_binding": values["binding"],
            "update_ratio": current.update, "loss_last": current.loss,
            "loss_lowest": min(each.loss for each in self._history),
        }  # fmt: skip
        if self._config.optim.clip == "global_norm":
            bound = self._config.optim.clip_norm or CLIPPERS["global_norm"][1]
            evidence["clip_scale"] = min(1.0, bound / max(current.norm, 1e-30))
        if step >= self._config.optim.warmup + FLAT_AFTER:
            evidence["loss_first"] = self._history[0].loss
        found = {finding.cause: finding.evidence for finding in judge(evidence)[0]}
        found |= dict.fromkeys(self._causes_over_time(evidence), evidence)
        return self._alerts(found)

    def _causes_over_time(self, e: Evidence) -> list[str]:
        """Returns the causes that only the course of a run reveals."""
        first = self._history[0]
        causes = []
        if e["loss_last"] > 1.5 * e["loss_lowest"] and e["update_ratio"] > 0.03:
            causes.append("learning-rate-too-high")
        if "loss_first" in e and e["loss_last"] > 0.98 * e["loss_first"]:
            if e["update_ratio"] < 1e-5:
                causes.append("learning-rate-too-low")
            elif e["saturated_most"] > max(0.5, first.saturated + 0.3):
                causes.append("gates-saturated")
        return causes

    def evaluation(self, step: int, evaluation: Evaluation) -> list[Alert]:
        """Checks an evaluation: a code gap near 0 shows that the decoder ignores the code."""
        gap = {"code_gap": evaluation.code_gap, "loss": evaluation.loss}
        if evaluation.documents < 2 or step < 2:
            return []
        if evaluation.code_gap == 0:
            return self._alerts({"code-unwired": gap})
        learned = bool(self._history) and evaluation.loss < 0.8 * self._history[0].loss
        if step >= IGNORED_AFTER and learned and abs(evaluation.code_gap) < 0.002 * evaluation.loss:
            return self._alerts({"code-ignored": gap})
        return []

    def on_nonfinite(self, parameter: str | None) -> list[Alert]:
        """Called for a window with a non-finite step.

        Args:
            parameter: path of the first parameter whose gradient is not finite; None if all gradients are finite.
        """
        gradient = parameter or "finite, but not the loss or the update"
        evidence: Evidence = {"gradient": gradient, "level": level_of(parameter)}
        if self._history:
            evidence["update_ratio"] = self._history[-1].update
        if self._slope > 0.2:
            return self._alerts({"exploding-recurrence": evidence | {"slope_most": self._slope}})
        large = [each for each in self._history[-1:] if each.update > 0.03 or each.norm > 10 * self._history[0].norm]
        # A step that overflows although its gradient is finite is too large.
        return self._alerts({"learning-rate-too-high" if large or parameter is None else "not-finite": evidence})

    def _alerts(self, found: Mapping[str, Evidence]) -> list[Alert]:
        """Returns alerts for the causes that have not been reported yet."""
        new = [cause for cause in found if cause not in self._reported]
        self._reported.update(new)
        return [Alert(cause, f"{describe(found[cause])}; {CHANGES[cause]}") for cause in new]


def level_of(path: str | None) -> str:
    """Returns the level that a parameter belongs to.

    Example:
        >>> level_of("encoder/word/layer_0/recurrent/kernel"), level_of("embedding")
        ('encoder/word', 'embedding')
    """
    found = re.match(r"(.+?)(/recurrent)?/layer_\d+", path or "")
    return found[1] if found else (path or "none").split("/")[0]


def describe(evidence: Evidence) -> str:
    """Formats evidence on one line.

    Example:
        >>> describe({"slope_most": 0.31, "level": "encoder/word"})
        'slope most 0.31, level encoder/word'
    """
    return ", ".join(f"{name.replace('_', ' ')} {format_value(value)}" for name, value in evidence.items())
