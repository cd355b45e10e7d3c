"""Padding: codes and the loss must not depend on what padded positions hold, or on how many there are."""

from dataclasses import replace

import jax
import numpy as np

from hae_jax.doctor.evidence import Evidence
from hae_jax.doctor.inputs.fields import real_positions
from hae_jax.doctor.probes.context import ProbeContext, ProbeSkipped
from hae_jax.doctor.tracing.traced_loss import Activations, trace_loss

APPENDED = 3
"""Number of padded positions that are appended."""


def change(new: Activations, old: Activations) -> dict[str, float]:
    """Returns the change of the code, relative to its standard deviation, and the relative change of the loss."""
    largest = 0.0
    for a, b in zip(new.code, old.code, strict=True):
        if np.shape(a) == np.shape(b):
            deviation = np.asarray(b, np.float64).std()
            largest = max(largest, float(np.abs(np.asarray(a, np.float64) - b).max() / max(deviation, 1e-12)))
    return {"code": largest, "loss": float(abs(new.loss - old.loss) / max(abs(float(old.loss)), 1e-12))}


def noise(context: ProbeContext) -> Evidence:
    """Measures what changes with noise at padded positions: in the numbers themselves, or in the embedded ids."""
    fields, real, traced, setup = context.fields, context.real, context.traced, context.setup
    main = fields.main
    if main is None or real is None or real.all():
        raise ProbeSkipped("the first batch has no padding")
    if not traced.roles.code:
        raise ProbeSkipped("no code was found")
    flat = real.reshape(-1, real.shape[-1])
    first = bool((~flat[:, 0] & flat[:, -1]).sum() > (flat[:, 0] & ~flat[:, -1]).sum())
    batch = list(setup.batches[0])
    if main in fields.words and fields.pad is not None:
        masks = padding_of_lookups(context, real)
        if not any(mask.any() for mask in masks):
            raise ProbeSkipped("no embedding lookup has the shape or order of the ids")
        embedding_noise = [
            context.rng.normal(size=traced.roles.graph.shape(var)).astype(np.float32) * mask[..., None]
            for var, mask in zip(traced.lookups, masks, strict=True)
        ]
        interventions = traced.interventions(embedding_noise=embedding_noise)
        activations = traced.run(setup.params, batch, interventions)
    else:
        if not (fields.masks or fields.lengths):
            raise ProbeSkipped("no field of the batch marks padding")
        field = np.array(batch[main])
        if main in fields.words:
            field[~real] = context.rng.choice(field[real], int((~real).sum()))
        else:
            field[~real] = context.rng.normal(field[real].mean(), field[real].std() + 1e-6, field[~real].shape)
        batch[main] = field
        activations = traced.run(setup.params, batch)
    changes = change(activations, context.activations)
    return {"padding_first": first, **{f"padding_noise_{name}": value for name, value in changes.items()}}


def padding_of_lookups(context: ProbeContext, real: np.ndarray) -> list[np.ndarray]:
    """Returns for each embedding lookup which of its positions are padding.

    A lookup of another shape than the field of ids must read the same ids, forwards or backwards.
    """
    traced, batch = context.traced, context.setup.batches[0]
    shapes = [traced.roles.graph.shape(var)[:-1] for var in traced.lookups]
    if real.shape in shapes:
        return [~real if shape == real.shape else np.zeros(shape, bool) for shape in shapes]
    words, found = batch[context.fields.words[0]], []
    for shape, ids in zip(shapes, traced.lookup_ids(context.setup.params, batch), strict=True):
        orders = [
            order
            for order in (slice(None), slice(None, None, -1))
            if np.array_equal(np.ravel(ids), np.ravel(words[..., order]))
        ]
        found.append(~real[..., orders[0]].reshape(shape) if orders else np.zeros(shape, bool))
    return found


def longer(context: ProbeContext) -> Evidence:
    """Measures what changes when all examples get more padding at their ends."""
    return append_padding(context, -1, "padding_longer")


def blank(context: ProbeContext) -> Evidence:
    """Measures what changes when all documents get more blank sentences at their ends."""
    if not context.fields.words or context.setup.batches[0][context.fields.words[0]].ndim != 3:
        raise ProbeSkipped("the ids are not arranged as sentences of documents")
    return append_padding(context, -2, "blank_appended")


def append_padding(context: ProbeContext, axis: int, name: str) -> Evidence:
    """Appends padding along an axis of the ids, counted from the last, and measures what changes.

    Args:
        context: the context.
        axis: -1 to lengthen sentences, -2 to add sentences.
        name: prefix of the evidence.
    """
    fields, real, setup = context.fields, context.real, context.setup
    if fields.main is None or real is None or setup.original.batch_axis != 0:
        raise ProbeSkipped("no field of the batch marks padding")
    masks = [real_positions(fields, batch) for batch in setup.batches[:8]]
    if all(mask is None or (mask.all() if axis == -1 else mask.any(-1).all()) for mask in masks):
        raise ProbeSkipped("no batch has such padding")
    batch, size, along = setup.batches[0], real.shape[axis], real.ndim + axis
    padded = []
    for at, leaf in enumerate(batch):
        # Shifted copies may have a step more or less.
        has_axis = (
            leaf.ndim > along
            and leaf.shape[along] in (size, size + 1, size - 1)
            and leaf.shape[: min(1, along)] == real.shape[: min(1, along)]
        )
        fill = fields.pad if at in fields.words and fields.pad is not None else 0
        widths = [(0, APPENDED if i == along else 0) for i in range(leaf.ndim)]
        padded.append(np.pad(leaf, widths, constant_values=fill) if has_axis else leaf)
    try:
        traced = trace_loss(replace(setup, batches=[padded]), fields.batch_size)
    except (TypeError, ValueError) as error:
        raise ProbeSkipped("the model takes sequences of one length only") from error
    after, before, encode = traced.run(setup.params, padded), context.activations, setup.user_function("encode")
    if not same_shapes(after, before) and encode is not None:
        # The narrowest place may lie before the code, with a row for each sentence.
        after, before = (
            activations._replace(code=jax.tree.leaves(encode(setup.params, fields, setup.key)))
            for activations, fields in ((after, padded), (before, batch))
        )
    if not same_shapes(after, before):
        raise ProbeSkipped("the code has another shape with more padding")
    # Rounding differs with the shapes of products.
    return {f"{name}_{key}": value if value > 1e-4 else 0.0 for key, value in change(after, before).items()}


def same_shapes(new: Activations, old: Activations) -> bool:
    """Returns whether codes have the same shapes."""
    return [np.shape(code) for code in new.code] == [np.shape(code) for code in old.code]
