"""What can be read off one training step: how gradients travel back through time, and down through the hierarchy.

Absolute sizes say little: a healthy fresh model may have a gradient of 1e-7 at its first word. So what counts are
slopes, ratios and shares; they survive another vocabulary, batch, or reduction of the loss.
"""

import re
from typing import NamedTuple

import jax
import jax.numpy as jnp
import optax
from flax.traverse_util import flatten_dict
from jaxtyping import Array, Bool, Float, PyTree, Shaped

from hae_jax.doctor.curve import last_steps, ratio, slope
from hae_jax.layers.cell import Gates
from hae_jax.training.gradient import Derivative, Flow
from hae_jax.training.step import named

ENDS = (0.05, 0.95)
"""A gate below the one or above the other is saturated."""
SAMPLE = 64
"""Rows that shares of gates are taken over: enough for two digits, and watching stays cheap."""


class Level(NamedTuple):
    """One LSTM layer during one step; means are over all its real steps.

    Attributes:
        curve: root mean square over rows of |dL/dh_t|, by steps before a row's last one; nan where no row is so long.
        rows: number of rows that are at least so long.
        first: the same mean of |dL/dh_t| at each row's first step.
        slope: of ln(curve), nat a step; positive where gradients grow on their way back; see `curve.slope`.
        ratio: log10 of the curve's end over its beginning.
        forget: mean forget gate, of a sample of the rows, as the next two.
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


class Vitals(NamedTuple):
    """What the probes saw of one step.

    Attributes:
        levels: each LSTM layer by the path of its parameters, as `encoder/word/layer_0`.
        crossings: factor that the gradient is multiplied by where it passes from one LSTM to another, in the order in
            which it does so, as `word_decoder -> sentence_decoder`. All gradients count, those too that an auxiliary
            loss sends past a level.
        updates: |update| / |weights| of every kernel, by its path; about 1e-3 is wanted. Adam hides vanishing gradients
            in norms, but not here. Empty where there is no update.
    """

    levels: dict[str, Level]
    crossings: dict[str, Float[Array, ""]]
    updates: dict[str, Float[Array, ""]]


def vitals(params: optax.Params, derivative: Derivative, moves: PyTree = None) -> Vitals:
    """Sums up a step; a `watch` for `make_step`.

    Args:
        params: the parameters before the step.
        derivative: the objective's derivative, with its flow.
        moves: norm of what is added to each parameter; None before there is an update.

    Returns:
        The vitals.

    Raises:
        ValueError: if the derivative was taken without watching.
    """
    if derivative.flow is None:
        raise ValueError("derivative must have a flow, got None. Use differentiate(..., watch=True).")
    levels = {name: level(parts) for name, parts in parts_of(derivative.flow).items()}
    return Vitals(levels, crossings(levels), {} if moves is None else update_ratios(params, moves))


class Part(NamedTuple):
    """What one call of an LSTM left of one layer; leading axes are rows.

    Attributes:
        gradient: dL/dh_t.
        mask: which steps are real.
        gates: the gates at every step.
    """

    gradient: Float[Array, "*rows time hidden"]
    mask: Bool[Array, "*rows time"]
    gates: Gates


def parts_of(flow: Flow) -> dict[str, list[Part]]:
    """Sorts a flow by layers: what each call of an LSTM left, under the path of the layer's parameters."""
    hidden, gates = (flatten_dict(tree, sep="/") for tree in flow)
    found: dict[str, list[Part]] = {}
    for name, gradient in hidden.items():
        matched = re.fullmatch(r"(.+)/hidden_(\d+)_(\d+)", name)
        if matched is None:
            continue
        path, part, layer = matched.groups()
        (mask,), (values,) = gates[f"{path}/mask_{part}"], gates[f"{path}/gates_{part}_{layer}"]
        found.setdefault(f"{path}/layer_{layer}", []).append(Part(gradient, mask, values))
    return found


def level(parts: list[Part]) -> Level:
    """Sums up what the calls of an LSTM left of one layer."""
    longest = max(part.mask.shape[-1] for part in parts)
    squares, counts, firsts, rows = [], [], [], []
    for part in parts:
        time = part.mask.shape[-1]
        mask = part.mask.reshape(-1, time)
        energy = jnp.square(part.gradient.astype(jnp.float32)).sum(-1).reshape(-1, time)
        order = last_steps(mask, time)[:, ::-1]
        mask, energy = (jnp.take_along_axis(x, order, axis=1) for x in (mask, energy))
        length = mask.sum(-1)
        start = jnp.take_along_axis(energy, jnp.maximum(length - 1, 0)[:, None], axis=1)[:, 0]
        squares.append(jnp.pad(jnp.where(mask, energy, 0).sum(0), (0, longest - time)))
        counts.append(jnp.pad(mask.sum(0), (0, longest - time)))
        firsts.append(jnp.where(length > 0, start, 0).sum())
        rows.append((length > 0).sum())
    count = sum(counts[1:], counts[0])
    curve = jnp.sqrt(sum(squares[1:], squares[0]) / count)
    first = jnp.sqrt(sum(firsts[1:], firsts[0]) / sum(rows[1:], rows[0]))
    forget, saturated = gate_shares(parts)
    count = count.astype(jnp.float32)
    return Level(curve, count, first, slope(curve, count), ratio(curve), forget, -1 / jnp.log(forget), saturated)


def gate_shares(parts: list[Part]) -> tuple[Float[Array, ""], Float[Array, ""]]:
    """Returns the mean forget gate, and the share of saturated gates, of a sample of the rows of every part."""
    opened = ends = steps = jnp.zeros(())
    units = parts[0].gates.forget.shape[-1]
    for part in parts:
        time = part.mask.shape[-1]
        gates = jax.tree.map(lambda x, time=time: sample(x.reshape(-1, time, units)), part.gates)
        mask = sample(part.mask.reshape(-1, time))
        real = mask[..., None]
        opened += jnp.where(real, gates.forget, 0).sum()
        for gate in (gates.input, gates.forget, gates.output):
            ends += (real & ((gate < ENDS[0]) | (gate > ENDS[1]))).sum()
        steps += mask.sum()
    return opened / (steps * units), ends / (3 * steps * units)


def sample(rows: Shaped[Array, "row ..."]) -> Shaped[Array, "some ..."]:
    """Returns at most `SAMPLE` rows, evenly spread."""
    return rows[:: -(-len(rows) // SAMPLE)]


def crossings(levels: dict[str, Level]) -> dict[str, Float[Array, ""]]:
    """Returns by how much the gradient shrinks from LSTM to LSTM, in the order in which it travels.

    Between levels that is |dL/dh| of the lower one, root mean square over what it hands over, by that of the upper one:
    where the upper one reads (an encoder) at all its steps, where it begins from what the lower one gave it (a decoder)
    at its first.
    """
    layers = 1 + max(int(name.rsplit("_", 1)[1]) for name in levels)

    def bottom(path: str) -> Level:
        return levels[f"{path}/layer_0"]

    def top(path: str) -> Level:
        return levels[f"{path}/layer_{layers - 1}"]

    if "decoder/recurrent/layer_0" in levels:
        return {"decoder -> encoder": top("encoder").curve[0] / bottom("decoder/recurrent").first}
    words, sentences = "word_decoder/recurrent", "sentence_decoder/recurrent"
    return {
        "word_decoder -> sentence_decoder": everywhere(top(sentences)) / bottom(words).first,
        "sentence_decoder -> encoder/sentence": top("encoder/sentence").curve[0] / bottom(sentences).first,
        "encoder/sentence -> encoder/word": top("encoder/word").curve[0] / everywhere(bottom("encoder/sentence")),
    }


def everywhere(level: Level) -> Float[Array, ""]:
    """Returns the root mean square of |dL/dh_t| over all real steps."""
    return jnp.sqrt(jnp.nansum(jnp.square(level.curve) * level.rows) / level.rows.sum())


def update_ratios(params: optax.Params, moves: PyTree) -> dict[str, Float[Array, ""]]:
    """Returns |update| / |weights| of every parameter but vectors: fresh biases have no scale."""
    return named(jax.tree.map(lambda p, move: move / optax.tree.norm(p) if p.ndim > 1 else None, params, moves))
