"""Renders reports: styled lines for a terminal, and plain text."""

from collections.abc import Iterator

from rich.console import Console
from rich.padding import Padding
from rich.text import Text

from hae_jax.doctor.evidence import format_value
from hae_jax.doctor.report import Finding, Report
from hae_jax.doctor.sparkline import sparklines

WIDTH = 110
"""Columns of plain text."""
INDENT = 2
"""Indentation of the details of a finding."""


def lines(report: Report, sparkline: bool = True) -> Iterator[Text | Padding]:
    """Yields a report as styled lines.

    Args:
        report: what to render.
        sparkline: whether to draw the loss, which takes characters beyond ASCII.
    """
    duration = f"{report.seconds:.0f} s, {report.steps} steps of training"
    model = "" if report.kind == "unknown" else f" in this {report.kind}"
    if report.verdict == "healthy":
        yield Text(f"no cause found{model} ({duration})", style="bold green")
    elif report.verdict == "unknown":
        yield Text(f"no cause found{model}, but no verdict either ({duration})", style="bold yellow")
    for reason in report.unsettled:
        yield Text(f"unsettled: {reason}", style="yellow")
    for number, finding in enumerate(report.findings):
        yield from finding_lines(finding, "bold red" if number == 0 else "bold yellow")
    if report.repair is not None:
        yield Text(str(report.repair), style="bold green" if report.repair.healed else "bold yellow")
    if sparkline:
        yield from map(Text, sparklines(report.losses(), report.relative))
    for note in report.notes:
        yield Text(note, style="dim")
    if report.verdict == "healthy" and report.not_run:
        names = ", ".join(name.replace("_", " ") for name in report.not_run)
        yield Text(f"not examined: {names}; the JSON report has the reasons", style="dim")
        return
    for name, reason in report.not_run.items():
        yield Text(f"not examined, {name.replace('_', ' ')}: {reason}", style="dim")


def finding_lines(finding: Finding, style: str) -> Iterator[Text | Padding]:
    """Yields a finding as styled lines: cause, evidence, repair, and the causes it is distinguished from."""
    yield Text(f"{finding.cause}  {finding.confidence:.0%}", style=style)
    details = [Text(f"{name.replace('_', ' ')}: {format_value(value)}") for name, value in finding.evidence.items()]
    details.append(Text(f"repair: {finding.repair['change']}", style="green"))
    details.append(Text(f"because {finding.repair['why']}"))
    details += [Text(f"not {other['cause']}: {other['because']}", style="dim") for other in finding.instead_of]
    # Padding also indents wrapped lines.
    yield from (Padding(detail, (0, 0, 0, INDENT), expand=False) for detail in details)


def plain_text(report: Report) -> str:
    """Returns a report as plain text."""
    console = Console(width=WIDTH, no_color=True)
    with console.capture() as capture:
        console.print(report)
    return "\n".join(line.rstrip() for line in capture.get().splitlines())
