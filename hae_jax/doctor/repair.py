"""Proof by repair: the sick and the repaired twin train side by side."""

from collections.abc import Callable
from dataclasses import replace
from typing import Any

import numpy as np

from hae_jax.doctor.examine import SECONDS, examine, quiet
from hae_jax.doctor.fixes import Twins, outside
from hae_jax.doctor.inputs.fields import read_fields
from hae_jax.doctor.inputs.normalize import normalize
from hae_jax.doctor.inputs.setup import parse
from hae_jax.doctor.probes.short_training import ShortTraining, TrainingCurve
from hae_jax.doctor.probes.training import SHORT, STEPS
from hae_jax.doctor.report import Evidence, Repair, Report

MORE = 0.05
"""By how much more of its first loss the repaired twin has to get rid of."""
RATE = 3.0
"""By how much rates differ that are tried."""
RATES = 4
"""So many rates are tried, at most, above the first one, or else below it."""
ApplyFix = Callable[[str, Evidence], Twins | None]
"""Makes twins for a cause and the evidence; None where it knows no repair."""


def repair(patient: Any, seconds: float = SECONDS, treat: ApplyFix | None = None) -> Report:
    """Examines a patient, tries the repair of the likeliest cause on a twin, and says whether that healed.

    Healed means: from its start, on its own batches, the repaired twin gets rid of a larger share of its loss than the
    sick one in as many steps. Where the repair is of the optimizer, the rate that suits it is found first, by trials
    that are not counted. Nothing of the patient's is changed.

    Args:
        patient: as for `examine`.
        seconds: how long to take, about, for the examination, and again for the trial.
        treat: how to repair; from outside, by `remedy.outside`, if None.

    Returns:
        The report, with what came of it as `repair`; without, if nothing was found or the patient cannot run.
    """
    with quiet():
        try:
            case = normalize(parse(patient))
        except Exception:
            # Which the examination has words for.
            return examine(patient, seconds)
        # Batches may be an iterator; what was taken from it serves examination and trial.
        kept = replace(case.patient, batches=[case.batch_form.build(batch) for batch in case.batches])
        report = examine(kept, seconds)
        if not report.findings:
            return report
        cause = report.findings[0].cause
        if treat is None:
            twins = outside(case, read_fields(case), cause, report.evidence)
        else:
            twins = treat(cause, report.evidence)
        if twins is None:
            return replace(report, repair=Repair(cause, "", False, {}, {}, 0))
        return replace(report, repair=trial(cause, twins, report.evidence, seconds))


def trial(cause: str, twins: Twins, evidence: Evidence, seconds: float) -> Repair:
    """Trains twins for equally many steps."""
    trials, patience = [ShortTraining(normalize(each)) for each in (twins.sick, twins.repaired)], seconds / 2
    rate, repaired = suit(trials[1], patience) if twins.tuned else (1.0, whole(trials[1], patience))
    courses = [whole(trials[0], patience), repaired]
    # One that broke off has all of its loss left, whenever that was.
    steps = min((len(course.loss) for course in courses if course.finite), default=0)
    shares = [left(each, course, steps) for each, course in zip(trials, courses, strict=True)]
    if cause == "inputs-unscaled" and evidence.get("goal_variance"):
        # Much of such a loss is the distance to the mean, which a constant gets rid of.
        shares[0] = courses[0].end() / (evidence["reduction"] * evidence["goal_variance"])
    remains = dict(zip(("sick", "repaired"), shares, strict=True))
    losses = dict(zip(("sick", "repaired"), (course.loss for course in courses), strict=True))
    healed = shares[1] < min(1.0, shares[0]) - MORE
    return Repair(cause, twins.change, healed, remains, losses, steps, rate)


def whole(trial: ShortTraining, patience: float) -> TrainingCurve:
    """Trains a case for all steps."""
    return trial.run(trial.case.batches, STEPS, patience=patience)


def suit(trial: ShortTraining, patience: float) -> tuple[float, TrainingCurve]:
    """Finds the rate at which a case gets rid of the most loss; returns it, and the course of training.

    Steps are lengthened so long as that helps at first, and shortened if it does not. Of the two rates that begin best
    both go on to the end, since large steps are often ahead early and fall behind.
    """
    batches = trial.case.batches

    def begin(rate: float) -> TrainingCurve:
        return trial.run(batches, SHORT, rate, patience / (RATES + 4))

    def worth(rate: float) -> float:
        return begun[rate].end() if begun[rate].finite else float("inf")

    best, begun = 1.0, {1.0: begin(1.0)}
    for factor in (RATE, 1 / RATE) if begun[1.0].finite else (1 / RATE,):
        for _ in range(RATES):
            rate = best * factor
            begun[rate] = begin(rate)
            if begun[best].finite and not worth(rate) < worth(best):
                break
            best = rate
        if best != 1:
            break
    finalists = sorted(begun, key=worth)[:2]
    for rate in finalists:
        if begun[rate].finite:
            begun[rate] = trial.run(batches, STEPS - SHORT, rate, patience / 4, begun[rate])
    best = min(finalists, key=worth)
    return best, begun[best]


def left(trial: ShortTraining, course: TrainingCurve, steps: int) -> float:
    """Returns which share of its first loss a course has left at its end, on the same batches; 1 if it broke off."""
    if not course.finite:
        return 1.0
    case, last = trial.case, range(max(0, steps - 10), steps)
    fresh = [trial.differentiate(case.params, case.batches[at % len(case.batches)], case.key)[0] for at in last]
    still = float(np.mean(fresh))
    return float(np.mean([course.loss[at] for at in last]) / still) if still else 1.0
