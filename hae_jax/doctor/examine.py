"""The examination: all probes, the cheapest first, then the rules."""

import contextlib
import time
import warnings
from collections.abc import Callable, Iterator
from typing import Any

from hae_jax.doctor.evidence import Evidence
from hae_jax.doctor.frameworks import to_setup
from hae_jax.doctor.inputs.fields import read_fields
from hae_jax.doctor.inputs.normalize import normalize
from hae_jax.doctor.inputs.setup import SetupError, TrainingSetup, format_error, parse
from hae_jax.doctor.kind import find_kind
from hae_jax.doctor.probes import (
    code,
    data,
    defects,
    form,
    gates,
    initial_loss,
    leakage,
    optimizer,
    padding,
    randomness,
    recurrence,
    training,
)
from hae_jax.doctor.probes.context import ProbeContext
from hae_jax.doctor.probes.short_training import ShortTraining
from hae_jax.doctor.report import Finding, Report
from hae_jax.doctor.rules import judge, settled, word_repairs
from hae_jax.doctor.tracing.traced_loss import trace_loss

Probe = Callable[[ProbeContext], Evidence]
Progress = Callable[[str, float], None]
"""Called with the name of a probe, and the share of the examination that is done before it."""
BEFORE_TRAINING: dict[str, Probe] = {
    "contents": data.contents,
    "order": data.order,
    "pairing": data.pairing,
    "wiring": initial_loss.wiring,
    "form": form.form,
    "defects": defects.static,
    "start": initial_loss.start,
    "scale": initial_loss.scale,
    "direction": initial_loss.direction,
    "weights": initial_loss.weights,
    "inputs": initial_loss.inputs,
    "states": recurrence.states,
    "gradients": recurrence.gradients,
    "code": code.initial_code,
    "penalty": code.penalty,
    "mixed": leakage.mixed,
    "causal": leakage.causal,
    "padding": padding.noise,
    "longer": padding.longer,
    "blank": padding.blank,
    "finite": randomness.finite,
    "overflow": defects.overflow,
    "dropout": randomness.dropout,
    "precision": randomness.precision,
}
"""Probes that need no step of training."""
TRAINING: dict[str, Probe] = {
    "training": training.train,
    "overflow_in_training": defects.overflow_in_training,
    "rates": training.rates,
    "restarted": training.restarted,
    "one_batch": training.one_batch,
    "trained": training.trained,
    "open_gates": gates.opened,
    "optimizer": optimizer.response,
    "free_running": randomness.free_running,
}
"""Probes that train, or examine the trained model."""
TRAINING_SHARES = {
    "training": 10,
    "overflow_in_training": 1,
    "rates": 8,
    "restarted": 1,
    "one_batch": 6,
    "trained": 2,
    "open_gates": 1,
    "optimizer": 2,
    "free_running": 1,
}
"""Approximate durations of those, relative to that of a probe that does not train."""
LONG = 60
"""Least number of steps of a recurrence for which training on shorter sequences is tried."""
REQUIRED_EVIDENCE = ("loss_first", "loss_last")
"""Evidence without which no setup is reported as healthy."""


def examine(*given: Any, seconds: float | None = None, progress: Progress | None = None, **parts: Any) -> Report:
    """Finds out why a model does not train.

    The examination takes a fixed number of training steps, so that its verdict does not depend on the machine.

    Args:
        given: a `TrainingSetup`, or anything with `loss`, `params`, `batches` and `optimizer`, by attribute or by key;
            or a model of Keras, PyTorch, Flax NNX or Equinox, followed by what `hae_jax.doctor.frameworks` takes.
        seconds: upper limit of the duration, compilation aside; None for no limit. An examination that it cuts short
            has the verdict "unknown" unless there are findings.
        progress: called with the name of each probe before it runs, and the share of the examination that is done.
        parts: the parts of a setup by name, if nothing else is given; or further arguments for a model.

    Returns:
        The report. A setup that does not work is reported, too; nothing is raised.

    Example:
        >>> import jax.numpy as jnp, optax
        >>> def loss(params, batch): return 1 / 0
        >>> report = examine({"loss": loss, "params": jnp.ones(3), "batches": [jnp.ones((2, 3))]})
        >>> report.findings[0].cause, report.verdict, report.exit_code
        ('loss-fails', 'findings', 1)
    """
    started = time.monotonic()
    with no_warnings():
        try:
            normalized = normalize(read(*given, **parts))
            deadline = None if seconds is None else started + seconds
            context = ProbeContext(normalized, read_fields(normalized), ShortTraining(normalized, deadline))
        except SetupError as error:
            return failed(error.slug, str(error), started)
        except Exception as error:
            # Attributes of the user's object that raise when they are read.
            message = f"setup must be readable, got {format_error(error)}. Give a dict of its parts."
            return failed("patient-fails", message, started)
        probe_all(context, progress or (lambda name, share: None))
        notes = [*normalized.notes, *data.vocabulary_note(context)]
    evidence, steps = context.evidence, len(context.curve.loss)
    findings, abstained = judge(evidence)
    return Report(
        word_repairs(findings, normalized.original.framework), abstained, context.not_run, evidence, notes,
        time.monotonic() - started, steps, evidence.get("kind", "unknown"), reasons(context, findings, seconds),
    )  # fmt: skip


def read(*given: Any, **parts: Any) -> TrainingSetup:
    """Makes a setup of what `examine` is given.

    Raises:
        SetupError: if that is not possible.
    """
    if len(given) == 1 and not parts:
        return parse(given[0])
    return to_setup(*given, **parts) if given else parse(parts)


def probe_all(context: ProbeContext, progress: Progress) -> None:
    """Runs all probes, and measures the evidence of the context."""
    count, done = len(BEFORE_TRAINING) + sum(TRAINING_SHARES.values()), 0
    context.curve.params = context.setup.params
    context.evidence["examples"] = context.fields.batch_size

    def run(name: str, probe: Probe) -> None:
        nonlocal done
        progress(name.replace("_", " "), done / count)
        context.run(name, probe)
        done += TRAINING_SHARES.get(name, 1)

    try:
        context.traced_loss = trace_loss(context.setup, context.fields.batch_size)
    except Exception as error:
        # Probes that train can run without the traced loss.
        context.raised["tracing"] = format_error(error, 160)
    for name, probe in BEFORE_TRAINING.items():
        run(name, probe)
    context.evidence["kind"] = find_kind(context.evidence)
    # Faults of the program are certain without training, which they would only distort.
    if settled(judge(context.evidence)[0]):
        return
    for name, probe in TRAINING.items():
        run(name, probe)
    if context.evidence.get("recurrence_steps", 0) >= LONG and not judge(context.evidence)[0]:
        run("shorter", training.shorter)


def reasons(context: ProbeContext, findings: list[Finding], seconds: float | None) -> list[str]:
    """Returns why the absence of findings would be no verdict; empty if the evidence is complete."""
    found = [f"the probe `{name.replace('_', ' ')}` failed ({error})" for name, error in context.raised.items()]
    if context.trainer.cut:
        steps = len(context.curve.loss)
        found.append(f"stopped after {seconds:g} s, {steps} of {training.STEPS} training steps; it takes more time")
    elif not findings and any(name not in context.evidence for name in REQUIRED_EVIDENCE):
        found.append("the model was not trained")
    if context.traced_loss is not None and context.traced.roles.output is None:
        found.append("neither logits nor predictions were found in the loss")
    if context.evidence.get("unrolled"):
        found.append("Python unrolled the recurrence, which was not examined")
    return found


def failed(slug: str, message: str, started: float) -> Report:
    """Returns the report of a setup that cannot be examined."""
    repair = {"change": message.rsplit(". ", 1)[-1], "why": "nothing can be examined without it"}
    finding = Finding(slug, "error", 1.0, {"message": message}, repair, [])
    return Report([finding], [], {}, {}, [], time.monotonic() - started, 0)


@contextlib.contextmanager
def no_warnings() -> Iterator[None]:
    """Suppresses warnings of the user's code."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        yield
