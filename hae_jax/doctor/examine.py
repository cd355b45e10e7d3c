"""The examination: all probes, the cheapest first, then the rules."""

import contextlib
import time
import warnings
from collections.abc import Iterator
from functools import partial
from typing import Any

from hae_jax.doctor.inputs.fields import read_fields
from hae_jax.doctor.inputs.normalize import normalize
from hae_jax.doctor.inputs.setup import SetupError, format_error, parse
from hae_jax.doctor.probes import (
    code,
    data,
    initial_loss,
    leakage,
    optimizer,
    padding,
    randomness,
    recurrence,
    training,
)
from hae_jax.doctor.probes.context import ProbeContext
from hae_jax.doctor.probes.short_training import MIN_STEPS, ShortTraining
from hae_jax.doctor.report import Finding, Report
from hae_jax.doctor.rules import judge, settled
from hae_jax.doctor.tracing.traced_loss import trace_loss

SECONDS = 60.0
"""Approximate duration of an examination; trainings share what the other probes leave."""
MIN_TRAINING_SECONDS = 4.0
BEFORE_TRAINING = {
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
    "code": code.initial_code,
    "mixed": leakage.mixed,
    "causal": leakage.causal,
    "padding": padding.noise,
    "longer": padding.longer,
    "blank": padding.blank,
    "finite": randomness.finite,
    "dropout": randomness.dropout,
    "precision": randomness.precision,
}
"""Probes that need no step of training."""
LONG = 60
"""Least number of steps of a recurrence for which training on shorter sequences is tried."""
REQUIRED_EVIDENCE = ("loss_first", "loss_last")
"""Evidence without which no setup is reported as healthy."""


def examine(setup: Any, seconds: float = SECONDS) -> Report:
    """Finds out why a model does not train.

    Args:
        setup: a `TrainingSetup`, or anything with `loss`, `params`, `batches` and `optimizer`, by attribute or by key.
        seconds: approximate duration; compilation may take longer.

    Returns:
        The report. A setup that does not work is reported, too; nothing is raised.

    Example:
        >>> import jax.numpy as jnp, optax
        >>> def loss(params, batch): return 1 / 0
        >>> report = examine({"loss": loss, "params": jnp.ones(3), "batches": [jnp.ones((2, 3))]})
        >>> report.findings[0].cause
        'loss-fails'
    """
    started = time.monotonic()
    with no_warnings():
        try:
            normalized = normalize(parse(setup))
            context = ProbeContext(normalized, read_fields(normalized), ShortTraining(normalized))
        except SetupError as error:
            return failed(error.slug, str(error), started)
        except Exception as error:
            # Attributes of the user's object that raise when they are read.
            message = f"setup must be readable, got {format_error(error)}. Give a dict of its parts."
            return failed("patient-fails", message, started)
        context.curve.params = normalized.params
        context.evidence["examples"] = context.fields.batch_size
        try:
            context.traced_loss = trace_loss(normalized, context.fields.batch_size)
        except Exception as error:
            # Probes that train can run without the traced loss.
            context.not_run["tracing"] = format_error(error, 160)
        for name, probe in BEFORE_TRAINING.items():
            context.run(name, probe)
        # Faults of the program are certain without training, which they would only distort.
        if not settled(judge(context.evidence)[0]):
            train(context, max(MIN_TRAINING_SECONDS, seconds - (time.monotonic() - started)))
        notes = [*normalized.notes, *data.vocabulary_note(context)]
    evidence, steps = context.evidence, len(context.curve.loss)
    findings, abstained = judge(evidence)
    sufficient = (
        all(name in evidence for name in REQUIRED_EVIDENCE)
        and steps >= min(MIN_STEPS, training.STEPS)
        # A recurrence that Python unrolled has not been examined.
        and not evidence.get("unrolled")
    )
    healthy, duration = sufficient and not findings, time.monotonic() - started
    return Report(healthy, findings, abstained, context.not_run, evidence, notes, duration, steps)


def train(context: ProbeContext, seconds: float) -> None:
    """Trains at the user's own learning rate, and runs the probes that train or need a trained model."""
    try:
        context.curve = context.trainer.run(context.setup.batches, training.STEPS, seconds=0.3 * seconds)
    except Exception as error:
        context.not_run["training"] = format_error(error, 160)
        return
    context.run("training", training.train)
    context.run("rates", partial(training.rates, seconds=0.3 * seconds))
    context.run("one_batch", partial(training.one_batch, seconds=0.15 * seconds))
    context.run("trained", training.trained)
    context.run("optimizer", optimizer.response)
    context.run("free_running", randomness.free_running)
    if context.evidence.get("recurrence_steps", 0) >= LONG and not judge(context.evidence)[0]:
        context.run("shorter", partial(training.shorter, seconds=0.2 * seconds))


def failed(slug: str, message: str, started: float) -> Report:
    """Returns the report of a setup that cannot be examined."""
    repair = {"change": message.rsplit(". ", 1)[-1], "why": "nothing can be examined without it"}
    finding = Finding(slug, "error", 1.0, {"message": message}, repair, [])
    return Report(False, [finding], [], {}, {}, [], time.monotonic() - started, 0)


@contextlib.contextmanager
def no_warnings() -> Iterator[None]:
    """Suppresses warnings of the user's code."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        yield
