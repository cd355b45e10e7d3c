"""A rule: a cause, the evidence by which it is recognized, and its repair."""

from collections.abc import Callable
from dataclasses import dataclass, field

from hae_jax.doctor.evidence import Evidence


@dataclass(frozen=True)
class Rule:
    """A cause, and how it is recognized.

    Attributes:
        cause: its slug.
        rank: distance from the root, 0 for exact faults of the program; causes of lower rank are reported first.
        confidence: returns the confidence that the evidence gives, or None if it excludes the cause. A value that
            is required and missing makes the rule abstain.
        evidence_keys: names of the evidence that a finding quotes.
        symptom: what users observe.
        change: the repair.
        why: why that helps.
        instead_of: causes with similar symptoms, each with the evidence against it.
        source: URL of a report of the cause by its users.
        kinds: the kinds of models that can have it; empty if all.
        steps: least number of training steps; an examination that was cut short before them is no evidence.
    """

    cause: str
    rank: float
    confidence: Callable[[Evidence], float | None]
    evidence_keys: tuple[str, ...]
    symptom: str
    change: str
    why: str
    instead_of: dict[str, str] = field(default_factory=dict)
    source: str = ""
    kinds: tuple[str, ...] = ()
    steps: int = 0

    def applies(self, e: Evidence) -> bool:
        """Returns whether the kind of model can have the cause, and an examination that was cut short got that far."""
        kind = e.get("kind")
        return (not self.kinds or kind is None or kind in self.kinds) and not (e.get("cut") and e["steps"] < self.steps)


CODED = ("autoencoder", "seq2seq", "VAE")
"""Kinds of models with a code between an encoder and a decoder."""
STEPWISE = (*CODED, "language model", "forecaster")
"""Kinds of models whose outputs predict a sequence."""


def has_code(e: Evidence) -> bool:
    """Returns whether the model is of a kind with a code; also true of evidence that holds no kind."""
    return e.get("kind") in (*CODED, None)
