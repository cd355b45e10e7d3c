"""What is known of a patient while it is examined: the case, what was measured, and what could not be."""

import time
from collections.abc import Callable
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any

import numpy as np

from hae_jax.doctor.inputs.fields import Fields, real
from hae_jax.doctor.inputs.normalize import NormalizedSetup
from hae_jax.doctor.tracing.traced_loss import Activations, Gradients, TracedLoss


class ProbeSkipped(Exception):
    """A probe cannot be run; its words say because of what."""


@dataclass
class ProbeContext:
    """A patient's chart.

    Attributes:
        case: the patient, undressed.
        fields: what its batches hold.
        look: its loss from within; None if it could not be traced.
        evidence: what was measured, by name.
        not_run: why probes could not be run, by their names.
        rng: randomness of the probes.
    """

    case: NormalizedSetup
    fields: Fields
    look: TracedLoss | None
    evidence: dict[str, Any] = field(default_factory=dict)
    not_run: dict[str, str] = field(default_factory=dict)
    seconds: dict[str, float] = field(default_factory=dict)

    @cached_property
    def rng(self) -> np.random.Generator:
        """The same randomness for every examination of a patient."""
        return np.random.default_rng(self.case.patient.seed)

    @property
    def inside(self) -> TracedLoss:
        """The loss from within.

        Raises:
            Unable: if it could not be traced.
        """
        if self.look is None:
            raise ProbeSkipped("the loss cannot be traced")
        return self.look

    @cached_property
    def heard(self) -> Activations:
        """A look at the first batch, without noise."""
        return self.inside.hear(self.case.params, self.case.batches[0])

    @cached_property
    def felt(self) -> Gradients:
        """Gradients on the first batch."""
        return self.inside.feel(self.case.params, self.case.batches[0])

    @cached_property
    def real(self) -> np.ndarray | None:
        """Which positions of the first batch's main field are real."""
        return real(self.fields, self.case.batches[0])

    def probe(self, name: str, function: Callable[["ProbeContext"], dict[str, Any]]) -> None:
        """Runs a probe and writes down what it found, or why it could not be run."""
        started = time.monotonic()
        try:
            self.evidence |= function(self)
        except ProbeSkipped as reason:
            self.not_run[name] = str(reason)
        except Exception as error:
            # A probe that fails on somebody's model says nothing about the model.
            self.not_run[name] = f"{type(error).__name__}: {' '.join(str(error).split())[:160]}"
        self.seconds[name] = time.monotonic() - started
