"""Padding: nothing may change where nothing is said."""

from dataclasses import replace
from typing import Any

import numpy as np

from hae_jax.doctor.chart import Chart, Unable
from hae_jax.doctor.fields import real
from hae_jax.doctor.look import Heard, examine_inside

MORE = 3
"""Steps of padding that are appended."""


def change(new: Heard, old: Heard) -> dict[str, float]:
    """Returns by how much codes, relative to their spread over examples, and the loss changed."""
    moved = 0.0
    for a, b in zip(new.code, old.code, strict=True):
        if np.shape(a) == np.shape(b):
            spread = np.asarray(b, np.float64).std()
            moved = max(moved, float(np.abs(np.asarray(a, np.float64) - b).max() / max(spread, 1e-12)))
    return {"code": moved, "loss": float(abs(new.loss - old.loss) / max(abs(float(old.loss)), 1e-12))}


def noise(chart: Chart) -> dict[str, Any]:
    """Measures what changes when padded positions hold something else: the numbers themselves, or embedded ids."""
    main, mask = chart.fields.main, chart.real
    if main is None or mask is None or mask.all():
        raise Unable("the first batch has no padding")
    look, batch = chart.inside, list(chart.case.batches[0])
    if not look.anatomy.code:
        raise Unable("no code was found")
    told = main in chart.fields.words and chart.fields.pad is not None
    if told:
        shapes = [look.anatomy.graph.shape(n) for n in look.tables]
        if not any(shape[:-1] == mask.shape for shape in shapes):
            raise Unable("ids are not embedded by a table of their shape")
        random = [
            chart.rng.normal(size=shape).astype(np.float32) * (~mask[..., None] if shape[:-1] == mask.shape else 0)
            for shape in shapes
        ]
        heard = look.hear(chart.case.params, batch, look.knobs(noise=random))
    else:
        if not (chart.fields.masks or chart.fields.lengths):
            raise Unable("the batch does not say what is padding")
        field = np.array(batch[main])
        if main in chart.fields.words:
            field[~mask] = chart.rng.choice(field[mask], int((~mask).sum()))
        else:
            field[~mask] = chart.rng.normal(field[mask].mean(), field[mask].std() + 1e-6, field[~mask].shape)
        batch[main] = field
        heard = look.hear(chart.case.params, batch)
    return {f"padding_noise_{name}": value for name, value in change(heard, chart.heard).items()}


def longer(chart: Chart) -> dict[str, Any]:
    """Measures what changes when all examples get more padding at their ends, which says nothing."""
    return appended(chart, -1, "padding_longer")


def blank(chart: Chart) -> dict[str, Any]:
    """Measures what changes when all documents get more blank sentences at their ends."""
    if not chart.fields.words or chart.case.batches[0][chart.fields.words[0]].ndim != 3:
        raise Unable("the words are no table of sentences")
    return appended(chart, -2, "blank_appended")


def appended(chart: Chart, axis: int, name: str) -> dict[str, Any]:
    """Appends padding along an axis of words, counted from their last."""
    main, mask = chart.fields.main, chart.real
    if main is None or mask is None or chart.case.patient.batch_axis != 0:
        raise Unable("nothing says what is padding")
    whole = [real(chart.fields, batch) for batch in chart.case.batches[:8]]
    if all(m is None or (m.all() if axis == -1 else m.any(-1).all()) for m in whole):
        raise Unable("no batch has such padding")
    batch, size = chart.case.batches[0], mask.shape[axis]
    new = []
    for at, leaf in enumerate(batch):
        along = len(mask.shape) + axis
        alike = (
            leaf.ndim > along
            and leaf.shape[along] in (size, size + 1, size - 1)
            and leaf.shape[: min(1, along)] == mask.shape[: min(1, along)]
        )
        fill = chart.fields.pad if at in chart.fields.words and chart.fields.pad is not None else 0
        widths = [(0, MORE if i == along else 0) for i in range(leaf.ndim)]
        new.append(np.pad(leaf, widths, constant_values=fill) if alike else leaf)
    case = chart.case
    look = examine_inside(replace(case, batches=[new]), chart.fields.size)
    heard = look.hear(case.params, new)
    if [np.shape(c) for c in heard.code] != [np.shape(c) for c in chart.heard.code]:
        raise Unable("the code has another shape with more padding")
    # Rounding differs with the shape of products.
    return {f"{name}_{key}": value if value > 1e-4 else 0.0 for key, value in change(heard, chart.heard).items()}
