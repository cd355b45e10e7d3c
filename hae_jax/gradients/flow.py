"""Gradient flow of one training step: through time within each LSTM layer, and between the levels of the hierarchy.

Absolute gradient norms are not comparable: an untrained model that trains well may have a gradient of 1e-7 at its first
word. The statistics are therefore slopes, ratios and shares, which do not depend on vocabulary, batch size or the
reduction of the loss.
"""

import math
import re
from collections.abc import Mapping
from typing import NamedTuple

import jax
import jax.numpy as jnp
from flax.traverse_util import flatten_dict
from jaxtyping import Array, Bool, Float

from hae_jax.doctor.probes.curve import ratio, slope
from hae_jax.doctor.tracing.recurrences import SATURATION
from hae_jax.gradients.differentiate import Flow
from hae_jax.layers.cell import Gates

SAMPLE_SIZE = 1 << 16
"""Approximate number of values of a gate from which its statistics are computed: enough for two digits, at little
cost."""


class LevelFlow(NamedTuple):
    """Statistics of one LSTM layer in one training step, over all its unmasked steps.

    Attributes:
        curve: root mean square over rows of |dL/dh_t|, by the number of steps before a row's last one; nan beyond the
            longest row.
        rows: number of rows with at least that many steps.
        first: root mean square over rows of |dL/dh_t| at the first step.
        slope: slope of ln(curve), in nats per step; positive if gradients grow backwards in time; see `curve.slope`.
        ratio: log10 of the curve's last value over its first.
        forget: mean forget gate, of a sample of steps, as the next two.
        timescale: -1 / ln(forget), the number of steps after which a cell with that forget gate keeps 1/e.
        saturated: share of saturated input, forget and output gates.
    """

    curve: Float[Array, "time"]
    rows: Float[Array, "time"]
    first: Float[Array, ""]
    slope: Float[Array, ""]
    ratio: Float[Array, ""]
    forget: Float[Array, ""]
    timescale: Float[Array, ""]
    saturated: Float[Array, ""]


class GradientFlow(NamedTuple):
    """Gradient flow of one training step.

    Attributes:
        levels: statistics of each LSTM layer by the path of its parameters, as `encoder/word/layer_0`.
        crossings: factor of the gradient's norm from one LSTM to the next, in the order of backpropagation, as
            `word_decoder -> sentence_decoder`; gradients of the auxiliary losses, which bypass levels, are included.
        updates: |update| / |weights| of every kernel, on a sample of its weights, by its path; about 1e-3 is usual.
            Unlike gradient norms, it shows vanishing gradients under Adam. Empty without an update.
    """

    levels: dict[str, LevelFlow]
    crossings: dict[str, Float[Array, ""]]
    updates: dict[str, Float[Array, ""]]


def gradient_flow(flow: Flow, ratios: Mapping[str, Float[Array, ""]] | None = None) -> GradientFlow:
    """Summarizes the gradient flow of a step; may be the `statistics` of `make_step`.

    Args:
        flow: what `value_grad_and_flow` returns.
        ratios: |update| / |weights| of every kernel by its path; None without an update.
    """
    levels = summarize_levels(calls_by_layer(flow))
    return GradientFlow(levels, level_transitions(levels), dict(ratios or {}))


class LayerCall(NamedTuple):
    """Gradients and gates of one layer in one call of an LSTM.

    Attributes:
        gradient: dL/dh_t.
        mask: True where a step is valid.
        gates: the gates at every step.
    """

    gradient: Float[Array, "*rows time hidden"]
    mask: Bool[Array, "*rows time"]
    gates: Gates


def calls_by_layer(flow: Flow) -> dict[str, list[LayerCall]]:
    """Groups a flow by layer: the calls of each layer, by the path of its parameters."""
    hidden, gates = (flatten_dict(tree, sep="/") for tree in flow)
    calls: dict[str, list[LayerCall]] = {}
    for name, gradient in hidden.items():
        matched = re.fullmatch(r"(.+)/hidden_(\d+)_(\d+)", name)
        if matched is None:
            continue
        path, part, layer = matched.groups()
        (mask,), (values,) = gates[f"{path}/mask_{part}"], gates[f"{path}/gates_{part}_{layer}"]
        calls.setdefault(f"{path}/layer_{layer}", []).append(LayerCall(gradient, mask, values))
    return calls


def summarize_levels(layers: dict[str, list[LayerCall]]) -> dict[str, LevelFlow]:
    """Computes the statistics of each layer from its calls."""
    curves, counts, firsts = zip(*map(gradient_curve, layers.values()), strict=True)
    longest = max(map(len, curves))
    # For all layers at once: the cost of many small operations is their number.
    stacked, weights = (jnp.stack([jnp.pad(x, (0, longest - len(x))) for x in each]) for each in (curves, counts))
    forget, saturated = jnp.stack([jnp.stack(gate_statistics(calls)) for calls in layers.values()], axis=1)
    columns = (curves, counts, firsts, slope(stacked, weights), ratio(stacked), forget, -1 / jnp.log(forget), saturated)
    return {name: LevelFlow(*values) for name, *values in zip(layers, *columns, strict=True)}


def gradient_curve(calls: list[LayerCall]) -> tuple[Float[Array, "time"], Float[Array, "time"], Float[Array, ""]]:
    """Returns `curve`, `rows` and `first` of a `LevelFlow`."""
    longest = max(call.mask.shape[-1] for call in calls)
    squares, counts, firsts, rows = [], [], [], []
    for call in calls:
        time = call.mask.shape[-1]
        mask = call.mask.reshape(-1, time)
        energy = jnp.square(call.gradient.astype(jnp.float32)).sum(-1).reshape(-1, time)
        # Number of unmasked steps from each one to the last, itself included.
        remaining = jnp.cumsum(mask[:, ::-1], axis=1)[:, ::-1]
        selected = mask[..., None] & (remaining[..., None] == 1 + jnp.arange(longest))
        start = mask & (remaining == remaining[:, :1])
        squares.append(jnp.where(selected, energy[..., None], 0).sum((0, 1)))
        counts.append((remaining[:, :1] > jnp.arange(longest)).sum(0))
        firsts.append(jnp.where(start, energy, 0).sum())
        rows.append(start.sum())
    count = sum(counts[1:], counts[0])
    curve = jnp.sqrt(sum(squares[1:], squares[0]) / count)
    first = jnp.sqrt(sum(firsts[1:], firsts[0]) / sum(rows[1:], rows[0]))
    return curve, count.astype(jnp.float32), first


def gate_statistics(calls: list[LayerCall]) -> tuple[Float[Array, ""], Float[Array, ""]]:
    """Returns the mean forget gate and the share of saturated gates, from a sample of the steps of every call."""
    forget = saturated = steps = jnp.zeros(())
    units = calls[0].gates.forget.shape[-1]
    for call in calls:
        every = sample_stride(call.gates.forget.size, call.mask.shape[-1])
        gates = jax.tree.map(lambda x, every=every: x.reshape(-1, units)[::every], call.gates)
        mask = call.mask.reshape(-1)[::every]
        valid = mask[:, None]
        forget += jnp.where(valid, gates.forget, 0).sum()
        for gate in (gates.input, gates.forget, gates.output):
            saturated += (valid & ((gate < SATURATION[0]) | (gate > SATURATION[1]))).sum()
        steps += mask.sum()
    return forget / (steps * units), saturated / (3 * steps * units)


def sample_stride(size: int, time: int) -> int:
    """Returns the stride of a sample of about `SAMPLE_SIZE` of `size` values, in steps.

    The stride and the length of a row have no common divisor, so that the sample contains early and late steps of
    evenly spaced rows.

    Example:
        >>> sample_stride(1000, 16), sample_stride(4 * SAMPLE_SIZE, 16)
        (1, 5)
    """
    every = -(-size // SAMPLE_SIZE)
    while math.gcd(every, time) > 1:
        every += 1
    return every


def level_transitions(levels: dict[str, LevelFlow]) -> dict[str, Float[Array, ""]]:
    """Returns the factors of the gradient's norm from one LSTM to the next, in the order of backpropagation.

    A factor is |dL/dh| of the LSTM that the gradient enters over that of the one that it leaves, root mean squares: of
    the former over the steps whose output the latter uses; of the latter over all steps if it is an encoder, which
    reads that output at every step, and at the first step if it is a decoder, whose initial state is computed from it.
    """
    layers = 1 + max(int(name.rsplit("_", 1)[1]) for name in levels)

    def bottom(path: str) -> LevelFlow:
        return levels[f"{path}/layer_0"]

    def top(path: str) -> LevelFlow:
        return levels[f"{path}/layer_{layers - 1}"]

    if "decoder/recurrent/layer_0" in levels:
        return {"decoder -> encoder": top("encoder").curve[0] / bottom("decoder/recurrent").first}
    words, sentences = "word_decoder/recurrent", "sentence_decoder/recurrent"
    return {
        "word_decoder -> sentence_decoder": rms_over_steps(top(sentences)) / bottom(words).first,
        "sentence_decoder -> encoder/sentence": top("encoder/sentence").curve[0] / bottom(sentences).first,
        "encoder/sentence -> encoder/word": top("encoder/word").curve[0] / rms_over_steps(bottom("encoder/sentence")),
    }


def rms_over_steps(level: LevelFlow) -> Float[Array, ""]:
    """Returns the root mean square of |dL/dh_t| over all unmasked steps."""
    return jnp.sqrt(jnp.nansum(jnp.square(level.curve) * level.rows) / level.rows.sum())
