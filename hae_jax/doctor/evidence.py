"""Evidence: measured values by name, written for people and as JSON."""

import math
from typing import Any

Evidence = dict[str, Any]
"""Measured values by name."""


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


def to_json(value: Any) -> Any:
    """Converts evidence to JSON values; what is not finite becomes None.

    Example:
        >>> to_json({"a": float("nan"), "b": (1, True)})
        {'a': None, 'b': [1, True]}
    """
    if isinstance(value, dict):
        return {str(key): to_json(part) for key, part in value.items()}
    if isinstance(value, (list, tuple)):
        return [to_json(part) for part in value]
    if isinstance(value, bool | str) or value is None:
        return value
    if hasattr(value, "item"):
        value = value.item()
    return None if isinstance(value, float) and not math.isfinite(value) else value
