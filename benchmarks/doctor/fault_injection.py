"""Fault injection: every fault in every style that can have it, and healthy models of many sizes.

The number of a variant determines its sizes, seed and severity. Thresholds were set on even numbers and corrected on
the first odd ones; reported results are those of later ones.
"""

import importlib
from typing import Any

import numpy as np

from benchmarks.doctor.models.spec import Spec

STYLES = ("plain", "linen", "hierarchy", "series", "module")
"""Modules of `benchmarks.doctor.models`, one for each style."""


def faults(style: str) -> tuple[str, ...]:
    """Returns the faults that a style can have."""
    return importlib.import_module(f"benchmarks.doctor.models.{style}").FAULTS


def causes() -> list[str]:
    """Returns every fault that some style can have."""
    return sorted({fault for style in STYLES for fault in faults(style)})


def faulty(style: str, fault: str, number: int) -> Spec:
    """Returns one variant of a fault."""
    rng = np.random.default_rng((number, sum(map(ord, style + fault))))
    return Spec(
        style, fault, number,
        hidden=int(rng.choice((20, 32, 48))), vocab=int(rng.choice((24, 40, 60))), length=int(rng.choice((8, 10, 14))),
        batch=int(rng.choice((12, 16, 24))), rate=float(rng.choice((3e-3, 5e-3, 8e-3))),
        layer_norm=bool(rng.random() < 0.2), severity=float(rng.random()),
    )  # fmt: skip


def healthy(style: str, number: int) -> Spec:
    """Returns one variant of a healthy model: width, length, batch, learning rate, clip, bias and LayerNorm vary."""
    rng = np.random.default_rng((number, 17))
    return Spec(
        style, "healthy", number,
        hidden=int(rng.choice((16, 24, 32, 48, 64))), vocab=int(rng.choice((15, 24, 40, 80))),
        length=int(rng.choice((6, 8, 12, 18))), batch=int(rng.choice((6, 8, 16, 32))),
        rate=5e-3 * float(rng.choice((0.3, 0.6, 1.0, 2.0, 3.0))), clip=[None, 0.25, 1.0, 5.0][rng.integers(4)],
        forget_bias=float(rng.choice((0.0, 1.0, 2.0))), layer_norm=bool(rng.random() < 0.4),
    )  # fmt: skip


def setup(spec: Spec) -> dict[str, Any]:
    """Returns the training setup of a spec."""
    return importlib.import_module(f"benchmarks.doctor.models.{spec.style}").setup(spec)
