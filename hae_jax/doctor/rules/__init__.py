"""All that the doctor knows: causes, how they are known, and how they are healed."""

from dataclasses import replace

from hae_jax.doctor.report import Evidence, Finding, Rule, format_value
from hae_jax.doctor.rules.code import CODE
from hae_jax.doctor.rules.data import DATA
from hae_jax.doctor.rules.optimisation import OPTIMISATION
from hae_jax.doctor.rules.recurrence import RECURRENCE
from hae_jax.doctor.rules.wiring import WIRING

RULES: tuple[Rule, ...] = (*WIRING, *DATA, *RECURRENCE, *OPTIMISATION, *CODE)
"""Every cause, once."""
BROKEN = "look for logarithms, roots and quotients of 0; jax.config.update('jax_debug_nans', True) names the line"
"""What to do about numbers that are none, where nobody knows why."""
CHANGES = {rule.cause: rule.change for rule in RULES} | {"not-finite": BROKEN}
"""The repair of every cause."""
ERROR = 3
"""Ranks below are faults of a program, the others unfortunate choices."""


QUOTED = 3
"""Numbers of the next candidate that are told beside the first one."""


def settled(findings: list[Finding]) -> bool:
    """Says whether the first finding is a fault of the program, next to which what training may show is small."""
    return bool(findings) and findings[0].severity == "error" and findings[0].cause != "not-finite"


def judge(evidence: Evidence) -> tuple[list[Finding], list[str]]:
    """Holds the evidence against all rules.

    Returns:
        What was found, nearest to the root first, and the causes that nothing can be said about.
    """
    found: list[tuple[int, float, Finding]] = []
    abstained = []
    for rule in RULES:
        try:
            sure = rule.confidence(evidence)
        except (KeyError, TypeError):
            # A number that is not there, or is None.
            abstained.append(rule.cause)
            continue
        if sure is not None:
            shown = {name: evidence[name] for name in rule.shows if evidence.get(name) is not None}
            repair = {"change": rule.change, "why": rule.why}
            severity = "error" if rule.rank < ERROR else "warning"
            found.append((rule.rank, -sure, Finding(rule.cause, severity, sure, shown, repair, [])))
    found.sort(key=lambda each: each[:2])
    findings = [replace(finding, instead_of=neighbours(found, at)) for at, (_, _, finding) in enumerate(found)]
    return findings or ([broken(evidence)] if evidence.get("broken_batches") else []), abstained


def neighbours(found: list[tuple[int, float, Finding]], at: int) -> list[dict[str, str]]:
    """Says why not another cause: of the next one that was found, by what went before; of others, by the rule."""
    causes = {finding.cause for _, _, finding in found}
    rank, _, finding = found[at]
    rule = next(rule for rule in RULES if rule.cause == finding.cause)
    others = [{"cause": cause, "because": why} for cause, why in rule.instead_of.items() if cause not in causes]
    if at + 1 == len(found):
        return others
    lower, _, second = found[at + 1]
    first = list(second.evidence.items())[:QUOTED]
    numbers = ", ".join(f"{name.replace('_', ' ')} {format_value(value)}" for name, value in first)
    weaker = "it is further from the root, and may follow from this" if lower > rank else "it is less sure"
    return [{"cause": second.cause, "because": f"found as well ({numbers}), but {weaker}"}, *others]


def broken(evidence: Evidence) -> Finding:
    """Reports a loss or gradient that is not finite, for which no rule has a reason."""
    where = {name: evidence.get(name) for name in ("broken_batches", "loss_finite")}
    return Finding("not-finite", "error", 0.9, where, {"change": BROKEN, "why": "nothing can be learned from NaN"}, [])
