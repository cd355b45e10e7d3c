"""The report of an examination: findings, what could not be examined, and the outcome of a repair."""

from dataclasses import dataclass, field
from typing import Any, Literal

from hae_jax.doctor.evidence import Evidence, to_json

EXIT_CODES = {"healthy": 0, "findings": 1, "unknown": 3}
"""Exit codes by verdict; 2 is that of a command that was called wrongly."""


@dataclass(frozen=True)
class Finding:
    """A cause that was found.

    Attributes:
        cause: its slug.
        severity: "error" for a fault of the program or the data, "warning" for an unfortunate choice.
        confidence: between 0 and 1.
        evidence: the measured values that support it.
        repair: what to `change`, and `why`.
        instead_of: causes with similar symptoms, each with the evidence against it.
    """

    cause: str
    severity: str
    confidence: float
    evidence: Evidence
    repair: dict[str, str]
    instead_of: list[dict[str, str]]


@dataclass(frozen=True)
class Repair:
    """The outcome of a repair that was tried.

    Attributes:
        cause: the cause that was repaired.
        change: what was changed; empty if only the user's program could be.
        healed: whether the repaired run loses a clearly larger share of its loss in as many steps.
        left: share of the first loss that is left, of the `sick` (unchanged) and the `repaired` run.
        losses: the loss curves of both.
        steps: number of steps of each.
        rate: factor by which the repaired run's learning rate was tuned; 1 if it was not.
        config: path of the changed config, if one was written.
        relative: whether the repair may change the scale of the loss, so that curves are drawn relative to their first
            values.
    """

    cause: str
    change: str
    healed: bool
    left: dict[str, float]
    losses: dict[str, list[float]]
    steps: int
    rate: float = 1.0
    config: str | None = None
    relative: bool = True

    def __str__(self) -> str:
        """Returns the outcome as one line of text."""
        if not self.change:
            return f"repair not tried: {self.cause} is a fault of the program, which cannot be changed from outside"
        tuned = f", learning rate tuned by a factor of {self.rate:.3g}" if self.rate != 1 else ""
        verdict = "healed" if self.healed else "no better than without"
        shares = ", ".join(f"{name} {share:.0%}" for name, share in self.left.items())
        config = f"; new config in {self.config}" if self.config else ""
        return f"repair tried: {self.change}{tuned}: {verdict} (loss left after {self.steps} steps: {shares}){config}"


@dataclass(frozen=True)
class Report:
    """The verdict on a training setup.

    Attributes:
        findings: causes, the most likely root first.
        abstained: causes that could not be judged for lack of evidence.
        not_run: probes that could not run, and why.
        evidence: all measured values.
        notes: further remarks.
        seconds: duration of the examination.
        steps: number of training steps taken on the user's batches at the user's learning rate.
        kind: what kind of model it is, one of `hae_jax.doctor.kind.KINDS`.
        unsettled: why the absence of findings is no verdict: probes that raised an error, an examination that was cut
            short, evidence that is missing. Empty if the evidence is complete.
        repair: outcome of the first finding's repair, if one was requested.
    """

    findings: list[Finding]
    abstained: list[str]
    not_run: dict[str, str]
    evidence: Evidence
    notes: list[str]
    seconds: float
    steps: int
    kind: str = "unknown"
    unsettled: list[str] = field(default_factory=list)
    repair: Repair | None = None

    @property
    def verdict(self) -> Literal["healthy", "findings", "unknown"]:
        """Whether there are findings, and if there are none, whether the evidence suffices for health."""
        if self.findings:
            return "findings"
        return "unknown" if self.unsettled else "healthy"

    @property
    def healthy(self) -> bool:
        """Whether nothing was found, and the evidence suffices to conclude that."""
        return self.verdict == "healthy"

    @property
    def exit_code(self) -> int:
        """The exit code of a command that reports the verdict: 0 healthy, 1 findings, 3 unknown."""
        return EXIT_CODES[self.verdict]

    @property
    def relative(self) -> bool:
        """Whether `losses` are to be drawn relative to their first values."""
        return self.repair is None or self.repair.relative

    def losses(self) -> dict[str, list[float]]:
        """Returns the loss curves of both runs if a repair was tried, else that of the examination's own training."""
        if self.repair is not None and self.repair.losses:
            return self.repair.losses
        return {"loss": self.evidence["curve"]} if self.evidence.get("curve") else {}

    def to_dict(self) -> dict[str, Any]:
        """Returns the report as JSON values; what is not finite is None."""
        findings = [vars(each) | {"confidence": round(each.confidence, 3)} for each in self.findings]
        return to_json(
            {
                "verdict": self.verdict,
                "healthy": self.healthy,
                "kind": self.kind,
                "findings": findings,
                "evidence": self.evidence,
                "seconds": round(self.seconds, 1),
                "steps": self.steps,
                "unsettled": self.unsettled,
                "abstained": self.abstained,
                "not_run": self.not_run,
                "notes": self.notes,
                **({} if self.repair is None else {"repair": vars(self.repair)}),
            }
        )

    def __rich_console__(self, console: Any, options: Any) -> Any:
        """Yields the report as styled lines of text."""
        from hae_jax.doctor.console import lines

        yield from lines(self, sparkline=not options.ascii_only)

    def __str__(self) -> str:
        """Returns the report as plain text."""
        from hae_jax.doctor.console import plain_text

        return plain_text(self)
