"""Tests a repair: the original and the repaired setup are trained for as many steps."""

import time
from collections.abc import Callable
from dataclasses import replace
from functools import partial
from typing import Any

import numpy as np

from hae_jax.doctor.evidence import Evidence
from hae_jax.doctor.examine import Progress, examine, no_warnings, read
from hae_jax.doctor.fixes import Twins, fix_setup
from hae_jax.doctor.inputs.fields import read_fields
from hae_jax.doctor.inputs.normalize import normalize
from hae_jax.doctor.probes.short_training import ShortTraining, TrainingCurve
from hae_jax.doctor.probes.training import RATE_STEPS, STEPS
from hae_jax.doctor.report import Repair, Report

MARGIN = 0.05
"""Share of the first loss by which the repaired run must be better."""
RATE_FACTOR = 3.0
"""Ratio of successive learning rates that are tried."""
MAX_RATES = 4
"""Largest number of learning rates that are tried above the first one, or else below it."""
TWINS = ("sick", "repaired")
"""Names of the original and the repaired run in reports."""
ApplyFix = Callable[[str, Evidence], Twins | None]
"""Makes twins for a cause and the evidence; returns None if there is no repair."""


def repair(
    *given: Any,
    seconds: float | None = None,
    fix: ApplyFix | None = None,
    progress: Progress | None = None,
    **parts: Any,
) -> Report:
    """Examines a setup, tries the repair of the most likely cause on a copy, and reports whether it helps.

    A repair helps if the repaired run, from its own initial parameters and on its own batches, loses a clearly larger
    share of its loss than the original one in as many steps. If the optimizer is changed, its learning rate is tuned
    first, by trials that do not count. The user's own objects are not changed.

    Args:
        given: as for `examine`.
        seconds: upper limit of the duration of the examination, and again of the trial; None for no limit.
        fix: makes the twins; if None, `hae_jax.doctor.fixes.fix_setup`.
        progress: as for `examine`.
        parts: as for `examine`.

    Returns:
        The report, with the outcome as `repair`; without it if nothing was found or the setup does not work.

    Example:
        >>> report = repair({"loss": lambda params, batch: params.sum(), "params": np.ones(3), "batches": []})
        >>> report.findings[0].cause, report.repair
        ('no-batches', None)
    """
    with no_warnings():
        try:
            normalized = normalize(read(*given, **parts))
        except Exception:
            # The examination reports it.
            return examine(*given, seconds=seconds, progress=progress, **parts)
        # Batches may be an iterator; what was taken from it is used by both the examination and the trial.
        original = replace(normalized.original, batches=normalized.build_batches())
        report = examine(original, seconds=seconds, progress=progress)
        if not report.findings:
            return report
        cause, evidence = report.findings[0].cause, report.evidence
        if fix is None:
            fix = partial(fix_setup, normalized, read_fields(normalized))
        twins = fix(cause, evidence)
        if twins is None:
            return replace(report, repair=Repair(cause, "", False, {}, {}, 0))
        return replace(report, repair=compare(cause, twins, evidence, seconds))


def compare(cause: str, twins: Twins, evidence: Evidence, seconds: float | None = None) -> Repair:
    """Trains twins for as many steps, and returns how much of their first losses is left."""
    now = time.monotonic()
    half, end = (None if seconds is None else now + share * seconds for share in (0.5, 1.0))
    repaired, original = ShortTraining(normalize(twins.repaired), half), ShortTraining(normalize(twins.original), end)
    rate = 1.0
    if twins.tune_rate:
        rate, repaired_curve = tune_rate(repaired)
    else:
        repaired_curve = repaired.run(repaired.setup.batches, STEPS)
    original_curve = original.run(original.setup.batches, STEPS)
    curves = (original_curve, repaired_curve)
    # A run that became NaN or infinite has all of its loss left, whenever that was. One that was cut short is compared
    # after as many steps as it took.
    steps = min((len(curve.loss) for curve in curves if curve.finite), default=0)
    original_left, repaired_left = (
        loss_left(run, curve, steps) for run, curve in zip((original, repaired), curves, strict=True)
    )
    if cause == "inputs-unscaled" and evidence.get("goal_variance"):
        # Most of this loss is the distance of the data from 0, which a constant output removes; what counts is the
        # share of the variance.
        original_left = float(np.mean(original_curve.loss[:steps][-10:])) / (
            evidence["reduction"] * evidence["goal_variance"]
        )
    healed = repaired_left < min(1.0, original_left) - MARGIN
    left = dict(zip(TWINS, (original_left, repaired_left), strict=True))
    losses = dict(zip(TWINS, (curve.loss[:steps] if curve.finite else curve.loss for curve in curves), strict=True))
    return Repair(cause, twins.change, healed, left, losses, steps, rate)


def tune_rate(trainer: ShortTraining) -> tuple[float, TrainingCurve]:
    """Finds the factor of the learning rate that reduces the loss most; returns it with its training curve.

    The learning rate is raised as long as that helps at first, or lowered if raising does not help. The two best ones
    are trained to the end, since large steps are often ahead early and fall behind later. At the deadline the best one
    so far is returned.
    """
    batches = trainer.setup.batches
    curves: dict[float, TrainingCurve] = {}

    def start(rate: float) -> None:
        curves[rate] = trainer.run(batches, RATE_STEPS, rate)

    def loss(rate: float) -> float:
        complete = curves[rate].finite and len(curves[rate].loss) >= RATE_STEPS
        return curves[rate].final_loss() if complete else float("inf")

    best = 1.0
    start(best)
    for factor in (RATE_FACTOR, 1 / RATE_FACTOR) if curves[best].finite else (1 / RATE_FACTOR,):
        for _ in range(MAX_RATES):
            rate = best * factor
            start(rate)
            if curves[best].finite and not loss(rate) < loss(best):
                break
            best = rate
        if best != 1:
            break
    finalists = sorted(curves, key=loss)[:2]
    for rate in finalists:
        if curves[rate].finite:
            curves[rate] = trainer.run(batches, STEPS - len(curves[rate].loss), rate, curves[rate])
    best = min(finalists, key=loss)
    return best, curves[best]


def loss_left(trainer: ShortTraining, curve: TrainingCurve, steps: int) -> float:
    """Returns the final loss relative to that of the initial parameters on the same batches; 1 if it is not finite."""
    if not curve.finite or not steps:
        return 1.0
    setup, last = trainer.setup, range(max(0, steps - 10), steps)
    batches = [setup.batches[at % len(setup.batches)] for at in last]
    initial = float(np.mean([trainer.value_and_grad(setup.params, batch, setup.key)[0] for batch in batches]))
    return float(np.mean([curve.loss[at] for at in last]) / initial) if initial else 1.0
