"""Markdown tables of timed contenders."""

from typing import Any

from benchmarks.harness.record import Record


def render(records: list[Record]) -> str:
    """Renders a row per contender: time relative to the first one, compile time, memory; seconds on a GPU only."""
    absolute = any(record["device"]["platform"] != "cpu" for record in records)
    head = "| | | time, ours = 1 | 95 % interval | seconds to compile | peak memory, MB |"
    lines = [head + (" ms |" if absolute else ""), "|---" * (head.count("|") - 1 + absolute) + "|"]
    for record in records:
        for index, row in enumerate(record["numbers"]["rows"]):
            lines.append(
                f"| {'' if index else record['cell']} | {row['name']} | {row['ratio']:.2f} | {format_interval(row)} "
                f"| {format_amount(row['compile_seconds'], '.1f')} | {format_amount(row['memory'], ',.0f', 1e6)} |"
                + (f" {1000 * row['seconds']:.2f} |" if absolute else "")
            )
    skipped = {name: None for record in records for name in record["numbers"].get("skipped", ())}
    return "\n".join(
        lines + (["", f"Not installed for this device, hence left out: {', '.join(skipped)}."] if skipped else [])
    )


def format_interval(row: dict[str, Any]) -> str:
    """Formats the interval of a row's ratio."""
    low, high = row["interval"]
    return f"{low:.2f}-{high:.2f}"


def format_amount(value: float | None, form: str, unit: float = 1.0) -> str:
    """Formats a number in units, None as a dash.

    Example:
        >>> format_amount(2.5e6, ",.1f", 1e6), format_amount(None, ".0f")
        ('2.5', '-')
    """
    return "-" if value is None else format(value / unit, form)
