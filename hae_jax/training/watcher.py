"""Who watches a run while it trains: training asks, and knows nothing of causes."""

from collections.abc import Mapping
from typing import Any, NamedTuple, Protocol

from jaxtyping import Array, Float, PyTree

from hae_jax.inference.evaluate import Evaluation
from hae_jax.training.gradient import Derivative


class Remark(NamedTuple):
    """What a watcher has to say.

    Attributes:
        cause: what goes wrong, as a slug.
        words: how that is known, and what to do, on one line.
    """

    cause: str
    words: str


class Watcher(Protocol):
    """Looks on, as part of the step and at the lines of the journal, and speaks up once for each cause."""

    def watch(self, derivative: Derivative, ratios: Mapping[str, Float[Array, ""]]) -> PyTree:
        """Sees a step, within its program; a `Watch` of `make_step`."""

    def train(self, step: int, values: Mapping[str, Any], seen: PyTree) -> list[Remark]:
        """Hears the numbers of a stretch of steps, and what `watch` saw of the last one."""

    def evaluation(self, step: int, evaluation: Evaluation) -> list[Remark]:
        """Hears an evaluation."""

    def breakdown(self, culprit: str | None) -> list[Remark]:
        """Hears of a step that was not finite, and whose gradient was the first that was not; None if all were."""
