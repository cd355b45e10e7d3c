"""What can be read off one training step: how gradients travel back through time, and down through the hierarchy.

Absolute sizes say little: a healthy fresh model may have a gradient of 1e-7 at its first word. So what counts are
slopes, ratios and shares; they survive another vocabulary, batch, or reduction of the loss.
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

SATURATION = (0.05, 0.95)
"""A gate below the one or above the other is saturated."""
SAMPLE_SIZE = 1 << 16
"""Numbers of a gate, about, that its shares are taken over: more than enough for two digits, and cheap."""


class LevelFlow(NamedTuple):
    """One LSTM layer during one step; means are over all its real steps.

    Attributes:
        curve: root mean square over rows of |dL/dh_t|, by steps before a row's last one; nan where no row is so long.
        rows: number of rows that are at least so long.
        first: the same mean of |dL/dh_t| at each row's first step.
        slope: of ln(curve), nat a step; positive where gradients grow on their way back; see `curve.slope`.
        ratio: log10 of the curve's end over its beginning.
        forget: mean forget gate, of a sample of the steps of all rows, as the next two.
        timescale: steps over which a cell of that mean gate keeps 1/e, -1 / ln(forget).
        saturated: share of input, forget and output gates at an end.
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
    """What the probes saw of one step.

    Attributes:
        levels: each LSTM layer by the path of its parameters, as `encoder/word/layer_0`.
        crossings: factor that the gradient is multiplied by where it passes from one LSTM to another, in the order in
            which it does so, as `word_decoder -> sentence_decoder`. All gradients count, those too that an auxiliary
            loss sends past a level.
        updates: |update| / |weights| of every kernel, on a sample of its numbers, by its path; about 1e-3 is wanted.
            Adam hides vanishing gradients in norms, but not here. Empty where there is no update.
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
    """What one call of an LSTM left of one layer; leading axes are rows.

    Attributes:
        gradient: dL/dh_t.
        mask: which steps are real.
        gates: the gates at every step.
    """

    gradient: Float[Array, "*rows time hidden"]
    mask: Bool[Array, "*rows time"]
    gates: Gates


def calls_by_layer(flow: Flow) -> dict[str, list[LayerCall]]:
    """Sorts a flow by layers: what each call of an LSTM left, under the path of the layer's parameters."""
    hidden, gates = (flatten_dict(tree, sep="/") for tree in flow)
    found: dict[str, list[LayerCall]] = {}
    for name, gradient in hidden.items():
        matched = re.fullmatch(r"(.+)/hidden_(\d+)_(\d+)", name)
        if matched is None:
            continue
        path, part, layer = matched.groups()
        (mask,), (values,) = gates[f"{path}/mask_{part}"], gates[f"{path}/gates_{part}_{layer}"]
        found.setdefault(f"{path}/layer_{layer}", []).append(LayerCall(gradient, mask, values))
    return found


def summarize_levels(parts: dict[str, list[LayerCall]]) -> dict[str, LevelFlow]:
    """Sums up what the calls of each LSTM left of its layers."""
    curves, counts, firsts = zip(*map(gradient_curve, parts.values()), strict=True)
    longest = max(map(len, curves))
    # All at once: of many small operations it is their number that costs.
    stacked, weights = (jnp.stack([jnp.pad(x, (0, longest - len(x))) for x in each]) for each in (curves, counts))
    forget, saturated = jnp.stack([jnp.stack(gate_statistics(calls)) for calls in parts.values()], axis=1)
    columns = (curves, counts, firsts, slope(stacked, weights), ratio(stacked), forget, -1 / jnp.log(forget), saturated)
    return {name: LevelFlow(*values) for name, *values in zip(parts, *columns, strict=True)}


def gradient_curve(parts: list[LayerCall]) -> tuple[Float[Array, "time"], Float[Array, "time"], Float[Array, ""]]:
    """Returns the curve, rows and first of a `LevelFlow`."""
    longest = max(part.mask.shape[-1] for part in parts)
    squares, counts, firsts, rows = [], [], [], []
    for part in parts:
        time = part.mask.shape[-1]
        mask = part.mask.reshape(-1, time)
        energy = jnp.square(part.gradient.astype(jnp.float32)).sum(-1).reshape(-1, time)
        # Real steps from each one to the last, itself included.
        left = jnp.cumsum(mask[:, ::-1], axis=1)[:, ::-1]
        there = mask[..., None] & (left[..., None] == 1 + jnp.arange(longest))
        start = mask & (left == left[:, :1])
        squares.append(jnp.where(there, energy[..., None], 0).sum((0, 1)))
        counts.append((left[:, :1] > jnp.arange(longest)).sum(0))
        firsts.append(jnp.where(start, energy, 0).sum())
        rows.append(start.sum())
    count = sum(counts[1:], counts[0])
    curve = jnp.sqrt(sum(squares[1:], squares[0]) / count)
    first = jnp.sqrt(sum(firsts[1:], firsts[0]) / sum(rows[1:], rows[0]))
    return curve, count.astype(jnp.float32), first


def gate_statistics(parts: list[LayerCall]) -> tuple[Float[Array, ""], Float[Array, ""]]:
    """Returns the mean forget gate, and the share of saturated gates, of a sample of the steps of every part."""
    opened = ends = steps = jnp.zeros(())
    units = parts[0].gates.forget.shape[-1]
    for part in parts:
        every = sample_stride(part.gates.forget.size, part.mask.shape[-1])
        gates = jax.tree.map(lambda x, every=every: x.reshape(-1, units)[::every], part.gates)
        mask = part.mask.reshape(-1)[::every]
        real = mask[:, None]
        opened += jnp.where(real, gates.forget, 0).sum()
        for gate in (gates.input, gates.forget, gates.output):
            ends += (real & ((gate < SATURATION[0]) | (gate > SATURATION[1]))).sum()
        steps += mask.sum()
    return opened / (steps * units), ends / (3 * steps * units)


def sample_stride(size: int, time: int) -> int:
    """Returns how many steps to go on to the next one of a sample of about `SAMPLE` of `size` numbers.

    It has no divisor in common with the length of a row: a sample of many steps holds early and late ones alike, of
    rows that are spread evenly.

    Example:
        >>> stride(1000, 16), stride(4 * SAMPLE, 16)
        (1, 5)
    """
    every = -(-size // SAMPLE_SIZE)
    while math.gcd(every, time) > 1:
        every += 1
    return every


def level_transitions(levels: dict[str, LevelFlow]) -> dict[str, Float[Array, ""]]:
    """Returns by how much the gradient shrinks from LSTM to LSTM, in the order in which it travels.

    Between levels that is |dL/dh| of the lower one, root mean square over what it hands over, by that of the upper one:
    where the upper one reads (an encoder) at all its steps, where it begins from what the lower one gave it (a decoder)
    at its first.
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
    """Returns the root mean square of |dL/dh_t| over all real steps."""
    return jnp.sqrt(jnp.nansum(jnp.square(level.curve) * level.rows) / level.rows.sum())
