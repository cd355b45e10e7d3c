"""A model beside its healthy twin: the recipe of a preset, trained for as many steps on the same batches."""

import math
import time
from collections.abc import Callable
from dataclasses import dataclass, replace

from hae_jax.config import Config, differences
from hae_jax.doctor import Finding, Repair, Report, TrainingSetup
from hae_jax.doctor.evidence import Evidence
from hae_jax.doctor.inputs.fields import read_fields
from hae_jax.doctor.inputs.normalize import normalize
from hae_jax.doctor.probes.code import code
from hae_jax.doctor.probes.context import ProbeContext
from hae_jax.doctor.probes.short_training import ShortTraining
from hae_jax.doctor.rules import RULES

SIZES = ("kind", "attention", "embed_dim", "hidden_dim", "sentence_dim", "topic_dim", "layers", "dtype", "remat")
"""Fields of the model that both twins have; the other ones are the recipe."""
READ, NOT_READ = 0.2, 0.1
"""Increases of the loss by permuted codes, relative to it: from the first on a code is read, up to the second it is
not."""
CLOSED = 0.56
"""Forget gates below this keep less than a thousandth of a state over 12 steps."""
CONFIDENCE = 0.9
Untrained = Callable[[Config], TrainingSetup]
"""Returns the setup of a config with initial parameters."""


@dataclass(frozen=True)
class Trained:
    """A short training, and what the model then makes of its code.

    Attributes:
        loss: before each step.
        gap: increase of the negative log-likelihood by codes of other documents, in nats per token.
        nll: negative log-likelihood, in nats per token.
        finite: whether the training stayed finite.
    """

    loss: list[float]
    gap: float
    nll: float
    finite: bool

    @property
    def effect(self) -> float:
        """Code gap relative to the negative log-likelihood; 0 if training did not stay finite."""
        return abs(self.gap) / max(abs(self.nll), 1e-30) if self.finite else 0.0


def healthy_twin(config: Config, reference: Config) -> Config | None:
    """Returns a config of the same sizes and data, with the recipe and the optimizer of a preset that trains.

    Args:
        config: of the model.
        reference: the preset.

    Returns:
        The config; None if it would be the same, or if the recipe excludes these sizes.

    Example:
        >>> from hae_jax.config import preset
        >>> sick = replace(preset("tiny"), model=replace(preset("tiny").model, initializer="flax"))
        >>> healthy_twin(sick, preset("tiny")) == preset("tiny"), healthy_twin(preset("tiny"), preset("tiny"))
        (True, None)
    """
    try:
        model = replace(reference.model, **{name: getattr(config.model, name) for name in SIZES})
    except ValueError:
        return None
    twin = replace(config, model=model, optim=replace(reference.optim, accumulate=config.optim.accumulate))
    return None if twin == config else twin


def compare_twins(
    report: Report, config: Config, twin: Config, untrained: Untrained, *, retrain: bool, seconds: float | None = None
) -> Report:
    """Adds the finding that a code is not read after as many steps as suffice the healthy twin.

    Nothing is trained if the model reads its code, or something else was found. The finding's repair is tested thereby,
    and its outcome is part of the report.

    Args:
        report: of the model's examination.
        config: of the model.
        twin: config of the healthy twin.
        untrained: returns the setup of a config with initial parameters.
        retrain: trains the model anew, if its examination did not start from initial parameters.
        seconds: upper limit of the duration; None for no limit. If it is too short, the report remains as it is.
    """
    steps, e = report.steps, report.evidence
    if report.findings or not steps or not reads_too_little(e):
        return report
    deadline, started = None if seconds is None else time.monotonic() + seconds, time.monotonic()
    healthy = train(untrained(twin), steps, deadline)
    notes = [*report.notes, f"the healthy twin took {time.monotonic() - started:.0f} s for {steps} steps"]
    if healthy is None or healthy.effect < READ:
        return report
    sick: Trained | None = None
    if retrain:
        sick = train(untrained(config), steps, deadline)
    elif e.get("last_code_permuted") is not None or not e["trained_finite"]:
        gap, nll = (e.get(f"last_code_{name}", math.nan) for name in ("permuted", "loss"))
        sick = Trained(e["curve"], gap, nll, e["trained_finite"])
    if sick is None or sick.effect > min(NOT_READ, healthy.effect / 10):
        return report
    cause, change = cause_of(e, config, twin), changes(config, twin)
    evidence = {
        "steps_of_each": steps,
        "code_gap": sick.gap,
        "code_gap_of_healthy_twin": healthy.gap,
        "nll_per_token": sick.nll,
        "nll_per_token_of_healthy_twin": healthy.nll,
    }
    (rule,) = (rule for rule in RULES if rule.cause == cause)
    why = f"with this change the code is read after as many steps on the same batches; {rule.why}"
    finding = Finding(cause, "warning", CONFIDENCE, evidence, {"change": change, "why": why}, [])
    left = {"sick": sick.loss[-1] / sick.loss[0], "repaired": healthy.loss[-1] / sick.loss[0]}
    losses = {"sick": sick.loss, "repaired": healthy.loss}
    outcome = Repair(cause, change, True, left, losses, steps, relative=False)
    duration = report.seconds + time.monotonic() - started
    return replace(report, findings=[finding], repair=outcome, notes=notes, seconds=duration)


def reads_too_little(evidence: Evidence) -> bool:
    """Returns whether the loss of the examined model hardly depends on its code, or whether that was not measured."""
    gap, loss = evidence.get("last_code_permuted"), evidence.get("last_code_loss")
    return gap is None or loss is None or not abs(gap) > NOT_READ * abs(loss)


def train(setup: TrainingSetup, steps: int, deadline: float | None) -> Trained | None:
    """Trains a model, and measures its code gap; returns None if the deadline is too early."""
    normalized = normalize(setup)
    trainer = ShortTraining(normalized, deadline)
    curve = trainer.run(normalized.batches, steps)
    if trainer.cut:
        return None
    found = code(ProbeContext(normalized, read_fields(normalized), trainer), curve.params)
    gap, nll = found["code_permuted"], found["code_loss"]
    return Trained(curve.loss, gap, nll, curve.finite)


def cause_of(evidence: Evidence, config: Config, twin: Config) -> str:
    """Returns why a code is not read: by the optimizer where only that differs, else by the gates."""
    if config.model == twin.model:
        rate, healthy = config.optim.learning_rate, twin.optim.learning_rate
        if rate != healthy:
            return "learning-rate-too-high" if rate > healthy else "learning-rate-too-low"
        return "clip-too-tight" if config.optim.clip != twin.optim.clip else "code-ignored"
    return "forget-gate-closed" if evidence.get("forget_least", 1.0) < CLOSED else "code-ignored"


def changes(config: Config, twin: Config) -> str:
    """Returns in which fields of the recipe a twin differs, for people.

    Example:
        >>> from hae_jax.config import preset
        >>> changes(preset("tiny"), replace(preset("tiny"), optim=replace(preset("tiny").optim, eps=1e-6)))
        'optim.eps 1e-08 -> 1e-06'
    """

    def value(config: Config, name: str) -> object:
        section, field = name.split(".")
        return getattr(getattr(config, section), field)

    return ", ".join(f"{name} {value(config, name)} -> {value(twin, name)}" for name in differences(config, twin))
