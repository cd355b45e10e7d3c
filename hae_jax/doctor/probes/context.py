"""The context of probes: the setup, its traced loss, the evidence measured so far, and probes that could not run."""

import time
from collections.abc import Callable
from dataclasses import dataclass, field
from functools import cached_property

import numpy as np

from hae_jax.doctor.evidence import Evidence
from hae_jax.doctor.inputs.fields import Fields, find_padding, real_positions
from hae_jax.doctor.inputs.normalize import NormalizedSetup
from hae_jax.doctor.inputs.setup import format_error
from hae_jax.doctor.probes.goals import GoalSource, find_source
from hae_jax.doctor.probes.short_training import ShortTraining, TrainingCurve
from hae_jax.doctor.tracing.interpreter import Op, live_ops
from hae_jax.doctor.tracing.traced_loss import Activations, Gradients, TracedLoss

CUT = "the time was over"
"""Reason of probes that an upper limit of the duration kept from running."""


class ProbeSkipped(Exception):
    """A probe cannot run on this setup; the message is the reason.

    Args:
        reason: why, for the report.
        evidence: what was measured nevertheless.
    """

    def __init__(self, reason: str, evidence: Evidence | None = None):
        super().__init__(reason)
        self.evidence = evidence or {}


@dataclass
class ProbeContext:
    """What a probe reads.

    Attributes:
        setup: the normalized setup.
        fields: what its batches hold.
        trainer: trains it.
        traced_loss: its traced loss; None if it could not be traced.
        curve: of the training at the user's learning rate; empty before it.
        evidence: measured values by name.
        not_run: why probes could not run, by their names.
        raised: errors of probes that should have run, by their names.
        seconds: duration of each probe.
    """

    setup: NormalizedSetup
    fields: Fields
    trainer: ShortTraining
    traced_loss: TracedLoss | None = None
    curve: TrainingCurve = field(default_factory=TrainingCurve)
    evidence: Evidence = field(default_factory=dict)
    not_run: dict[str, str] = field(default_factory=dict)
    raised: dict[str, str] = field(default_factory=dict)
    seconds: dict[str, float] = field(default_factory=dict)

    @cached_property
    def rng(self) -> np.random.Generator:
        """Randomness of the probes, the same in every examination of a setup."""
        return np.random.default_rng(self.setup.original.seed)

    @property
    def traced(self) -> TracedLoss:
        """The traced loss.

        Raises:
            ProbeSkipped: if it could not be traced.
        """
        if self.traced_loss is None:
            raise ProbeSkipped("the loss cannot be traced")
        return self.traced_loss

    @cached_property
    def activations(self) -> Activations:
        """Activations on the first batch, without dropout and noise."""
        return self.traced.run(self.setup.params, self.setup.batches[0])

    @cached_property
    def live(self) -> list[Op]:
        """The operations that the loss depends on, in order."""
        return live_ops(self.traced.jaxpr)

    @cached_property
    def goal_source(self) -> GoalSource | None:
        """Which field of the first batch the goals are copies of; None if of none."""
        return find_source(self.traced, self.setup, self.fields, self.activations.values)

    @cached_property
    def goal_pad(self) -> int | None:
        """Id of padding among the goals: that of the inputs if goals are taken from them, else that of their field."""
        source, fields, roles = self.goal_source, self.fields, self.traced.roles
        if source is None:
            goal, main = roles.targets, fields.main
            return fields.pad if goal is not None and main is not None and roles.reads(goal, main) else None
        if source.field == fields.main or self.evidence.get("goal") in ("copy", "next"):
            return fields.pad
        rows = np.concatenate([batch[source.field] for batch in self.setup.batches[:8]])
        return find_padding(rows.reshape(-1, rows.shape[-1])) if rows.ndim > 1 and rows.dtype.kind in "iu" else None

    @cached_property
    def gradients(self) -> Gradients:
        """Gradients on the first batch."""
        return self.traced.differentiate(self.setup.params, self.setup.batches[0])

    @cached_property
    def real(self) -> np.ndarray | None:
        """Which positions of the first batch's main field are real, bool; None if unknown."""
        return real_positions(self.fields, self.setup.batches[0])

    def run(self, name: str, probe: Callable[["ProbeContext"], Evidence]) -> None:
        """Runs a probe; adds its evidence, or the reason why it could not run."""
        if self.trainer.is_late():
            self.not_run[name] = CUT
            return
        started = time.monotonic()
        try:
            self.evidence |= probe(self)
        except ProbeSkipped as skipped:
            self.evidence |= skipped.evidence
            self.not_run[name] = str(skipped)
        except Exception as error:
            # That a probe fails on a user's model is no evidence about the model, neither of a fault nor of health.
            self.raised[name] = format_error(error, 160)
        self.seconds[name] = time.monotonic() - started
