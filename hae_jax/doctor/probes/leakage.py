"""What depends on what: examples on each other, and a word's logits on the word itself. Both must not be."""

from collections.abc import Callable
from typing import Any

import jax
import numpy as np

from hae_jax.doctor.inputs.arrays import Arrays
from hae_jax.doctor.probes.context import ProbeContext, ProbeSkipped
from hae_jax.doctor.probes.initial_loss import shaped
from hae_jax.doctor.tracing.traced_loss import Activations

NEAR = 1e-6
"""Relative changes below are rounding."""


def output(heard: Activations) -> np.ndarray:
    """Returns logits or prediction.

    Raises:
        Unable: if there are neither.
    """
    for name in ("logits", "prediction"):
        if name in heard.values:
            return np.asarray(heard.values[name], np.float64)
    raise ProbeSkipped("neither logits nor predictions were found")


def mixed(chart: ProbeContext) -> dict[str, Any]:
    """Measures whether changing one example changes the output of another: their sets must be disjoint."""
    batch, size, axis = chart.case.batches[0], chart.fields.size, chart.case.patient.batch_axis
    other = chart.case.batches[min(1, len(chart.case.batches) - 1)]
    if size < 3:
        raise ProbeSkipped("fewer than three examples in a batch")
    look = chart.inside

    def moves(said: Callable[[Arrays], np.ndarray]) -> list[np.ndarray]:
        base, changed = said(batch), []
        for row in (0, size // 2, size - 1):
            new = [exchange(a, b, row, (row + 1) % size, size, axis) for a, b in zip(batch, other, strict=True)]
            changed.append(np.abs(said(new) - base).max(-1) > NEAR * np.abs(base).max())
        return changed

    changed, encode = moves(lambda fields: output(look.hear(chart.case.params, fields))), chart.case.offered("encode")
    if not all(c.any() for c in changed) and encode is not None:
        # A loss may leave out examples, drawn at random; their codes are there.
        changed = moves(lambda fields: flat(encode(chart.case.params, fields, chart.case.key), size))
    counts = [c.sum() for c in changed]
    if min(counts) == 0:
        raise ProbeSkipped("the output does not depend on some example")
    shared = max((changed[i] & changed[j]).sum() / min(counts[i], counts[j]) for i, j in ((0, 1), (0, 2), (1, 2)))
    return {"mixed_share": float(shared), "mixed_reach": float(np.mean(counts) / changed[0].size * size)}


def flat(code: Any, size: int) -> np.ndarray:
    """Brings the numbers of a code into a row for each example."""
    leaves = [np.asarray(leaf, np.float64) for leaf in jax.tree.leaves(code)]
    return np.concatenate([leaf.reshape(size, -1) for leaf in leaves if len(leaf) == size], 1)


def exchange(ours: np.ndarray, theirs: np.ndarray, row: int, source: int, size: int, axis: int) -> np.ndarray:
    """Returns a field in which one example is another batch's."""
    if ours.ndim <= axis or ours.shape[axis] != size:
        return ours
    new = np.array(ours)
    index: list[Any] = [slice(None)] * ours.ndim
    index[axis] = row
    from_: list[Any] = [slice(None)] * ours.ndim
    from_[axis] = source
    new[tuple(index)] = theirs[tuple(from_)]
    return new


def causal(chart: ProbeContext) -> dict[str, Any]:
    """Measures whether the logits that predict a word depend on it by other ways than the code, which is held."""
    return leak(chart, chart.case.params)


def leak(chart: ProbeContext, params: Arrays) -> dict[str, Any]:
    """Changes one position of the inputs, and follows where the output moves.

    Raises:
        Unable: if outputs cannot be told to positions of a field.
    """
    look, batch, fields = chart.inside, chart.case.batches[0], chart.fields
    base = look.hear(params, batch)
    before = output(base)
    inputs = fields.words if "logits" in base.values else fields.values
    found: dict[str, Any] = {}
    for at in inputs[:3]:
        axis, field = chart.case.patient.batch_axis, batch[at]
        time = field.shape[1 - axis] if field.ndim == 2 or at in fields.values else int(np.prod(field.shape[1:]))
        place = origin(chart, params, at, before.shape[:-1], inputs, time)
        if place is None:
            continue
        for number, step in enumerate(dict.fromkeys((time // 2, time // 3, 2 * time // 3))):
            if not 2 <= step < time - 1:
                continue
            heard = look.hear(params, replaced(chart, batch, at, step), look.knobs(held=base.code))
            moved = np.abs(output(heard) - before).max(-1)
            profile = np.array([moved[place == q].mean() if (place == q).any() else np.nan for q in range(time)])
            free = np.abs(output(look.hear(params, replaced(chart, batch, at, step))) - before).max(-1)
            if not free.any():
                # Nothing that the model reads.
                continue
            before_it = float(free[(place >= 0) & (place < step)].max(initial=0))
            found["reach_back"] = max(found.get("reach_back", 0.0), before_it)
            now, earlier = profile[step], np.nanmedian(profile[max(0, step - 6) : step - 1]) if step > 2 else profile[0]
            later = np.nanmax(profile[step + 1 :])
            if not np.isfinite(now) or not np.isfinite(earlier):
                continue
            size = max(later, now)
            if number == 0 or now / max(size, 1e-30) > found.get("leak_now", 0):
                found |= {
                    "leak_now": float(now / max(size, 1e-30)),
                    "leak_earlier": float(earlier / max(size, 1e-30)),
                    "leak_size": float(size / max(np.abs(before).max(), 1e-30)),
                }
    if not found:
        raise ProbeSkipped("outputs cannot be told to positions of the inputs")
    return found


def origin(
    chart: ProbeContext, params: Arrays, at: int, places: tuple[int, ...], inputs: tuple[int, ...], time: int
) -> np.ndarray | None:
    """Says for each place of the output at which step of a field the content stands that it has to predict."""
    batch = chart.case.batches[0]
    for source in inputs:
        marks = np.arange(batch[source].size).reshape(batch[source].shape)
        field = batch[source]
        if field.ndim == 3 and source in chart.fields.values:
            marks = np.broadcast_to(np.arange(field[..., 0].size).reshape(field.shape[:2])[..., None], field.shape)
        probe = [marks.astype(leaf.dtype) if i == source else leaf for i, leaf in enumerate(batch)]
        heard, base = chart.inside.hear(params, probe), chart.heard
        if "logits" in heard.values:
            found, actual = shaped(heard.values), shaped(base.values)
            content = field
        else:
            found, actual = heard.values["goal"], base.values["goal"]
            if found.shape[:-1] != places:
                return None
            found, actual, content = found[..., 0], actual[..., 0], field[..., 0] if field.ndim == 3 else field
        if found is None or actual is None or found.shape != places:
            continue
        inside = (found >= 0) & (found < content.size)
        index = np.where(inside, found, 0).astype(int)
        right = inside & np.isclose(content.ravel()[index].astype(float), actual.astype(float), rtol=1e-4, atol=1e-4)
        if right.mean() < 0.6 or len(np.unique(index)) < 4:
            continue
        axis = chart.case.patient.batch_axis
        step = index // batch[source].shape[1] if axis == 1 else index % time
        shift = 0 if source == at else offset(batch[at], batch[source], axis)
        if shift is None:
            continue
        return np.where(right, step - shift, -1)
    return None


def offset(ours: np.ndarray, theirs: np.ndarray, axis: int) -> int | None:
    """Returns by how many steps later a field says the same as another one; None if it does not."""
    if ours.shape != theirs.shape:
        if ours.ndim != theirs.ndim or ours.shape[0] != theirs.shape[0]:
            return None
        n = min(ours.shape[1], theirs.shape[1])
        ours, theirs = ours[:, :n], theirs[:, :n]
    time = 1 - axis
    best, share = None, 0.8
    for shift in (0, -1, 1, -2, 2):
        a, b = (
            np.take(x, range(max(0, k), ours.shape[time] + min(0, k)), axis=time)
            for x, k in ((ours, -shift), (theirs, shift))
        )
        same = float(np.isclose(a, b).mean())
        if same > share:
            best, share = shift, same
    return best


def replaced(chart: ProbeContext, batch: Arrays, at: int, step: int) -> Arrays:
    """Returns a batch in which every example has something else at one step of a field."""
    field, axis = np.array(batch[at]), chart.case.patient.batch_axis
    if at in chart.fields.words:
        view = field.reshape(len(field), -1) if axis == 0 else field.T
        old = view[:, step]
        known = np.unique(np.concatenate([b[at].ravel() for b in chart.case.batches[:4]]))
        known = known[known != chart.fields.pad] if chart.fields.pad is not None else known
        new = known[(np.searchsorted(known, old).clip(0, len(known) - 1) + 1 + len(known) // 3) % len(known)]
        view[:, step] = np.where(old == chart.fields.pad, old, new) if chart.fields.pad is not None else new
    else:
        spread = field.std() or 1.0
        index: list[Any] = [slice(None)] * field.ndim
        index[1 - axis] = step
        field[tuple(index)] += spread
    return [field if i == at else leaf for i, leaf in enumerate(batch)]
