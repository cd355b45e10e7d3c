"""Initial weights and activations of recurrent layers, with the diseases that concern them."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import jax
import jax.numpy as jnp

from benchmarks.doctor.models.grammar import Variant


@dataclass(frozen=True)
class Initial:
    """How a recurrent layer starts.

    Attributes:
        scale: factor of the input kernel.
        gain: of the recurrent kernel.
        forget: bias of the gate that keeps the state; None for the library's own.
        activation: of the cell.
    """

    scale: float = 1.0
    gain: float = 1.0
    forget: float | None = None
    activation: Callable[[Any], Any] = jnp.tanh


def initial(v: Variant) -> Initial:
    """Returns how the recurrent layers of a variant start."""
    if v.has("gates-saturated"):
        return Initial(scale=v.between(30, 100))
    if v.has("exploding-recurrence"):
        return Initial(gain=v.between(4, 12))
    if v.has("forget-gate-closed"):
        return Initial(forget=-v.between(3, 6))
    if v.has("unbounded-activation"):
        return Initial(gain=v.between(1.5, 3), activation=jax.nn.relu if v.seed % 2 else lambda x: x)
    return Initial()
