"""The numbers of the steps since the last line of the journal, left on the device until they are asked for."""

import math
from collections.abc import Callable, Sequence
from typing import Any

import jax
import numpy as np
from jaxtyping import PyTree

from hae_jax.training.step import StepInfo, TrainState, named

AHEAD = 2
"""Steps that may be under way: the device makes one while the host builds the batch of the next."""


class NonFinite(FloatingPointError):
    """Too many steps in a row had a loss or a gradient that is not finite."""


class MetricsBuffer:
    """Gathers what the steps report, without making the device wait.

    Args:
        state: state that the run starts or resumes from.
        clock: tells the training time so far, in seconds.
        limit: non-finite steps in a row after which training gives up.

    Attributes:
        seen: what a watch saw of the last step.
        culprit: of the last stretch's first step that was not finite, the parameter whose gradient was the first that
            was not, or None; empty if all steps were finite.
    """

    def __init__(self, state: TrainState, clock: Callable[[], float], limit: int) -> None:
        self.seen: PyTree = None
        self.culprit: list[str | None] = []
        self._names = list(named(state.params))
        self._step, self._streak, self._skipped = int(state.step), int(state.skipped), int(state.skipped_total)
        self._clock, self._limit = clock, limit
        self._infos: list[StepInfo] = []
        self._late: list[bool] = []
        self._since: float | None = None

    def add(self, info: StepInfo) -> None:
        """Takes the info of the next step, and waits until no more than `AHEAD` steps are under way.

        To be called when the batch of the step after that is there: if the step is over already, the batch was late.
        """
        self._late.append(info.loss.is_ready())  # type: ignore[attr-defined]  # every array on a device has it
        # Of what a watch saw only the last is kept: it is the larger part of an info.
        self.seen, info = info.seen, info._replace(seen=None)
        self._infos.append(info)
        if self._since is None:
            # The first step compiles: its words are not counted, nor is its time.
            jax.block_until_ready(info)
            self._since, self._untimed = self._clock(), 1
        jax.block_until_ready(self._infos[-AHEAD:][0])

    def close(self) -> dict[str, Any] | None:
        """Fetches and sums up what came since the last time.

        Means are over the steps that were taken, the losses weighted by tokens; they are nan if there was none.

        Returns:
            The numbers for the journal; None if there was no step.

        Raises:
            NonFinite: if there were too many steps in a row that could not be taken.
        """
        if not self._infos or self._since is None:
            return None
        infos: list[StepInfo] = jax.device_get(self._infos)
        self.seen = jax.device_get(self.seen)
        self.culprit = [self._named(int(info.culprit)) for info in infos if not info.finite][:1]
        for info in infos:
            self._step += 1
            self._streak = 0 if info.finite else self._streak + 1
            self._skipped += not info.finite
            if self._streak >= self._limit:
                raise NonFinite(self._complaint(self._named(int(info.culprit))))
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
        for name in ("sentence_loss", "vector_loss"):
            if getattr(infos[0], name) is not None:
                values[name] = mean([getattr(info, name) for info in taken], [info.tokens for info in taken])
        self._infos, self._late, self._since, self._untimed = [], [], now, 0
        return values

    def _named(self, culprit: int) -> str | None:
        return self._names[culprit] if culprit >= 0 else None

    def _complaint(self, culprit: str | None) -> str:
        what = "every gradient is finite, but the loss or the update is not"
        if culprit is not None:
            what = f"the gradient of {culprit} is the first that is not"
        return (
            f"steps {self._step - self._streak + 1} to {self._step} must be finite, got NaN or infinity in each: "
            f"{what}. Start a new workdir with a lower optim.learning_rate or optim.clip_norm."
        )


def mean(values: Sequence[Any], weights: Sequence[Any] | None = None) -> float:
    """Returns the weighted mean of some numbers; nan if there are none.

    Example:
        >>> mean([1.0, 4.0], weights=[2, 1])
        2.0
    """
    return float(np.average(np.asarray(values, np.float64), weights=weights)) if len(values) else math.nan
