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
    """

    cause: str
    rank: int
    confidence: Callable[[Evidence], float | None]
    evidence_keys: tuple[str, ...]
    symptom: str
    change: str
    why: str
    instead_of: dict[str, str] = field(default_factory=dict)
    source: str = ""
