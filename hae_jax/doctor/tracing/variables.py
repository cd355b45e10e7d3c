"""The roles of a traced loss's variables."""

from collections import Counter
from dataclasses import dataclass, field
from typing import NamedTuple

from hae_jax.doctor.tracing.dataflow import Dataflow
from hae_jax.doctor.tracing.recurrences import Recurrence

PARAMS, KEY, RANDOM, FIELD = 1, 2, 4, 8
"""Taint of what depends on parameters, the key, random numbers, and the first field of a batch; others follow."""
UNROLLED = 6
"""Least number of gates of one shape by which a jaxpr without scans counts as a loop unrolled by Python."""


class Normalization(NamedTuple):
    """A root of a mean square: the scope, the axes averaged over, and the shape before that."""

    scope: str
    axes: tuple[int, ...]
    shape: tuple[int, ...]


@dataclass
class Roles:
    """Variables by role; None or empty where none was found.

    Attributes:
        graph: dataflow of the jaxpr.
        taint: taint of every variable.
        logits: what the cross-entropy takes.
        targets: ids that it is evaluated at, or a one-hot array with one axis more.
        prediction: what a squared or absolute error takes, or a binary cross-entropy.
        goal: what the prediction is compared with.
        binary: whether the prediction is what a binary cross-entropy takes: a logit of one class.
        outer: axes of the difference of prediction and goal that only one of them has, if both lack some.
        recurrences: all scans that carry states.
        code: variables alive at the narrowest place.
        embeddings: results of looking ids up in a table of parameters.
        dropout_masks: comparisons that decide what dropout keeps.
        noise: normally distributed random numbers.
        normalizations: roots of mean squares over some of the axes.
    """

    graph: Dataflow
    taint: dict[int, int]
    logits: int | None = None
    targets: int | None = None
    prediction: int | None = None
    goal: int | None = None
    binary: bool = False
    outer: tuple[tuple[int, ...], tuple[int, ...]] | None = None
    recurrences: list[Recurrence] = field(default_factory=list)
    code: list[int] = field(default_factory=list)
    embeddings: list[int] = field(default_factory=list)
    dropout_masks: list[int] = field(default_factory=list)
    noise: list[int] = field(default_factory=list)
    normalizations: list[Normalization] = field(default_factory=list)

    @property
    def output(self) -> int | None:
        """What the loss is computed from: logits, or else a prediction."""
        return self.prediction if self.logits is None else self.logits

    def from_batch(self, var: int) -> bool:
        """Returns whether a variable depends on the batch."""
        return self.taint[var] >= FIELD

    def from_params(self, var: int) -> bool:
        """Returns whether a variable depends on parameters."""
        return bool(self.taint[var] & PARAMS)

    def from_both(self, var: int) -> bool:
        """Returns whether a variable depends on parameters and the batch."""
        return self.from_params(var) and self.from_batch(var)

    def is_data(self, var: int) -> bool:
        """Returns whether a variable depends on the batch and not on parameters."""
        return self.from_batch(var) and not self.from_params(var)

    @property
    def unrolled(self) -> bool:
        """Whether there are many gates of one shape, and no scan that carries a state."""
        gates = Counter(
            (op.name, self.graph.shape(op.outputs[0]))
            for op in self.graph.jaxpr.walk()
            if op.name in ("logistic", "tanh") and self.from_both(op.outputs[0])
        )
        return not self.recurrences and max(gates.values(), default=0) >= UNROLLED

    def reads(self, var: int, field: int) -> bool:
        """Returns whether a variable depends on a field of the batch, given by its number."""
        return bool(self.taint[var] & FIELD << field)
