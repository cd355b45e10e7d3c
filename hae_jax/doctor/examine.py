"""The examination: all probes, cheapest first, then the rules."""

import contextlib
import time
import warnings
from collections.abc import Iterator
from typing import Any

from hae_jax.doctor.inputs.fields import read_fields
from hae_jax.doctor.inputs.normalize import format_error, normalize
from hae_jax.doctor.inputs.setup import SetupError, parse
from hae_jax.doctor.probes import code as code_probe
from hae_jax.doctor.probes import data, initial_loss, leakage, optimizer, padding, randomness, recurrence, training
from hae_jax.doctor.probes.context import ProbeContext
from hae_jax.doctor.probes.short_training import MIN_STEPS, ShortTraining, TrainingCurve
from hae_jax.doctor.report import Finding, Report
from hae_jax.doctor.rules import judge, settled
from hae_jax.doctor.tracing.traced_loss import trace_loss

SECONDS = 60.0
"""How long an examination may take; trainings share what the probes leave."""
BEFORE = {
    "contents": data.contents,
    "order": data.order,
    "pairing": data.pairing,
    "wiring": initial_loss.wiring,
    "start": initial_loss.start,
    "scale": initial_loss.scale,
    "weights": initial_loss.weights,
    "inputs": initial_loss.inputs,
    "states": recurrence.states,
    "gradients": recurrence.gradients,
    "code": code_probe.at_start,
    "mixed": leakage.mixed,
    "causal": leakage.causal,
    "padding": padding.noise,
    "longer": padding.longer,
    "blank": padding.blank,
}
"""Probes that need no step of training."""
LONG = 60
"""Steps from which on it is asked whether shorter sequences would do better."""
ENOUGH = ("loss_first", "loss_last")
"""Evidence without which nobody is called healthy."""


def examine(patient: Any, seconds: float = SECONDS) -> Report:
    """Finds out why a model does not train.

    Args:
        patient: a `TrainingSetup`, or anything with `loss`, `params`, `batches` and `optimizer`.
        seconds: how long to take, about; the least is what compiling takes.

    Returns:
        The report. A patient of which nothing works is reported, not raised.

    Example:
        >>> import jax.numpy as jnp, optax
        >>> def loss(params, batch): return 1 / 0
        >>> report = examine({"loss": loss, "params": jnp.ones(3), "batches": [jnp.ones((2, 3))]})
        >>> report.findings[0].cause
        'loss-fails'
    """
    started = time.monotonic()
    with quiet():
        try:
            case = normalize(parse(patient))
            fields, trial = read_fields(case), ShortTraining(case)
        except SetupError as trouble:
            return hopeless(trouble.slug, str(trouble), started)
        except Exception as error:
            # Objects of the user's that break when they are looked at.
            words = f"patient must be readable, got {format_error(error)}. Give a dict of what it holds."
            return hopeless("patient-fails", words, started)
        chart = ProbeContext(case, fields, None)
        chart.evidence["examples"] = chart.fields.size
        try:
            chart.look = trace_loss(case, chart.fields.size)
        except Exception as error:
            # Without a look inside there is still the training.
            chart.not_run["tracing"] = format_error(error, 160)
        for name, probe in BEFORE.items():
            chart.probe(name, probe)
        chart.probe("finite", lambda chart: randomness.finite(chart, trial))
        if chart.evidence.get("broken_batches") == 1.0 and not chart.evidence.get("broken_empty"):
            chart.evidence["broken_always"] = True
        chart.probe("dropout", lambda chart: randomness.dropout(chart, trial))
        chart.probe("precision", lambda chart: randomness.precision(chart, trial))
        # A fault of the program needs no training to be known, which would only confuse.
        course = TrainingCurve(params=case.params)
        if not settled(judge(chart.evidence)[0]):
            course = train(chart, trial, max(4.0, seconds - (time.monotonic() - started)))
    findings, abstained = judge(chart.evidence)
    steps = len(course.loss)
    enough = all(name in chart.evidence for name in ENOUGH) and steps >= min(MIN_STEPS, training.STEPS)
    # What goes on in a recurrence that could not be told from other arithmetic, nobody knows.
    enough = enough and not chart.evidence.get("unrolled")
    took = time.monotonic() - started
    return Report(enough and not findings, findings, abstained, chart.not_run, chart.evidence, case.notes, took, steps)


def train(chart: ProbeContext, trial: ShortTraining, seconds: float) -> TrainingCurve:
    """Runs the probes that train."""
    course = TrainingCurve(params=chart.case.params)

    def own(chart: ProbeContext) -> dict[str, Any]:
        nonlocal course
        course, found = training.train(chart, trial, seconds * 0.3)
        return found

    chart.probe("training", own)
    if course.loss:
        chart.probe("rates", lambda chart: training.rates(chart, trial, course, seconds * 0.3))
        chart.probe("one_batch", lambda chart: training.one_batch(chart, trial, seconds * 0.15))
        chart.probe("trained", lambda chart: training.trained(chart, course))
        chart.probe("optimizer", lambda chart: optimizer.dose(chart, trial, course))
        chart.probe("free_running", lambda chart: randomness.free(chart, trial, course.params))
        if chart.evidence.get("recurrence_steps", 0) >= LONG and not judge(chart.evidence)[0]:
            chart.probe("shorter", lambda chart: training.shorter(chart, seconds * 0.2))
    return course


def hopeless(slug: str, words: str, started: float) -> Report:
    """Reports a patient that cannot be examined."""
    change = words.rsplit(". ", 1)[-1]
    finding = Finding(slug, "error", 1.0, {"message": words}, {"change": change, "why": "without it nothing runs"}, [])
    return Report(False, [finding], [], {}, {}, [], time.monotonic() - started, 0)


@contextlib.contextmanager
def quiet() -> Iterator[None]:
    """Keeps what the patient's code warns of away from the report."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        yield
