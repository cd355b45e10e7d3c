"""Conditions that a config must meet, and the messages of their errors."""

import difflib
import math
from typing import get_args, get_type_hints


def require(condition: bool, argument: str, must: str, got: object, repair: str) -> None:
    """Raises `ValueError("<argument> must <condition>, got <value>. <repair>")` unless the condition holds."""
    if not condition:
        raise ValueError(f"{argument} must {must}, got {got}. {repair}")


MAX_SIZE = 2**31 - 1
"""The largest size that an array's axis can have everywhere."""


def require_positive(config: object, section: str, *names: str, most: int = MAX_SIZE) -> None:
    """Requires fields of a config to be at least 1, and at most the size of an axis."""
    for name in names:
        got = getattr(config, name)
        require(got >= 1, f"{section}.{name}", "be at least 1", got, "Use a positive whole number.")
        require(got <= most, f"{section}.{name}", f"be at most {most:,}", f"{got:,}", "Use a smaller number.")


def require_finite(config: object, section: str, *names: str) -> None:
    """Requires fields of a config to be neither infinite nor NaN."""
    for name in names:
        got = getattr(config, name)
        require(got is None or math.isfinite(got), f"{section}.{name}", "be finite", got, "Use an ordinary number.")


def require_choice(config: object, section: str) -> None:
    """Requires fields typed `Literal` to have one of its values; the most similar one is suggested."""
    for name, kind in get_type_hints(type(config)).items():
        got, known = getattr(config, name), get_args(kind)
        if isinstance(got, str) and known and got not in known:
            near = difflib.get_close_matches(str(got), known, 1)
            hint = f"Did you mean {near[0]!r}?" if near else "Choose one of them."
            raise ValueError(f"{section}.{name} must be one of {', '.join(known)}, got {got!r}. {hint}")


def require_rate(config: object, section: str, *names: str) -> None:
    """Requires fields of a config to lie in [0, 1)."""
    for name in names:
        got = getattr(config, name)
        require(0 <= got < 1, f"{section}.{name}", "lie in [0, 1)", got, "Use 0 to turn it off.")
