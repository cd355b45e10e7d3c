"""Mean-field prediction of how gradients decay or grow through time, from weights and activations alone.

Write r_t = dL/dh_t and p_t = dL/dc_t (the total derivative, including the path through h_t). One step of
backpropagation is, for each unit,

    p_t     = a_t r_t + f_{t+1} p_{t+1},           a = o tanh'(c)
    r_{t-1} = sum over gates of U_gate dz_gate,    dz_i = g i' p,  dz_f = c_{t-1} f' p,  dz_g = i g' p,
                                                   dz_o = tanh(c) o' r,

where primes are derivatives of the activation functions. The activations are those of a forward pass. Assumptions:

1. U is a large random matrix, whose gates are independent of each other, of the activations, and of the gradient at
   the last step. Then r_t is Gaussian, identically distributed for all units, and described by its covariance over
   time.
2. U is the *same* at all steps. So r at one step and r at another are correlated wherever dz is,

       <r_{t-1} r_{s-1}> = sum over gates of s2 <dz_t dz_s>,    s2 = mean energy of a row of U's gate,

   and p, which accumulates r over time through the forget gate, is described by the covariance of all pairs of steps,
   separately for each unit: units with slow gates carry the gradient after it has vanished in all others.

The recursion over pairs of steps is exact given 1, for any length. Its diagonal is the energy of the gradient at each
step, a predicted gradient curve, to which a slope is fitted as to a measured one (`curve.slope`).

`untied` is the prediction if U were sampled independently at each step and units were replaced by averages, where the
recursion needs energies only:

    q_r <- A q_p + C q_r,   q_p <- E q_r + F q_p,   slope = ln(largest eigenvalue) / 2
    A = sum of s2 <(dz/p)^2> over i, f, g,  C = s2 <(tanh(c) o')^2>,  E = <a^2>,  F = <f^2>

It ignores that paths which pass U the same number of times, at any steps, interfere constructively: with constant
factors f and u, sum_k binom(n, k)^2 f^2(n-k) u^2k grows like (f + u)^2n, and not like (f^2 + u^2)^n.

Layer normalization z = LN(h U) * gain divides by the standard deviation of h U over all gates, so s2 becomes
s2 (gain / deviation)^2 at each step; tanh(LN(c) * gain) multiplies a by gain / deviation and is evaluated at the
normalized cell. LN removes the gradient's components along the mean and along its argument: 2 of its n directions.

Not modeled are differences between rows of one gate's U, which initial kernels do not have, and correlations of U with
the activations, which training causes: for a trained layer this is a prediction from its gates alone.

Reference:
    untied: Schoenholz et al., 2017, https://arxiv.org/abs/1611.01232; for LSTMs Gilboa et al., 2019,
    https://arxiv.org/abs/1901.08987; tied, as a dynamical mean-field theory of gated networks: Can, Krishnamurthy &
    Schwab, 2020, https://arxiv.org/abs/2002.00025; Krishnamurthy, Can & Schwab, 2022, https://arxiv.org/abs/2007.14823
"""

from typing import NamedTuple

import jax
import jax.numpy as jnp
from jaxtyping import Array, Bool, Float

from hae_jax.doctor.probes.curve import slope
from hae_jax.gradients.last_steps import last_steps
from hae_jax.layers.cell import LSTMState, LSTMWeights, normalize
from hae_jax.layers.scan import lstm_scan

STEPS = 64
"""Default number of last unmasked steps; the cost is quadratic in it."""
EPSILON = 1e-5
"""Constant that layer normalization adds to the variance."""


class Prediction(NamedTuple):
    """Prediction for a layer whose loss is a function of its last hidden state.

    Attributes:
        slope: slope of the gradient curve, in nats per step; positive if gradients grow backwards in time.
        untied: the same from energies alone, for an infinite sequence and a recurrent kernel sampled at each step.
        forget: mean forget gate.
        timescale: -1 / ln(forget), the number of steps after which a cell with that forget gate keeps 1/e.
        crossing: norm of dL/dx over norm of dL/dh, over all steps: the factor of the gradient through the input kernel.
        curve: logarithm of the root mean square of dL/dh_t relative to the last step's, by steps before the last one.
    """

    slope: Float[Array, ""]
    untied: Float[Array, ""]
    forget: Float[Array, ""]
    timescale: Float[Array, ""]
    crossing: Float[Array, ""]
    curve: Float[Array, "steps"]


class Factors(NamedTuple):
    """Factors of the gradients of each unit in one step of backpropagation, in order of time.

    Attributes:
        keep: dc_t / dc_{t-1}, the forget gate.
        expose: dh_t / dc_t, called a above.
        gates: dc_t / dz_t of input gate, forget gate and candidate, and dh_t / dz_t of the output gate.
        recurrent: root of the energy of the recurrent kernel's columns, the gain of layer norm included.
        inputs: the same of the input kernel.
        real: True where a step is valid; all other values are undefined elsewhere.
        inner: True where there is a valid step before it as well, to which the gradient is propagated.
    """

    keep: Float[Array, "batch steps hidden"]
    expose: Float[Array, "batch steps hidden"]
    gates: Float[Array, "batch steps 4 hidden"]
    recurrent: Float[Array, "#batch #steps 4 hidden"]
    inputs: Float[Array, "#batch #steps 4 hidden"]
    real: Bool[Array, "batch steps"]
    inner: Bool[Array, "batch steps"]


def predict(
    weights: LSTMWeights,
    inputs: Float[Array, "batch time feat"],
    mask: Bool[Array, "batch time"],
    steps: int = STEPS,
) -> Prediction:
    """Predicts the gradient curve of a layer with an initial state of zero.

    Args:
        weights: a layer with inputs and without context.
        inputs: a few rows are enough, since every step of every row is averaged over all units.
        mask: True where a step is valid.
        steps: number of last unmasked steps.
    """
    found = factors(weights, inputs, mask, min(steps, mask.shape[1]))
    everywhere = jnp.broadcast_to(found.real[..., None], found.keep.shape)
    forget = jnp.mean(found.keep, where=everywhere)
    # Energies of a long sequence exceed the range of float32: they are stored relative to this growth.
    untied = untied_slope(found)
    hidden, read = energies(found, untied)
    rows = found.real.sum(0)
    curve = jnp.sqrt(hidden.sum(1) / jnp.maximum(rows, 1))[::-1]
    before = jnp.arange(len(curve), dtype=curve.dtype)
    logs = jnp.where(curve > 0, jnp.log(jnp.where(curve > 0, curve, 1)) + untied * before, -jnp.inf)
    weight = jnp.exp(2 * untied * before - jnp.max(2 * untied * before))[::-1, None]
    crossing = jnp.sqrt((weight * read).sum() / (weight * hidden).sum())
    fitted = slope(curve, rows[::-1].astype(curve.dtype)) + untied
    return Prediction(fitted, untied, forget, -1 / jnp.log(forget), crossing, logs - logs[0])


def factors(
    weights: LSTMWeights, inputs: Float[Array, "batch time feat"], mask: Bool[Array, "batch time"], steps: int
) -> Factors:
    """Runs the layer forwards and computes the factors of the backward pass at its last `steps` unmasked steps."""
    hidden = weights.recurrent.shape[0]
    zeros = jnp.zeros((len(mask), hidden), inputs.dtype)
    _, states, gates = lstm_scan(LSTMState(zeros, zeros), inputs, mask, weights)

    def advance(cell, step):
        real, keep, new = step
        after = jnp.where(real[:, None], keep * cell + new, cell)
        return after, (cell, after)

    in_time = jax.tree.map(lambda x: jnp.swapaxes(x, 0, 1), (mask, gates.forget, gates.input * gates.candidate))
    _, around = jax.lax.scan(advance, zeros, in_time)
    before, after = (jnp.swapaxes(x, 0, 1) for x in around)
    earlier = jnp.pad(states, ((0, 0), (1, 0), (0, 0)))[:, :-1]
    at = last_steps(mask, steps)[..., None]
    (i, f, g, o), before, after, earlier, inputs, real = jax.tree.map(
        lambda x: jnp.take_along_axis(x, at, axis=1), (tuple(gates), before, after, earlier, inputs, mask[..., None])
    )
    kernel = jnp.zeros((inputs.shape[-1], 4 * hidden), inputs.dtype) if weights.kernel is None else weights.kernel
    recurrent, read = (jnp.sqrt(jnp.square(w).sum(0)) for w in (weights.recurrent, kernel))
    exposed, visible = after, jnp.ones_like(after)
    if weights.norm is not None:
        norm = weights.norm
        exposed = normalize(after) * norm.cell + (0 if norm.bias is None else norm.bias)
        visible = jnp.abs(norm.cell) * shrinkage(after)
        recurrent = recurrent * jnp.abs(norm.recurrent) * shrinkage(earlier @ weights.recurrent)
        read = read * jnp.abs(norm.input) * shrinkage(inputs @ kernel)
    squashed = jnp.tanh(exposed)
    parts = (g * i * (1 - i), before * f * (1 - f), i * (1 - jnp.square(g)), squashed * o * (1 - o))
    recurrent, read = (x.reshape((1,) * (3 - x.ndim) + (*x.shape[:-1], 4, hidden)) for x in (recurrent, read))
    # Before the first step the hidden state is zero, and layer normalization would divide by almost zero.
    inner = real & jnp.pad(real, ((0, 0), (1, 0), (0, 0)))[:, :-1]
    recurrent = jnp.where(inner[..., None], recurrent, 0)
    expose = o * (1 - jnp.square(squashed)) * visible
    return Factors(f, expose, jnp.stack(parts, -2), recurrent, read, real[..., 0], inner[..., 0])


def shrinkage(x: Float[Array, "*batch feat"]) -> Float[Array, "*batch 1"]:
    """Returns the factor of layer normalization for the root mean square of a gradient independent of its argument."""
    directions = x.shape[-1]
    return jnp.sqrt(max(directions - 2, 0) / directions / (x.var(-1, keepdims=True) + EPSILON))


def untied_slope(factors: Factors) -> Float[Array, ""]:
    """Returns half the logarithm of the largest eigenvalue of [[C, A], [E C, E A + F]], the untied recursion."""
    inner = factors.inner[..., None]

    def mean(x, where):
        return jnp.mean(x, where=jnp.broadcast_to(where, x.shape))

    energy = jnp.square(factors.gates * factors.recurrent)
    through_cell, through_hidden = mean(energy[..., :3, :].sum(-2), inner), mean(energy[..., 3, :], inner)
    expose, keep = (mean(jnp.square(x), factors.real[..., None]) for x in (factors.expose, factors.keep))
    half = (through_hidden + expose * through_cell + keep) / 2
    return 0.5 * jnp.log(half + jnp.sqrt(jnp.maximum(jnp.square(half) - through_hidden * keep, 0)))


def energies(
    factors: Factors, gauge: Float[Array, ""]
) -> tuple[Float[Array, "steps batch"], Float[Array, "steps batch"]]:
    """Propagates the covariances of all pairs of steps backwards.

    Args:
        factors: of all steps.
        gauge: gradients are divided by exp(gauge) at every step of backpropagation.

    Returns:
        The squared norms of dL/dh_t and of dL/dx_t, divided by the number of units, in order of time; the former is 1
        at the last step.
    """
    shrink = jnp.exp(-gauge)
    real = factors.real.T
    keep, expose, into, read = (
        jnp.swapaxes(x, 0, 1)
        for x in (factors.keep * shrink, factors.expose, factors.gates * factors.recurrent * shrink,
                  factors.gates * factors.inputs)
    )  # fmt: skip
    steps = len(keep)
    # The forget gate between a step and the next one.
    ahead = jnp.pad(keep[1:], ((0, 1), (0, 0), (0, 0)))
    index = jnp.arange(steps)[:, None, None]

    def retreat(carry, t):
        # Of step t: <r_t r_s> for all s; of step t + 1: <p_{t+1} p_s>. Values for s < t are not computed yet, nor used.
        both_hidden, both_cell = carry

        def along(mixed, step):
            expose, ahead, both = step
            mixed = expose * both[:, None] + ahead * mixed
            return mixed, mixed

        _, mixed = jax.lax.scan(along, jnp.zeros_like(keep[0]), (expose, ahead, both_hidden), reverse=True)
        pairs = jnp.where(index > t, expose[t] * mixed + ahead[t] * both_cell, 0)
        # <p_t p_t> = a <r_t p_t> + f <p_{t+1} p_t>
        own = expose[t] * mixed[t] + ahead[t] * jnp.where(t + 1 < steps, pairs[jnp.minimum(t + 1, steps - 1)], 0)
        pairs = jnp.where(index == t, own, pairs)
        through = into[t] * into
        earlier = (through[:, :, :3].sum(2) * pairs).mean(-1) + through[:, :, 3].mean(-1) * both_hidden
        down = jnp.square(read[t])
        down = (down[:, :3].sum(1) * own).mean(-1) + down[:, 3].mean(-1) * both_hidden[t]
        # From <r_{t-1} r_{s-1}> at s to the same at s - 1.
        return (jnp.pad(earlier[1:], ((0, 1), (0, 0))), pairs), (both_hidden[t] * real[t], down * real[t])

    last = jnp.arange(steps)[:, None] == steps - 1
    start = jnp.where(last, jnp.ones_like(keep[..., 0]), 0)
    _, found = jax.lax.scan(retreat, (start, jnp.zeros_like(keep)), jnp.arange(steps), reverse=True)
    return found
