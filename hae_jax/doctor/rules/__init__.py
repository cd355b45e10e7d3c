"""The rules: causes, how the evidence identifies them, and their repairs."""

from dataclasses import replace

from hae_jax.doctor.evidence import Evidence, format_value
from hae_jax.doctor.report import Finding
from hae_jax.doctor.rules import repairs_keras, repairs_torch
from hae_jax.doctor.rules.code import CODE
from hae_jax.doctor.rules.data import DATA
from hae_jax.doctor.rules.optimisation import OPTIMISATION
from hae_jax.doctor.rules.program import PROGRAM
from hae_jax.doctor.rules.recurrence import RECURRENCE
from hae_jax.doctor.rules.rule import Rule
from hae_jax.doctor.rules.wiring import WIRING

RULES: tuple[Rule, ...] = (*PROGRAM, *WIRING, *DATA, *RECURRENCE, *OPTIMISATION, *CODE)
"""Every cause, once."""
NOT_FINITE_REPAIR = (
    "check logarithms, roots and quotients of 0; jax.config.update('jax_debug_nans', True) names the operation"
)
"""What to do about values that are not finite if no rule explains them."""
CHANGES = {rule.cause: rule.change for rule in RULES} | {"not-finite": NOT_FINITE_REPAIR}
"""The repair of every cause."""
ERROR = 3
"""Causes of a lower rank are faults of the program, the data or the loss; the others are unfortunate choices."""
QUOTED = 3
"""Number of values of the next finding that are quoted with the first one."""

FRAMEWORK_CHANGES = {"keras": repairs_keras.CHANGES, "torch": repairs_torch.CHANGES}
"""Repairs in the words of a framework, by the framework's name; what is missing there is worded as for JAX."""


def word_repairs(findings: list[Finding], framework: str) -> list[Finding]:
    """Returns findings with their repairs in the words of a framework."""
    changes = FRAMEWORK_CHANGES.get(framework, {})
    return [
        replace(each, repair=each.repair | {"change": changes.get(each.cause, each.repair["change"])})
        for each in findings
    ]


def settled(findings: list[Finding]) -> bool:
    """Returns whether the first finding is a fault of the program, which no training is needed to confirm."""
    return bool(findings) and findings[0].severity == "error" and findings[0].cause != "not-finite"


def judge(evidence: Evidence) -> tuple[list[Finding], list[str]]:
    """Applies all rules to the evidence.

    Returns:
        Findings, those nearest to the root first, and the causes whose rules abstained.
    """
    found: list[tuple[Rule, Finding]] = []
    abstained = []
    for rule in RULES:
        if not rule.applies(evidence):
            abstained.append(rule.cause)
            continue
        try:
            confidence = rule.confidence(evidence)
        except (KeyError, TypeError):
            # A value that was not measured, or is None.
            abstained.append(rule.cause)
            continue
        if confidence is not None:
            quoted = {name: evidence[name] for name in rule.evidence_keys if evidence.get(name) is not None}
            severity = "error" if rule.rank < ERROR else "warning"
            repair = {"change": rule.change, "why": rule.why}
            found.append((rule, Finding(rule.cause, severity, confidence, quoted, repair, [])))
    found.sort(key=lambda each: (each[0].rank, -each[1].confidence))
    findings = [replace(finding, instead_of=alternatives(found, at)) for at, (_, finding) in enumerate(found)]
    if not findings and (evidence.get("broken_batches") or evidence.get("trained_finite") is False):
        findings = [not_finite(evidence)]
    return findings, abstained


def alternatives(found: list[tuple[Rule, Finding]], at: int) -> list[dict[str, str]]:
    """Returns why a finding precedes the next one, and, by its rule, why causes that were not found are excluded."""
    causes = {finding.cause for _, finding in found}
    rule = found[at][0]
    excluded = [{"cause": cause, "because": why} for cause, why in rule.instead_of.items() if cause not in causes]
    if at + 1 == len(found):
        return excluded
    next_rule, second = found[at + 1]
    quoted = list(second.evidence.items())[:QUOTED]
    values = ", ".join(f"{name.replace('_', ' ')} {format_value(value)}" for name, value in quoted)
    reason = "it is further from the root and may follow from this" if next_rule.rank > rule.rank else "less certain"
    return [{"cause": second.cause, "because": f"also found ({values}), but {reason}"}, *excluded]


def not_finite(evidence: Evidence) -> Finding:
    """Returns the finding of a loss or gradient that is not finite, if no rule explains it."""
    quoted = {name: evidence.get(name) for name in ("broken_batches", "loss_finite", "steps")}
    repair = {"change": NOT_FINITE_REPAIR, "why": "one gradient with NaN makes all weights NaN"}
    return Finding("not-finite", "error", 0.9, quoted, repair, [])
