"""Metrics of the steps since the last log line, kept on the device until they are needed."""

import math
from collections.abc import Callable, Sequence
from typing import Any

import jax
import numpy as np
from jaxtyping import PyTree

from hae_jax.training.step import StepInfo, TrainState, named_leaves

AHEAD = 2
"""Steps in flight: the device computes one while the host builds the batch of the next."""


class NonFinite(FloatingPointError):
    """Too many consecutive steps had a loss or a gradient that is not finite."""


class MetricsBuffer:
    """Collects the metrics of steps without making the device wait.

    Args:
        state: state that the run starts or resumes from.
        clock: returns the training time so far, in seconds.
        limit: consecutive non-finite steps after which training stops.

    Attributes:
        statistics: `StepInfo.statistics` of the last step.
        nonfinite: whether a step of the last window was not finite.
        first_nonfinite: path of the first parameter with a non-finite gradient in the first such step; None if all
            gradients are finite.
    """

    def __init__(self, state: TrainState, clock: Callable[[], float], limit: int) -> None:
        self.statistics: PyTree = None
        self.nonfinite = False
        self.first_nonfinite: str | None = None
        self._names = list(named_leaves(state.params))
        self._step, self._streak, self._skipped = int(state.step), int(state.skipped), int(state.skipped_total)
        self._clock, self._limit = clock, limit
        self._infos: list[StepInfo] = []
        self._late: list[bool] = []
        self._since: float | None = None

    def add(self, info: StepInfo) -> None:
        """Adds the info of the next step, and waits until at most `AHEAD` steps are in flight.

        To be called when the batch of the following step is ready: if the step is done by then, the batch was late.
        """
        self._late.append(info.loss.is_ready())  # type: ignore[attr-defined]  # every array on a device has it
        # Only the last statistics are kept, since they are the larger part of an info.
        self.statistics, info = info.statistics, info._replace(statistics=None)
        self._infos.append(info)
        if self._since is None:
            # The first step compiles, so neither its tokens nor its time are counted.
            jax.block_until_ready(info)
            self._since, self._untimed = self._clock(), 1
        jax.block_until_ready(self._infos[-AHEAD:][0])

    def summarize(self) -> dict[str, Any] | None:
        """Fetches the metrics of the window since the last call, averages them, and starts a new window.

        Means are over the steps that were taken, those of losses weighted by tokens; nan if no step was taken.

        Returns:
            The values of a log line; None if there was no step.

        Raises:
            NonFinite: if too many consecutive steps were not finite.
        """
        if not self._infos or self._since is None:
            return None
        infos: list[StepInfo] = jax.device_get(self._infos)
        self.statistics = jax.device_get(self.statistics)
        failed = [info for info in infos if not info.finite]
        self.nonfinite, self.first_nonfinite = bool(failed), self._name(failed[0]) if failed else None
        for info in infos:
            self._step += 1
            self._streak = 0 if info.finite else self._streak + 1
            self._skipped += not info.finite
            if self._streak >= self._limit:
                raise NonFinite(self._message(self._name(info)))
        now = self._clock()
        taken = [info for info in infos if info.finite]
        timed = infos[self._untimed :]
        values = {
            "loss": mean([info.loss for info in taken], [info.tokens for info in taken]),
            "norm": mean([info.norm for info in taken]),
            "binding": mean([info.binding for info in taken]),
            "skipped": self._skipped,
            "words_per_second": float(sum(info.tokens for info in timed)) / (now - self._since) if timed else math.nan,
            "late_batches": mean(self._late),
            "seconds": now,
        }
        for name in ("sentence_loss", "vector_loss", "topic_loss"):
            if getattr(infos[0], name) is not None:
                values[name] = mean([getattr(info, name) for info in taken], [info.tokens for info in taken])
        self._infos, self._late, self._since, self._untimed = [], [], now, 0
        return values

    def _name(self, info: StepInfo) -> str | None:
        return self._names[info.first_nonfinite] if info.first_nonfinite >= 0 else None

    def _message(self, first_nonfinite: str | None) -> str:
        reason = "every gradient is finite, but the loss or the update is not"
        if first_nonfinite is not None:
            reason = f"the gradient of {first_nonfinite} is the first that is not"
        return (
            f"steps {self._step - self._streak + 1} to {self._step} must be finite, got NaN or infinity in each: "
            f"{reason}. Start a new workdir with a lower optim.learning_rate or optim.clip_norm."
        )


def mean(values: Sequence[Any], weights: Sequence[Any] | None = None) -> float:
    """Returns the weighted mean of numbers; nan if there are none.

    Example:
        >>> mean([1.0, 4.0], weights=[2, 1])
        2.0
    """
    return float(np.average(np.asarray(values, np.float64), weights=weights)) if len(values) else math.nan
