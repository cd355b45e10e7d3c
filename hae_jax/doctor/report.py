"""What the doctor says: findings, and the report that holds them."""

import math
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

from hae_jax.doctor.sparkline import sparklines

Evidence = dict[str, Any]


@dataclass(frozen=True)
class Rule:
    """A cause, and how it is known.

    Attributes:
        cause: its slug.
        rank: how near to the root it lies: what is wrong exactly, 0, explains what is so on average.
        confidence: returns how sure the evidence makes, or None where it speaks against the cause; what it looks up and
            does not find makes the rule abstain.
        shows: names of the evidence that is quoted.
        sees: what its victims see.
        change: the repair.
        why: why that helps.
        instead_of: causes that look alike, with what tells them apart.
        seen_at: where people met it.
    """

    cause: str
    rank: int
    confidence: Callable[[Evidence], float | None]
    shows: tuple[str, ...]
    sees: str
    change: str
    why: str
    instead_of: dict[str, str] = field(default_factory=dict)
    seen_at: str = ""


@dataclass(frozen=True)
class Finding:
    """A cause that was found.

    Attributes:
        cause: its slug.
        severity: "error" where a part of the program is wrong, "warning" where a choice is unfortunate.
        confidence: between 0 and 1.
        evidence: the numbers that speak for it.
        repair: what to `change`, and `why`.
        instead_of: causes that look alike, each with what speaks against it.
    """

    cause: str
    severity: str
    confidence: float
    evidence: Evidence
    repair: dict[str, str]
    instead_of: list[dict[str, str]]


@dataclass(frozen=True)
class Repair:
    """What came of a repair that was tried.

    Attributes:
        cause: what was to be healed.
        change: what was changed; empty where nothing could be, without the user's program.
        healed: whether the repaired twin learns, and clearly more than the sick one in as many steps.
        left: which share of its first loss each of them has left, `sick` and `repaired`.
        losses: the curves of both.
        steps: of each.
        rate: the repaired twin's rate suited it best times this; 1 where rates were not looked for.
        config: where the changed config was written, if there is one.
    """

    cause: str
    change: str
    healed: bool
    left: dict[str, float]
    losses: dict[str, list[float]]
    steps: int
    rate: float = 1.0
    config: str | None = None

    def __str__(self) -> str:
        """Says it to people."""
        if not self.change:
            return f"repair not tried: {self.cause} is in your program, which only you can change"
        shares = ", ".join(f"{name} {share:.0%}" for name, share in self.left.items())
        verdict = "healed" if self.healed else "no better than without"
        where = f"; new config in {self.config}" if self.config else ""
        rate = f", then the rate times {self.rate:.3g}, which suits it best" if self.rate != 1 else ""
        tried = f"repair tried: {self.change}{rate}: {verdict}"
        return f"{tried} (left of the loss after {self.steps} steps: {shares}){where}"


@dataclass(frozen=True)
class Report:
    """The verdict on a patient.

    Attributes:
        healthy: whether nothing was found, and enough was looked at to say so.
        findings: causes, the likeliest root first.
        abstained: causes that nothing can be said about, for lack of evidence.
        not_run: probes that could not be run, and why.
        evidence: all that was measured.
        notes: what else was noticed.
        seconds: how long it took.
        steps: training steps that were taken on the patient's own batches at its own rate.
        repair: what came of the first finding's repair, where it was asked for.
    """

    healthy: bool
    findings: list[Finding]
    abstained: list[str]
    not_run: dict[str, str]
    evidence: Evidence
    notes: list[str]
    seconds: float
    steps: int
    repair: Repair | None = None

    def losses(self) -> dict[str, list[float]]:
        """Returns the losses of twins where a repair was tried, otherwise those of the training, if there was any."""
        if self.repair is not None and self.repair.losses:
            return self.repair.losses
        return {"loss": self.evidence["curve"]} if self.evidence.get("curve") else {}

    def to_dict(self) -> dict[str, Any]:
        """Returns the report as JSON values; what is not a number is None."""
        found = [vars(each) | {"confidence": round(each.confidence, 3)} for each in self.findings]
        return plain(
            {
                "healthy": self.healthy,
                "findings": found,
                "seconds": round(self.seconds, 1),
                "steps": self.steps,
                "abstained": self.abstained,
                "not_run": self.not_run,
                "notes": self.notes,
                **({} if self.repair is None else {"repair": vars(self.repair)}),
            }
        )

    def __rich_console__(self, console: Any, options: Any) -> Any:
        """Shows the report to people."""
        from rich.text import Text

        took = f"{self.seconds:.0f} s, {self.steps} steps of training"
        if self.healthy:
            yield Text(f"nothing was found ({took})", style="bold green")
        elif not self.findings:
            yield Text(f"no verdict: too little could be looked at ({took})", style="bold yellow")
        for number, each in enumerate(self.findings):
            yield Text(f"{each.cause}  {each.confidence:.0%}", style="bold red" if number == 0 else "bold yellow")
            for name, value in each.evidence.items():
                yield Text(f"  {name.replace('_', ' ')}: {format_value(value)}")
            yield Text(f"  repair: {each.repair['change']}", style="green")
            yield Text(f"  because {each.repair['why']}")
            for other in each.instead_of:
                yield Text(f"  not {other['cause']}: {other['because']}", style="dim")
        if self.repair is not None:
            yield Text(str(self.repair), style="bold green" if self.repair.healed else "bold yellow")
        if not options.ascii_only:
            yield from map(Text, sparklines(self.losses()))
        for note in self.notes:
            yield Text(note, style="dim")
        for name, why in self.not_run.items():
            yield Text(f"could not look at {name.replace('_', ' ')}: {why}", style="dim")

    def __str__(self) -> str:
        """Returns the same as plain text."""
        from rich.console import Console

        console = Console(width=110, no_color=True)
        with console.capture() as capture:
            console.print(self)
        return capture.get()


def format_value(value: Any) -> str:
    """Writes a value for people.

    Example:
        >>> format_value(0.123456), format_value({"encoder": 0.5}), format_value(["a", "b"]), format_value(True)
        ('0.123', 'encoder 0.5', 'a, b', 'yes')
    """
    if isinstance(value, bool):
        return "yes" if value else "no"
    if isinstance(value, float):
        return f"{value:.3g}"
    if isinstance(value, dict):
        return ", ".join(f"{name} {format_value(part)}" for name, part in value.items())
    if isinstance(value, list):
        return ", ".join(map(format_value, value))
    return "-" if value is None else str(value)


def plain(value: Any) -> Any:
    """Makes JSON values of whatever evidence holds.

    Example:
        >>> plain({"a": float("nan"), "b": (1, True)})
        {'a': None, 'b': [1, True]}
    """
    if isinstance(value, dict):
        return {str(key): plain(part) for key, part in value.items()}
    if isinstance(value, (list, tuple)):
        return [plain(part) for part in value]
    if isinstance(value, bool | str) or value is None:
        return value
    if hasattr(value, "item"):
        value = value.item()
    return None if isinstance(value, float) and not math.isfinite(value) else value
