"""Padding: nothing may change where nothing is said."""

from dataclasses import replace
from typing import Any

import jax
import numpy as np

from hae_jax.doctor.inputs.fields import real
from hae_jax.doctor.probes.context import ProbeContext, ProbeSkipped
from hae_jax.doctor.tracing.traced_loss import Activations, trace_loss

MORE = 3
"""Steps of padding that are appended."""


def change(new: Activations, old: Activations) -> dict[str, float]:
    """Returns by how much codes, relative to their spread over examples, and the loss changed."""
    moved = 0.0
    for a, b in zip(new.code, old.code, strict=True):
        if np.shape(a) == np.shape(b):
            spread = np.asarray(b, np.float64).std()
            moved = max(moved, float(np.abs(np.asarray(a, np.float64) - b).max() / max(spread, 1e-12)))
    return {"code": moved, "loss": float(abs(new.loss - old.loss) / max(abs(float(old.loss)), 1e-12))}


def noise(chart: ProbeContext) -> dict[str, Any]:
    """Measures what changes when padded positions hold something else: the numbers themselves, or embedded ids."""
    main, mask = chart.fields.main, chart.real
    if main is None or mask is None or mask.all():
        raise ProbeSkipped("the first batch has no padding")
    look, batch = chart.inside, list(chart.case.batches[0])
    if not look.anatomy.code:
        raise ProbeSkipped("no code was found")
    told = main in chart.fields.words and chart.fields.pad is not None
    if told:
        places = padded(chart, mask)
        if not any(place.any() for place in places):
            raise ProbeSkipped("ids are not embedded by a table of their shape")
        random = [
            chart.rng.normal(size=look.anatomy.graph.shape(n)).astype(np.float32) * place[..., None]
            for n, place in zip(look.tables, places, strict=True)
        ]
        heard = look.hear(chart.case.params, batch, look.knobs(noise=random))
    else:
        if not (chart.fields.masks or chart.fields.lengths):
            raise ProbeSkipped("the batch does not say what is padding")
        field = np.array(batch[main])
        if main in chart.fields.words:
            field[~mask] = chart.rng.choice(field[mask], int((~mask).sum()))
        else:
            field[~mask] = chart.rng.normal(field[mask].mean(), field[mask].std() + 1e-6, field[~mask].shape)
        batch[main] = field
        heard = look.hear(chart.case.params, batch)
    return {f"padding_noise_{name}": value for name, value in change(heard, chart.heard).items()}


def padded(chart: ProbeContext, mask: np.ndarray) -> list[np.ndarray]:
    """Says for each look-up in a table which of its places are padding.

    Rows in another form must ask for the same ids, forwards or backwards.
    """
    look, batch = chart.inside, chart.case.batches[0]
    shapes = [look.anatomy.graph.shape(n)[:-1] for n in look.tables]
    if mask.shape in shapes:
        return [~mask if shape == mask.shape else np.zeros(shape, bool) for shape in shapes]
    words, found = batch[chart.fields.words[0]], []
    for shape, ids in zip(shapes, look.looked_up(chart.case.params, batch), strict=True):
        views = [
            view
            for view in (slice(None), slice(None, None, -1))
            if np.array_equal(np.ravel(ids), np.ravel(words[..., view]))
        ]
        found.append(~mask[..., views[0]].reshape(shape) if views else np.zeros(shape, bool))
    return found


def longer(chart: ProbeContext) -> dict[str, Any]:
    """Measures what changes when all examples get more padding at their ends, which says nothing."""
    return appended(chart, -1, "padding_longer")


def blank(chart: ProbeContext) -> dict[str, Any]:
    """Measures what changes when all documents get more blank sentences at their ends."""
    if not chart.fields.words or chart.case.batches[0][chart.fields.words[0]].ndim != 3:
        raise ProbeSkipped("the words are no table of sentences")
    return appended(chart, -2, "blank_appended")


def appended(chart: ProbeContext, axis: int, name: str) -> dict[str, Any]:
    """Appends padding along an axis of words, counted from their last."""
    main, mask = chart.fields.main, chart.real
    if main is None or mask is None or chart.case.patient.batch_axis != 0:
        raise ProbeSkipped("nothing says what is padding")
    whole = [real(chart.fields, batch) for batch in chart.case.batches[:8]]
    if all(m is None or (m.all() if axis == -1 else m.any(-1).all()) for m in whole):
        raise ProbeSkipped("no batch has such padding")
    batch, size = chart.case.batches[0], mask.shape[axis]
    new = []
    for at, leaf in enumerate(batch):
        along = len(mask.shape) + axis
        along_it = (
            leaf.ndim > along
            and leaf.shape[along] in (size, size + 1, size - 1)
            and leaf.shape[: min(1, along)] == mask.shape[: min(1, along)]
        )
        fill = chart.fields.pad if at in chart.fields.words and chart.fields.pad is not None else 0
        widths = [(0, MORE if i == along else 0) for i in range(leaf.ndim)]
        new.append(np.pad(leaf, widths, constant_values=fill) if along_it else leaf)
    case = chart.case
    look = trace_loss(replace(case, batches=[new]), chart.fields.size)
    heard = look.hear(case.params, new)
    before, encode = chart.heard, case.offered("encode")
    if not alike(heard.code, before.code) and encode is not None:
        # What was found stands before the code, and has a row for each sentence.
        heard, before = (
            seen._replace(code=jax.tree.leaves(encode(case.params, b, case.key)))
            for seen, b in ((heard, new), (before, batch))
        )
    if not alike(heard.code, before.code):
        raise ProbeSkipped("the code has another shape with more padding")
    # Rounding differs with the shape of products.
    return {f"{name}_{key}": value if value > 1e-4 else 0.0 for key, value in change(heard, before).items()}


def alike(ours: list[Any], theirs: list[Any]) -> bool:
    """Says whether codes have the same shapes."""
    return [np.shape(code) for code in ours] == [np.shape(code) for code in theirs]
